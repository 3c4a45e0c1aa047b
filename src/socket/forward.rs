//! Handles a connection that hotrun has accepted because no program does: it waits, gets a response, or is forwarded.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::address::Address;

/// The largest part of a request that is read, in bytes. Servers accept 8 to 64 kilobytes of headers.
const MOST_READ: usize = 32 << 10;
/// How long a request is read after its first byte has arrived: a slow client takes up capacity that others are waiting
/// for.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the client may take to read its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long, and how many bytes, the rest of the request is read after the response. Closing the connection with unread
/// bytes would reset it, and the client could lose the response (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);
const MOST_DISCARDED: u64 = 16 << 20;
/// How often hotrun tries to connect to the live generation, and the pause between attempts. An attempt may fail
/// because no local ports are left, or because a unix socket's queue is full.
const ATTEMPTS: u32 = 100;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// The buffer for requests that are forwarded, in bytes.
const BUFFER: usize = 8 << 10;
/// How long the client may continue after the server has closed its direction: a client that never closes must not hold a
/// place that others need. The kernel has the same limit for a socket without a process (`tcp_fin_timeout`, `tcp(7)`).
const AFTER_RESPONSE: Duration = Duration::from_secs(60);
/// How many connections hotrun handles at the same time. A forwarded connection uses two descriptors, and a process may
/// have only 1024 by default.
const PLACES: usize = 256;
/// How many more may wait whose clients have shut down their sending side.
const MOST_HALF_CLOSED: u64 = 64;

/// The limits on connections, for all addresses together. Other connections wait in the queues.
pub(super) struct Places {
    pub(super) free: Arc<Semaphore>,
    /// How many clients have shut down their sending side so far.
    half_closed: watch::Sender<u64>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(PLACES)),
            half_closed: watch::Sender::default(),
        }
    }
}

/// A TCP or unix socket connection.
pub trait Stream: AsyncRead + AsyncWrite + AsFd + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + AsFd + Send + Unpin> Stream for T {}

/// How to handle connections that no program accepts.
#[derive(Clone, Default)]
pub(super) enum Unclaimed {
    /// Let them wait.
    #[default]
    Wait,
    /// Forward them to the live generation.
    Forward,
    /// Send a response, or let them wait if there is none.
    Respond(Arc<Respond>),
}

/// How to respond to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Read more bytes before deciding.
    NeedMore,
    /// Let the client wait for a program, because it speaks another protocol.
    Wait,
    /// Send these bytes and close the connection.
    Send(Vec<u8>),
}

/// Responds in place of a program, given all bytes received so far. If the flag is set, no more bytes will be read,
/// because the request is too long, took too long, or has ended; [`Response::NeedMore`] is then treated like
/// [`Response::Wait`]. It runs on the driver's thread, so it must be fast.
pub type Respond = dyn Fn(&[u8], bool) -> Response + Send + Sync;

/// Handles one connection by the current policy until it is closed. If it is forwarded, the bytes that were read before
/// are sent first.
pub(super) async fn handle(
    client: Socket,
    address: Address,
    unclaimed: watch::Receiver<Unclaimed>,
    places: Arc<Places>,
    place: OwnedSemaphorePermit,
) {
    // If this fails, the client's connection is closed.
    let Ok(stream) = accepted(client, &address) else {
        return;
    };
    let client = Client {
        stream,
        received: Vec::new(),
        until: None,
        may_respond: true,
        place: Some(place),
        half_closed: None,
    };
    if let Some(mut client) = client.wait(unclaimed, &places).await {
        if client.place.is_none() {
            client.place = places.free.clone().acquire_owned().await.ok();
        }
        let _ = client.forward(&address).await;
    }
}

fn accepted(socket: Socket, address: &Address) -> io::Result<Box<dyn Stream>> {
    socket.set_nonblocking(true)?;
    Ok(match address {
        Address::Tcp(_) => {
            socket.set_tcp_nodelay(true)?;
            Box::new(TcpStream::from_std(socket.into())?)
        }
        Address::Unix(_) => Box::new(UnixStream::from_std(OwnedFd::from(socket).into())?),
    })
}

struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// When to stop reading.
    until: Option<Instant>,
    /// Whether the client may still get a response.
    may_respond: bool,
    place: Option<OwnedSemaphorePermit>,
    /// The client's number among those that have shut down their sending side.
    half_closed: Option<u64>,
}

impl Client {
    /// Waits until the connection is to be forwarded. Returns `None` if it has ended before.
    async fn wait(
        mut self,
        mut unclaimed: watch::Receiver<Unclaimed>,
        places: &Places,
    ) -> Option<Self> {
        loop {
            let now = unclaimed.borrow_and_update().clone();
            let responder = match now {
                Unclaimed::Forward => return Some(self),
                Unclaimed::Respond(responder) if self.may_respond => responder,
                Unclaimed::Respond(_) | Unclaimed::Wait => {
                    tokio::select! {
                        biased;
                        changed = unclaimed.changed() => changed.ok()?,
                        () = self.gone(places) => return None,
                    }
                    continue;
                }
            };
            tokio::select! {
                biased;
                changed = unclaimed.changed() => changed.ok()?,
                response = self.response(&*responder) => match response.ok()? {
                    Some(response) => {
                        let _ = send(self.stream, &response).await;
                        return None;
                    }
                    None => self.may_respond = false,
                }
            }
        }
    }

