//! Waits for a client whose connection no program has accepted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::respond::{GetReason, HttpRequest, Reason, may_see_reason, response};

/// hotrun stops reading a request once it has read this many bytes. Servers accept 8 to 64 kilobytes of headers.
const MOST_READ: usize = 32 << 10;
/// How long hotrun keeps reading a request after its first byte has arrived. A slow client occupies a place for which
/// others may be waiting.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may send nothing before it gives up its place to others.
const SILENT: Duration = Duration::from_secs(1);

/// An accepted connection that is not forwarded yet.
pub(super) struct PendingConnection {
    pub(super) stream: TcpStream,
    /// The bytes that have been read so far. They are forwarded first.
    pub(super) received: Vec<u8>,
    /// When to stop reading.
    pub(super) until: Option<Instant>,
    /// Whether the client may still get a response.
    pub(super) may_respond: bool,
    pub(super) place: Option<OwnedSemaphorePermit>,
    pub(super) reason: watch::Receiver<Arc<GetReason>>,
}

/// What a waiting client does.
pub(super) enum ClientEvent {
    /// It has sent an HTTP request, which gets this response.
    Request(Vec<u8>),
    /// It may never get a response: it uses another protocol, is silent, or has shut down its sending side. It keeps
    /// waiting, but gives up its place, because hotrun could answer other clients at once.
    Unanswerable,
    Gone,
}

impl PendingConnection {
    /// Waits for the client's next event. Looks for an HTTP request only if `responds` is set. Cancel safe.
    pub(super) async fn wait(&mut self, responds: bool) -> ClientEvent {
        loop {
            let silent = responds && self.place.is_some() && self.received.is_empty();
            tokio::select! {
                biased;
                event = self.event(responds) => return event,
                () = sleep(SILENT), if silent => {}
            }
            if self.received.is_empty() {
                return ClientEvent::Unanswerable;
            }
        }
    }

    async fn event(&mut self, responds: bool) -> ClientEvent {
        if responds && self.may_respond {
            match self.response().await {
                Ok(None) => self.may_respond = false,
                Ok(Some(response)) => return ClientEvent::Request(response),
                Err(_) => return ClientEvent::Gone,
            }
            if self.place.is_some() {
                return ClientEvent::Unanswerable;
            }
        }
        while self.received.len() < MOST_READ {
            match self.read().await {
                Ok(0) if responds && self.place.is_some() => return ClientEvent::Unanswerable,
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return ClientEvent::Gone,
            }
        }
        std::future::pending().await
    }

    /// Reads the request. Returns the response, or `None` if the protocol is not HTTP. Cancel safe.
    async fn response(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut last = false;
        loop {
            if !self.received.is_empty() {
                match HttpRequest::parse(&self.received, last) {
                    HttpRequest::Http { page, body, local } => {
                        let reason = self.reason.borrow().clone();
                        let reason = match may_see_reason(self.stream.peer_addr(), local) {
                            true => reason(),
                            false => Reason::hidden(),
                        };
                        return Ok(Some(response(&reason, page, body)));
                    }
                    HttpRequest::OtherProtocol => return Ok(None),
                    HttpRequest::Incomplete => {}
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
                // Take bytes that have arrived, even after the deadline.
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
}
