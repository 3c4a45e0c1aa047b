use std::io;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::Address;
use super::renamed::reachable;
use super::route::Stream;

/// How often the way to the live generation is tried, and at what distance: local ports may be used up, the queue of a
/// unix socket may be full.
const ATTEMPTS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Carries one connection to the generation that is live, byte for byte and with each half's end, until both are
/// closed. `heard` is what has been read of it.
pub(super) async fn forward(client: Stream, heard: &[u8], address: &Address) -> io::Result<()> {
    let mut server = match (&client, address) {
        (Stream::Tcp(client), Address::Tcp(_)) => Stream::Tcp(connect_tcp(client).await?),
        (Stream::Unix(_), Address::Unix(path)) => Stream::Unix(connect_unix(path).await?),
        (Stream::Tcp(_), Address::Unix(_)) | (Stream::Unix(_), Address::Tcp(_)) => {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    server.write_all(heard).await?;
    copy(client, server).await
}

/// The connection's own address leads to the live slot of its group, also where the group listens on all of them.
async fn connect_tcp(client: &TcpStream) -> io::Result<TcpStream> {
    let to = client.local_addr()?;
    let server = persist(|| TcpStream::connect(to)).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = reachable(path)?;
    persist(|| UnixStream::connect(path.clone())).await
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

/// So much is carried at a time.
const PIECE: usize = 8 << 10;
/// How long the rest of one direction may take once the other has come to its end by the server: a client that keeps its
/// half open for good must not hold a place that others need. The kernel has the same limit for a socket that nobody holds
/// (`tcp_fin_timeout`, `tcp(7)`).
const LINGERING: Duration = Duration::from_secs(60);

async fn copy(client: Stream, server: Stream) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let result = {
        let ask = pass(&mut from_client, &mut to_server);
        let answer = pass(&mut from_server, &mut to_client);
        tokio::pin!(ask, answer);
        tokio::select! {
            // A server may answer and close before it has read everything: its answer comes first.
            asked = &mut ask => match asked {
                Ok(()) => answer.await,
                Err(Broken::From(error)) => Err(Broken::From(error)),
                Err(Broken::To(error)) => {
                    let _ = timeout(LINGERING, answer).await;
                    Err(Broken::To(error))
                }
            },
            answered = &mut answer => match answered {
                Ok(()) => match timeout(LINGERING, ask).await {
                    Ok(asked) => asked,
                    Err(slow) => Err(Broken::From(slow.into())),
                },
                Err(broken) => Err(broken),
            },
        }
    };
    if result.is_err() {
        // One side was reset. A plain close would tell the other that all has arrived: reset it too (`socket(7)`,
        // SO_LINGER).
        for stream in [
            from_client.unsplit(to_client),
            from_server.unsplit(to_server),
        ] {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
    result.map_err(|broken| match broken {
        Broken::From(error) | Broken::To(error) => error,
    })
}

/// Where one direction has come to an end too soon: by who sends, or by who receives.
enum Broken {
    From(io::Error),
    To(io::Error),
}

/// All of it, and its end.
async fn pass(from: &mut ReadHalf<Stream>, to: &mut WriteHalf<Stream>) -> Result<(), Broken> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await.map_err(Broken::From)? {
            0 => return to.shutdown().await.map_err(Broken::To),
            read => to.write_all(&piece[..read]).await.map_err(Broken::To)?,
        }
    }
}
