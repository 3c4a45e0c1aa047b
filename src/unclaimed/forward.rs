//! Forwards an accepted connection to the live generation.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::inner::InnerConnections;

/// How many times hotrun tries to connect to the live generation, and the pause between attempts. An attempt may fail
/// because no local ports are left.
const ATTEMPTS: u32 = 100;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// The size of the buffer for a forwarded request, in bytes.
const BUFFER: usize = 8 << 10;
/// How long the client may keep sending after the server has closed its sending side. Without a limit, a client that
/// never closes would use up one of the connections that hotrun can handle at the same time. The kernel has the same
/// limit for sockets that no process holds (`tcp_fin_timeout`, `tcp(7)`).
const AFTER_RESPONSE: Duration = Duration::from_secs(60);

/// Prepares an accepted connection for use in a task.
pub(super) fn accepted(socket: Socket) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    TcpStream::from_std(socket.into())
}

/// Forwards a client's connection to the live generation until both directions are closed. `pending` has already been
/// read from the client. All bytes and the end of each direction are passed on unchanged.
///
/// If the generation leaves the connection with nothing under way while its successor is live, continues with the
/// successor.
pub(super) async fn forward(
    mut client: TcpStream,
    mut pending: Vec<u8>,
    inner: &InnerConnections,
) -> io::Result<()> {
    loop {
        // If the group listens on all addresses, connect to the one that the client has chosen.
        let mut server = connect(client.peer_addr()?, client.local_addr()?).await?;
        let (_added, moved) = inner.add(&server)?;
        let moved = async { moved.await.ok() };
        let spliced = splice(
            &mut pending,
            &mut client,
            &mut server,
            AFTER_RESPONSE,
            moved,
        )
        .await;
        let recovered = match spliced {
            Ok(None) => return Ok(()),
            Ok(Some(left)) => recover(&server, left, &mut pending).await,
            Err(error) => Err(error),
        };
        if recovered.is_err() {
            // One side was reset, or the client never closed. A normal close would tell the other side that it has
            // received everything, so reset both (`socket(7)`, SO_LINGER).
            for stream in [&client, &server] {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            return recovered;
        }
    }
}

/// Puts before `pending` what was sent to the server but not read by it. `left` is the server's end of the connection.
async fn recover(server: &TcpStream, left: Socket, pending: &mut Vec<u8>) -> io::Result<()> {
    SockRef::from(server).shutdown(Shutdown::Write)?;
    let mut unread = Vec::new();
    timeout(AFTER_RESPONSE, accepted(left)?.read_to_end(&mut unread)).await??;
    pending.splice(..0, unread);
    Ok(())
}

/// Copies both directions, and the end of each, beginning with `pending`. Once the server has closed its sending side,
/// the client may keep sending for at most `after`.
///
/// Once `moved` yields the server's end of the connection, copies the rest of the response, keeps the client's connection
/// open, and returns the server's end. `pending` then holds what was read from the client but not sent.
async fn splice(
    pending: &mut Vec<u8>,
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    after: Duration,
    moved: impl Future<Output = Option<Socket>>,
) -> io::Result<Option<Socket>> {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, to_server) = tokio::io::split(server);
    let request = copy_request(pending, from_client, to_server);
    let goes_on = AtomicBool::new(false);
    let response = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        match goes_on.load(Ordering::Relaxed) {
            true => Ok(()),
            false => to_client.shutdown().await,
        }
    };
    tokio::pin!(request, response);
    tokio::select! {
        sent = &mut request => {
            sent?;
            response.await?;
        }
        responded = &mut response => {
            responded?;
            timeout(after, request).await??;
        }
        Some(left) = moved => {
            goes_on.store(true, Ordering::Relaxed);
            left.shutdown(Shutdown::Write)?;
            timeout(after, response).await??;
            return Ok(Some(left));
        }
    }
    Ok(None)
}

/// Copies what the client sends to the server, beginning with `pending`. If the server stops reading, discards the rest,
/// because a server may respond and close before it has read the whole request. Cancel safe: `pending` holds what has
/// not been sent.
async fn copy_request(
    pending: &mut Vec<u8>,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut writable = true;
    loop {
        if pending.is_empty() {
            pending.reserve(BUFFER);
            if from.read_buf(pending).await? == 0 {
                let _ = to.shutdown().await;
                return Ok(());
            }
        }
        let written = match writable {
            true => to.write(pending).await.ok(),
            false => None,
        };
        writable = written.is_some();
        pending.drain(..written.unwrap_or(pending.len()));
    }
}

async fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    for _ in 1..ATTEMPTS {
        if let Ok(server) = connect_once(from, to).await {
            return Ok(server);
        }
        sleep(BETWEEN_ATTEMPTS).await;
    }
    connect_once(from, to).await
}

/// Connects to `to`. If the client's address is a loopback address, connects from it, with another port, so that the
/// server sees it. The kernel lets only privileged processes send from another machine's address, and sends the replies
/// to that machine.
async fn connect_once(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if from.ip().to_canonical().is_loopback() {
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    let server = socket.connect(to).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

#[cfg(test)]
mod tests;
