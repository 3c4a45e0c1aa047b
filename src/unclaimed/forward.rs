//! Forwards an accepted connection to the live generation.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

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

/// Forwards a client's connection to the live generation until both directions are closed. `received` has already been
/// read from the client. All bytes and the end of each direction are passed on unchanged.
pub(super) async fn forward(mut client: TcpStream, received: &[u8]) -> io::Result<()> {
    // If the group listens on all addresses, connect to the one that the client has chosen.
    let mut server = connect(client.peer_addr()?, client.local_addr()?).await?;
    let copied = splice(received, &mut client, &mut server, AFTER_RESPONSE).await;
    if copied.is_err() {
        // One side was reset, or the client never closed. A normal close would tell the other side that it has received
        // everything, so reset both (`socket(7)`, SO_LINGER).
        for stream in [&client, &server] {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
    copied
}

/// Copies both directions, and the end of each. `received` has already been read from the client. Once the server has
/// closed its sending side, the client may keep sending for at most `after`.
async fn splice(
    received: &[u8],
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    after: Duration,
) -> io::Result<()> {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, to_server) = tokio::io::split(server);
    let request = copy_request(received.chain(from_client), to_server);
    let response = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::pin!(request, response);
    tokio::select! {
        sent = &mut request => {
            sent?;
            response.await
        }
        responded = &mut response => {
            responded?;
            timeout(after, request).await?
        }
    }
}

/// Copies what the client sends to the server. If the server stops reading, discards the rest, because a server may
/// respond and close before it has read the whole request.
async fn copy_request(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut writable = true;
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        writable = writable && to.write_all(&buffer[..read]).await.is_ok();
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
