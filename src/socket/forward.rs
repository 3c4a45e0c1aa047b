use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::bind::connectable_path;
use super::stream::Stream;

/// How often hotrun tries to connect to the live generation, and the pause between two attempts. Local ports may be used
/// up, or the queue of a unix socket may be full.
const ATTEMPTS: u32 = 100;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// The buffer of each direction, in bytes.
const BUFFER: usize = 8 << 10;
/// How long the other direction may continue after the server has closed its own: a client that never closes must not
/// hold a place that others need. The kernel has the same limit for a socket without a process (`tcp_fin_timeout`,
/// `tcp(7)`).
const LINGER: Duration = Duration::from_secs(60);

/// Forwards one connection to the live generation, byte for byte and with the end of each direction, until both are
/// closed. `received` is what was read from the client before.
pub(super) async fn forward(client: Stream, received: &[u8], address: &Address) -> io::Result<()> {
    let mut server = match (&client, address) {
        // Its local address leads to the live listener, also where the group listens on all addresses.
        (Stream::Tcp(client), Address::Tcp(_)) => connect_tcp(client.local_addr()?).await?,
        (Stream::Unix(_), Address::Unix(path)) => connect_unix(path).await?,
        (Stream::Tcp(_), Address::Unix(_)) | (Stream::Unix(_), Address::Tcp(_)) => {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    server.write_all(received).await?;
    splice(client, server).await
}

async fn connect_tcp(to: SocketAddr) -> io::Result<Stream> {
    let server = retry(|| TcpStream::connect(to)).await?;
    server.set_nodelay(true)?;
    Ok(Stream::Tcp(server))
}

async fn connect_unix(path: &Path) -> io::Result<Stream> {
    let (path, _directory) = connectable_path(path)?;
    let server = retry(|| UnixStream::connect(path.clone())).await?;
    Ok(Stream::Unix(server))
}

async fn retry<T, F: Future<Output = io::Result<T>>>(connect: impl Fn() -> F) -> io::Result<T> {
    for _ in 1..ATTEMPTS {
        match connect().await {
            Ok(stream) => return Ok(stream),
            Err(_) => sleep(BETWEEN_ATTEMPTS).await,
        }
    }
    connect().await
}

async fn splice(client: Stream, server: Stream) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let result = {
        let request = copy(&mut from_client, &mut to_server);
        let response = copy(&mut from_server, &mut to_client);
        tokio::pin!(request, response);
        tokio::select! {
            sent = &mut request => match sent {
                Ok(()) => response.await,
                Err(Broken::Read(error)) => Err(Broken::Read(error)),
                // A server may respond and close before it has read everything: deliver its response first.
                Err(Broken::Write(error)) => {
                    let _ = timeout(LINGER, response).await;
                    Err(Broken::Write(error))
                }
            },
            responded = &mut response => match responded {
                Ok(()) => match timeout(LINGER, request).await {
                    Ok(sent) => sent,
                    Err(slow) => Err(Broken::Read(slow.into())),
                },
                Err(broken) => Err(broken),
            },
        }
    };
    result.map_err(|broken| {
        // One side was reset. A plain close would tell the other that it has everything, so reset it too (`socket(7)`,
        // SO_LINGER).
        for stream in [
            from_client.unsplit(to_client),
            from_server.unsplit(to_server),
        ] {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        match broken {
            Broken::Read(error) | Broken::Write(error) => error,
        }
    })
}

/// Which side ended one direction too early.
enum Broken {
    Read(io::Error),
    Write(io::Error),
}

/// Copies one direction, including its end.
async fn copy(from: &mut ReadHalf<Stream>, to: &mut WriteHalf<Stream>) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await.map_err(Broken::Read)? {
            0 => return to.shutdown().await.map_err(Broken::Write),
            read => {
                let written = to.write_all(&buffer[..read]).await;
                written.map_err(Broken::Write)?;
            }
        }
    }
}
