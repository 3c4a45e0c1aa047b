//! An HTTP client that tolerates no errors.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::TIMEOUT;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Connect(io::Error),
    Broken(io::Error),
    Empty,
    Cut { got: usize, of: usize },
    Status(String),
}

/// Sends a request on a new connection, and returns the whole body.
pub(crate) fn get(to: SocketAddr, path: &str) -> Result<String, Failure> {
    get_within(to, path, TIMEOUT)
}

/// Like [`get`], but with this timeout.
pub(crate) fn get_within(to: SocketAddr, path: &str, timeout: Duration) -> Result<String, Failure> {
    let stream = TcpStream::connect_timeout(&to, timeout).map_err(Failure::Connect)?;
    stream
        .set_read_timeout(Some(timeout))
        .map_err(Failure::Broken)?;
    ask(stream, path)
}

/// Sends requests until one gets a response other than 503.
pub(crate) fn get_with_retry(to: SocketAddr) -> Result<String, Failure> {
    loop {
        match get(to, "/") {
            Err(failure) if is_unavailable(&failure.to_string()) => {
                thread::sleep(Duration::from_millis(50));
            }
            answer => return answer,
        }
    }
}

/// Whether this failure is a response with status 503.
pub(crate) fn is_unavailable(failure: &str) -> bool {
    failure.contains(" 503 ")
}

/// Sends a request on this connection, and returns the whole body.
pub(crate) fn ask(mut stream: impl Read + Write, path: &str) -> Result<String, Failure> {
    stream
        .write_all(request(path).as_bytes())
        .map_err(Failure::Broken)?;
    finish(stream)
}

fn body(answer: &str) -> Result<String, Failure> {
    if answer.is_empty() {
        return Err(Failure::Empty);
    }
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(Failure::Cut { got: 0, of: 1 })?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(Failure::Status(status.to_owned()));
    }
    let of = content_length(head).unwrap_or(body.len());
    if body.len() != of {
        return Err(Failure::Cut {
            got: body.len(),
            of,
        });
    }
    Ok(body.to_owned())
}

fn content_length(head: &str) -> Option<usize> {
    let mut lines = head.lines();
    lines.find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
}

/// Sends a request on a new connection. [`finish`] reads the response.
pub(crate) fn open(to: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT).expect("can connect");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("can set a timeout");
    stream
        .write_all(request(path).as_bytes())
        .expect("can send the request");
    stream
}

/// Reads the response, and returns the whole body.
pub(crate) fn finish(mut stream: impl Read) -> Result<String, Failure> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(Failure::Broken)?;
    body(&String::from_utf8_lossy(&answer))
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Empty => f.write_str("the connection was closed without a response"),
            Self::Cut { got, of } => write!(f, "the response ended after {got} of {of} bytes"),
            Self::Status(line) => write!(f, "unexpected status: {line}"),
        }
    }
}
