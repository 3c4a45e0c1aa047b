//! An HTTP server with nothing but the standard library: a thread for each connection, blocking
//! calls, no signal handling at all. `SIGTERM` simply kills it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;
use std::{env, process, thread};

/// The first descriptor that is passed, see `sd_listen_fds(3)`.
const FIRST_PASSED: i32 = 3;

/// The socket that was passed to us as descriptor 3, or else one of our own.
///
/// # Errors
///
/// When a socket was passed to another process than this one, or none can be opened.
pub fn listener() -> io::Result<TcpListener> {
    if env::var_os("LISTEN_FDS").is_none() {
        return TcpListener::bind("127.0.0.1:3000");
    }
    if env::var("LISTEN_PID").is_ok_and(|pid| pid != process::id().to_string()) {
        return Err(io::Error::other("`LISTEN_PID` names another process"));
    }
    // SAFETY: `LISTEN_FDS` says that descriptor 3 was passed to us, and nobody else here takes it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) });
    listener.set_nonblocking(false)?;
    Ok(listener)
}

/// Answers whoever connects, for ever. `extra` answers the paths that this server does not know.
///
/// # Errors
///
/// When no connection can be accepted any more.
pub fn serve(listener: &TcpListener, version: &str, extra: fn(&str)) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let version = version.to_owned();
        thread::spawn(move || converse(stream, &version, extra));
    }
}

/// One connection: request after request, until the client has enough.
fn converse(stream: TcpStream, version: &str, extra: fn(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = Request::read(&mut reader)? {
        let body = answer(&request.target, version, extra);
        respond(&stream, &body, request.close)?;
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

fn respond(mut stream: &TcpStream, body: &str, close: bool) -> io::Result<()> {
    let connection = if close { "close" } else { "keep-alive" };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: {connection}\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes())
}

/// What a request without a body says.
struct Request {
    target: String,
    close: bool,
}

impl Request {
    /// The next request, or `None` when the client has closed the connection.
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
