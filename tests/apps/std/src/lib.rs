//! An HTTP server that uses only the standard library: a thread for each connection, blocking calls, and no signal
//! handling at all. `SIGTERM` simply kills it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;
use std::{env, process, thread};

/// The number of the first passed descriptor, see `sd_listen_fds(3)`.
const FIRST_PASSED: i32 = 3;

/// Returns the socket that was passed to this process as descriptor 3, or opens one.
///
/// # Errors
///
/// If a socket was passed to a different process, or none can be opened.
pub fn listener() -> io::Result<TcpListener> {
    match passed()? {
        Some(socket) => {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(false)?;
            Ok(listener)
        }
        None => TcpListener::bind("127.0.0.1:3000"),
    }
}

/// Returns the socket that was passed to this process, if there is one.
///
/// # Errors
///
/// If a socket was passed to a different process.
pub fn passed() -> io::Result<Option<OwnedFd>> {
    if env::var_os("LISTEN_FDS").is_none() {
        return Ok(None);
    }
    if env::var("LISTEN_PID").is_ok_and(|pid| pid != process::id().to_string()) {
        return Err(io::Error::other("`LISTEN_PID` names another process"));
    }
    // SAFETY: `LISTEN_FDS` says that descriptor 3 was passed to this process, and nothing else here takes it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) }))
}

/// Serves connections forever. `extra` is called with every path that this server does not know.
///
/// # Errors
///
/// If no connection can be accepted.
pub fn serve(listener: &TcpListener, version: &str, extra: fn(&str)) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let version = version.to_owned();
        thread::spawn(move || converse(&stream, &stream, &version, extra));
    }
}

/// Serves this many connections, one at a time.
///
/// # Errors
///
/// If no connection can be accepted.
pub fn serve_some(listener: &TcpListener, count: u64, version: &str) -> io::Result<()> {
    for _ in 0..count {
        let (stream, _) = listener.accept()?;
        // An error on one connection must not affect the next one.
        let _ = converse(&stream, &stream, version, |_| {});
    }
    Ok(())
}

/// Serves connections on a unix socket forever.
///
/// # Errors
///
/// If no connection can be accepted.
pub fn serve_unix(listener: &UnixListener, version: &str) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let version = version.to_owned();
        thread::spawn(move || converse(&stream, &stream, &version, |_| {}));
    }
}

/// Serves the requests on one connection until the client closes it.
fn converse(from: impl Read, mut to: impl Write, version: &str, extra: fn(&str)) -> io::Result<()> {
    let mut from = BufReader::new(from);
    while let Some(request) = Request::read(&mut from)? {
        let body = answer(&request.target, version, extra);
        respond(&mut to, &body, request.close)?;
        if request.close {
            break;
        }
    }
    Ok(())
}

fn answer(target: &str, version: &str, extra: fn(&str)) -> String {
    let generation = env::var("HOTRUN_GENERATION").unwrap_or_else(|_| "none".to_owned());
    let greeting = format!("generation {generation} version {version}\n");
    match target.strip_prefix("/slow?ms=").map(str::parse) {
        Some(Ok(ms)) => {
            thread::sleep(Duration::from_millis(ms));
            format!("{ms} ms later: {greeting}")
        }
        Some(Err(_)) | None => {
            extra(target);
            greeting
        }
    }
}

fn respond(to: &mut impl Write, body: &str, close: bool) -> io::Result<()> {
    let connection = if close { "close" } else { "keep-alive" };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: {connection}\r\n\r\n{body}"
    );
    to.write_all(answer.as_bytes())
}

/// A request without a body.
struct Request {
    target: String,
    close: bool,
}

impl Request {
    /// Reads the next request, or returns `None` if the client has closed the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = reader.lines();
        let Some(first) = lines.next().transpose()? else {
            return Ok(None);
        };
        let target = first.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut close = first.ends_with("HTTP/1.0");
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            close |= line == "connection: close";
        }
        Ok(Some(Self { target, close }))
    }
}
