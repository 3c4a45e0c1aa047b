use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Address;
use super::renamed::reachable;

/// How often the way to the live generation is tried, and at what distance: local ports may be used up, the queue of a
/// unix socket may be full.
const ATTEMPTS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Carries one accepted connection to the generation that is live, byte for byte and with each half's end, until both
/// are closed.
pub(super) async fn carry(client: Socket, address: Address, mut live: watch::Receiver<bool>) {
    if live.wait_for(|live| *live).await.is_err() {
        return;
    }
    // The client sees an end of the connection in each case; there is nobody else to tell.
    let _ = match address {
        Address::Tcp(_) => carry_tcp(client).await,
        Address::Unix(path) => carry_unix(client, &path).await,
    };
}

/// The connection's own address leads to the live slot of its group, also where the group listens on all of them.
async fn carry_tcp(client: Socket) -> io::Result<()> {
    client.set_nonblocking(true)?;
    client.set_tcp_nodelay(true)?;
    let client = TcpStream::from_std(client.into())?;
    let to = client.local_addr()?;
    let server = persist(|| TcpStream::connect(to)).await?;
    server.set_nodelay(true)?;
    copy(client, server).await
}

async fn carry_unix(client: Socket, path: &Path) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let client = UnixStream::from_std(OwnedFd::from(client).into())?;
    let (path, _directory) = reachable(path)?;
    let server = persist(|| UnixStream::connect(path.clone())).await?;
    copy(client, server).await
}

async fn persist<T, F: Future<Output = io::Result<T>>>(connect: impl Fn() -> F) -> io::Result<T> {
    for _ in 1..ATTEMPTS {
        match connect().await {
            Ok(stream) => return Ok(stream),
            Err(_) => sleep(BETWEEN).await,
        }
    }
    connect().await
}

async fn copy<S: AsyncRead + AsyncWrite + AsFd + Unpin>(
    mut client: S,
    mut server: S,
) -> io::Result<()> {
    let result = copy_bidirectional(&mut client, &mut server).await;
    if result.is_err() {
        // One side was reset. A plain close would tell the other that all has arrived: reset it too (`socket(7)`,
        // SO_LINGER).
        for stream in [&client, &server] {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
    result.map(drop)
}