    /// Returns when the client has gone. A client that has shut down its sending side may still be waiting, so it gives up
    /// its place, and only the newest such clients wait. Cancel safe.
    async fn gone(&mut self, places: &Places) {
        let number = loop {
            if let Some(number) = self.half_closed {
                break number;
            }
            if self.received.len() >= MOST_READ {
                return std::future::pending().await;
            }
            match self.read().await {
                Ok(0) => {
                    places.half_closed.send_modify(|count| *count += 1);
                    self.half_closed = Some(*places.half_closed.borrow());
                    self.place = None;
                }
                Ok(_) => {}
                Err(_) => return,
            }
        };
        let mut count = places.half_closed.subscribe();
        let _ = count
            .wait_for(|count| *count >= number + MOST_HALF_CLOSED)
            .await;
    }

    /// Returns the response, or `None` if the client has to wait. Cancel safe.
    async fn response(&mut self, responder: &Respond) -> io::Result<Option<Vec<u8>>> {
        let mut last = false;
        loop {
            if !self.received.is_empty() {
                match responder(&self.received, last) {
                    Response::Send(response) => return Ok(Some(response)),
                    Response::Wait => return Ok(None),
                    Response::NeedMore if last => return Ok(None),
                    Response::NeedMore => {}
                }
            }
            last = self.read_more().await?;
        }
    }

    /// Reads more of the request. Returns whether no more will be read.
    async fn read_more(&mut self) -> io::Result<bool> {
        let read = match self.until {
            None => self.read().await?,
            Some(until) => tokio::select! {
                // Accept bytes that have arrived, even after the deadline.
                biased;
                read = self.read() => read?,
                () = sleep_until(until) => return Ok(true),
            },
        };
        if self.received.is_empty() {
            // The connection was closed before its first byte.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read == 0 || self.received.len() >= MOST_READ)
    }

    async fn read(&mut self) -> io::Result<usize> {
        let room = (MOST_READ - self.received.len()) as u64;
        let mut limited = (&mut self.stream).take(room);
        let read = limited.read_buf(&mut self.received).await?;
        if read > 0 {
            self.until
                .get_or_insert_with(|| Instant::now() + READ_TIMEOUT);
        }
        Ok(read)
    }

    /// Forwards the connection to the live generation until both directions are closed. All bytes and the end of each
    /// direction are passed on unchanged.
    async fn forward(mut self, address: &Address) -> io::Result<()> {
        // Connecting to this connection's local address reaches the live listener, even if the group listens on all addresses.
        let local = SockRef::from(&self.stream).local_addr()?.as_socket();
        let mut server = connect(address, local).await?;
        let request = self.received.as_slice();
        let copied = splice(request, &mut self.stream, &mut server, AFTER_RESPONSE).await;
        if copied.is_err() {
            // One side was reset, or the client never closed. A normal close would tell the other side that it has received
            // everything, so reset it as well (`socket(7)`, SO_LINGER).
            for stream in [&self.stream, &server] {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
        }
        copied
    }
}

/// Copies both directions, and the end of each. `received` was read from the client before, which may continue for the
/// time `after` once the server has closed its direction.
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

/// Once the server takes no more, the rest is discarded: it may respond and close before it has read everything.
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

async fn connect(address: &Address, local: Option<SocketAddr>) -> io::Result<Box<dyn Stream>> {
    let mut attempts = 1;
    loop {
        let connected: io::Result<Box<dyn Stream>> = match address {
            Address::Tcp(listening) => connect_tcp(local.unwrap_or(*listening)).await,
            Address::Unix(path) => UnixStream::connect(path)
                .await
                .map(|one| Box::new(one) as _),
        };
        match connected {
            Err(_) if attempts < ATTEMPTS => sleep(BETWEEN_ATTEMPTS).await,
            connected => return connected,
        }
        attempts += 1;
    }
}

async fn connect_tcp(to: SocketAddr) -> io::Result<Box<dyn Stream>> {
    let server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    Ok(Box::new(server))
}

async fn send(mut client: Box<dyn Stream>, response: &[u8]) -> io::Result<()> {
    timeout(WRITE_TIMEOUT, async {
        client.write_all(response).await?;
        client.shutdown().await
    })
    .await??;
    let mut rest = client.take(MOST_DISCARDED);
    let mut nowhere = tokio::io::sink();
    let discarded = tokio::io::copy(&mut rest, &mut nowhere);
    timeout(LINGER, discarded).await?.map(drop)
}

#[cfg(test)]
mod tests;
