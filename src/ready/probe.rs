//! The probes: HTTP requests, connections and commands.

use std::io;
use std::time::Duration;

use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::http::{self, Purpose};
use super::{Connect, Connecting, Exec, HttpProbe, OnUnready, ReadyReason, UnreadyReason};
use crate::socket::Connection;

/// How often to probe, unless a probe takes longer. For a command, the pause after each run.
const PERIOD: Duration = Duration::from_millis(100);

/// The time limit for the connection and the response together.
const TIMEOUT: Duration = Duration::from_secs(1);

const CLOSED: &str = "the probe's connection was closed without a response";
const NO_RESPONSE: &str = "the probe got no response within 1s";

/// The time limit for each run of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes to read at most to find the final status. No server sends more bytes than this before the final
/// status.
const MAX_RESPONSE: usize = 64 * 1024;

/// Sends requests until one gets a 2xx or 3xx status.
///
/// A request that is sent too early waits in the accept queue of the new generation and gets a response as soon as
/// the program accepts it, so the period does not delay a program that starts quickly.
pub(super) async fn http(
    probe: &HttpProbe,
    connect: &mut Connect,
    on_unready: &mut OnUnready,
) -> ReadyReason {
    let request = probe.request(Purpose::Readiness);
    loop {
        let next = Instant::now() + PERIOD;
        match timeout(TIMEOUT, http_once(&request, connect(probe.port))).await {
            Ok(Ok(status)) => return ReadyReason::Responded(status),
            Ok(Err(reason)) => on_unready(reason),
            Err(_) => on_unready(NO_RESPONSE.into()),
        }
        sleep_until(next).await;
    }
}

/// Sends the request of a warm-up to each of so many listeners, until one responds with a 2xx or 3xx status.
pub async fn request(
    probe: &HttpProbe,
    connect: &mut Connect,
    listeners: usize,
) -> Result<u16, UnreadyReason> {
    try_each(probe, Purpose::WarmUp, connect, listeners).await
}

/// Sends a request to each of so many listeners, until one responds with a 2xx or 3xx status. If the probe names a port,
/// there is only one. Otherwise, the first may be a debugger's. There is no timeout.
pub(super) async fn try_each(
    probe: &HttpProbe,
    purpose: Purpose,
    connect: &mut Connect,
    listeners: usize,
) -> Result<u16, UnreadyReason> {
    let request = probe.request(purpose);
    let mut result = http_once(&request, connect(probe.port)).await;
    for _ in 1..listeners {
        if result.is_ok() || probe.port.is_some() {
            break;
        }
        result = http_once(&request, connect(None)).await;
    }
    result
}

/// Sends a request and returns the status of the response if it is a 2xx or 3xx one.
async fn http_once(request: &str, connecting: Connecting) -> Result<u16, UnreadyReason> {
    match exchange(request, connecting).await? {
        status @ 200..400 => Ok(status),
        status => Err(format!("the probe got status {status}").into()),
    }
}

/// Sends a request and returns the status of the response.
async fn exchange(request: &str, connecting: Connecting) -> Result<u16, UnreadyReason> {
    let mut stream = connecting.await.map_err(|error| unreachable(&error))?;
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|_| CLOSED)?;
    let mut response = Vec::new();
    loop {
        if stream.read_buf(&mut response).await.map_err(|_| CLOSED)? == 0 {
            return Err(CLOSED.into());
        }
        match http::status(&response) {
            Ok(Status::Complete(status)) => {
                tokio::spawn(read_rest(stream));
                return Ok(status);
            }
            Ok(Status::Partial) if response.len() < MAX_RESPONSE => {}
            Ok(Status::Partial) | Err(_) => {
                return Err("the probe got a response that is not HTTP/1".into());
            }
        }
    }
}

fn unreachable(error: &io::Error) -> UnreadyReason {
    format!("the probe could not connect: {error}").into()
}

/// Reads the rest of the response in the background, so that the server does not log a broken pipe at each reload.
async fn read_rest(stream: Box<dyn Connection>) {
    let mut rest = stream.take(16 * 1024 * 1024);
    let _ = timeout(TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Keeps connecting until the program accepts a connection.
///
/// A successful connect proves nothing, because the kernel completes it for any listening socket, and hotrun keeps that
/// socket open. So the probe shuts down its write side at once: a server that has accepted the connection responds or
/// closes its own side. A silent server counts as well if the connect succeeds and `accepting` reports that the server
/// is waiting for connections.
pub(super) async fn tcp(
    connect: &mut Connect,
    accepting: impl Future<Output = ReadyReason>,
    on_unready: &mut OnUnready,
) -> ReadyReason {
    let mut accepting = std::pin::pin!(accepting);
    let mut is_accepting = false;
    loop {
        let next = Instant::now() + PERIOD;
        let attempt = async {
            let mut stream = connect(None).await.map_err(|error| unreachable(&error))?;
            if !is_accepting {
                tokio::select! {
                    () = accepted(&mut stream) => {}
                    _ = &mut accepting => is_accepting = true,
                }
            }
            Ok(())
        };
        match timeout(TIMEOUT, attempt).await {
            Ok(Ok(())) => return ReadyReason::Connected,
            Ok(Err(reason)) => on_unready(reason),
            Err(_) => on_unready(NO_RESPONSE.into()),
        }
        sleep_until(next).await;
    }
}

/// Waits until the server has accepted the connection. A reset counts too: the connection was established, so it was
/// the program that reset it.
async fn accepted(stream: &mut Box<dyn Connection>) {
    let _ = stream.shutdown().await;
    let _: io::Result<usize> = stream.read(&mut [0; 1]).await;
}

/// Runs the command until it succeeds, pausing after each run.
pub(super) async fn exec(command: &str, run: &Exec, on_unready: &mut OnUnready) -> ReadyReason {
    loop {
        match timeout(COMMAND_TIMEOUT, run(command)).await {
            Ok(Ok(true)) => return ReadyReason::CommandSucceeded,
            Ok(Ok(false)) => on_unready("the `--ready exec:` command failed".into()),
            Ok(Err(error)) => {
                on_unready(format!("cannot run the `--ready exec:` command: {error}").into());
            }
            Err(_) => on_unready("the `--ready exec:` command took more than 10s".into()),
        }
        sleep(PERIOD).await;
    }
}
