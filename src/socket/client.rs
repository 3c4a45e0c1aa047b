//! A connection that hotrun has accepted, because no program does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use super::forward::forward;
use super::limits::{Limits, Permit};
use super::stream::Stream;
use super::unclaimed::{Respond, Response, Unclaimed};

/// How many bytes of a request are read. Servers accept 8 to 64 kilobytes of headers.
const MOST_READ: usize = 32 << 10;
/// How long a request is read from its first byte on: a slow client holds a place that others wait for.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the client may take to read its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long, and how many bytes, the rest of the request is read after the response: closing with unread bytes resets
/// the connection, and the response with it (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);
const MOST_DISCARDED: u64 = 16 << 20;

/// Does with one connection what is to be done, as that changes, until it is closed. What was read while it waited is sent
/// first when it is forwarded.
pub(super) async fn handle(
    client: Socket,
    address: Address,
    unclaimed: watch::Receiver<Unclaimed>,
    permit: Permit,
    limits: Limits,
) {
    // The client sees the connection end; nobody else is to be told.
    let Ok(stream) = Stream::accepted(client, &address) else {
        return;
    };
    let client = Client {
        stream,
        received: Vec::new(),
        until: None,
        may_respond: true,
        place: Place::Permit(permit),
    };
    let Some(client) = client.wait(unclaimed, &limits).await else {
        return;
    };
    let _permit = match client.place {
        Place::Permit(Permit::Forwarded(permit)) => Some(permit),
        pending @ (Place::Permit(_) | Place::HalfClosed(_)) => {
            let permit = limits.forwarded().await;
            drop(pending);
            permit
        }
    };
    let _ = forward(client.stream, &client.received, &address).await;
}

/// Why the connection may be here.
enum Place {
    Permit(Permit),
    /// The client will send no more. It may be gone, so it must not keep others out: this receives when too many have done
    /// the same after it.
    HalfClosed(oneshot::Receiver<()>),
}

struct Client {
    stream: Stream,
    received: Vec<u8>,
    /// When reading ends.
    until: Option<Instant>,
    /// Whether it may still get a response.
    may_respond: bool,
    place: Place,
}

/// What came of a connection that was read.
enum Turn {
    Send(Vec<u8>),
    /// There is no response to it.
    Wait,
    /// It will send no more.
    HalfClosed,
}

impl Client {
    /// Waits until it is to be forwarded. Returns nothing if it has ended before.
    async fn wait(
        mut self,
        mut unclaimed: watch::Receiver<Unclaimed>,
        limits: &Limits,
    ) -> Option<Self> {
        loop {
            let now = unclaimed.borrow_and_update().clone();
            let responder = match now {
                Unclaimed::Forward => return Some(self),
                Unclaimed::Respond(responder) if self.may_respond => Some(responder),
                Unclaimed::Respond(_) | Unclaimed::Wait => None,
            };
            tokio::select! {
                biased;
                changed = unclaimed.changed() => changed.ok()?,
                turn = self.turn(responder.as_ref()) => match turn.ok()? {
                    Turn::Send(response) => {
                        let _ = send(self.stream, &response).await;
                        return None;
                    }
                    Turn::Wait => self.may_respond = false,
                    Turn::HalfClosed => self.place = Place::HalfClosed(limits.half_closed()),
                }
            }
        }
    }

    /// Fails when the connection has ended. May be dropped and called again.
    async fn turn(&mut self, responder: Option<&Arc<dyn Respond>>) -> io::Result<Turn> {
        match (responder, &mut self.place) {
            (Some(responder), _) => {
                let response = self.response(responder).await?;
                Ok(response.map_or(Turn::Wait, Turn::Send))
            }
            (None, Place::HalfClosed(evicted)) => {
                let _ = evicted.await;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            (None, Place::Permit(_)) => {
                self.read_to_end().await?;
                Ok(Turn::HalfClosed)
            }
        }
    }

    /// Reads to the end of what the client sends, or nobody would notice that it is gone. A client that sends more than is
    /// kept waits.
    async fn read_to_end(&mut self) -> io::Result<()> {
        while self.received.len() < MOST_READ {
            if self.read().await? == 0 {
                return Ok(());
            }
        }
        std::future::pending().await
    }

    async fn read(&mut self) -> io::Result<usize> {
        let room = (MOST_READ - self.received.len()) as u64;
        let mut limited = (&mut self.stream).take(room);
        limited.read_buf(&mut self.received).await
    }

    /// The response; nothing if the client waits. May be dropped and called again.
    async fn response(&mut self, responder: &Arc<dyn Respond>) -> io::Result<Option<Vec<u8>>> {
        let mut last = false;
        loop {
            if !self.received.is_empty() {
                match responder.respond(&self.received, last) {
                    Response::Send(response) => return Ok(Some(response)),
                    Response::Wait => return Ok(None),
                    Response::NeedMore if last => return Ok(None),
                    Response::NeedMore => {}
                }
            }
            last = self.read_more().await?;
        }
    }

    /// Reads more. Returns whether that was the last.
    async fn read_more(&mut self) -> io::Result<bool> {
        // It may have sent something while nothing could respond.
        if !self.received.is_empty() {
            self.until
                .get_or_insert_with(|| Instant::now() + READ_TIMEOUT);
        }
        let read = match self.until {
            None => self.read().await?,
            Some(until) => tokio::select! {
                // What is there counts, also if it was not looked at for long.
                biased;
                read = self.read() => read?,
                () = sleep_until(until) => return Ok(true),
            },
        };
        if self.received.is_empty() {
            // It was closed without a byte.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.until
            .get_or_insert_with(|| Instant::now() + READ_TIMEOUT);
        Ok(read == 0 || self.received.len() >= MOST_READ)
    }
}

async fn send(mut client: Stream, response: &[u8]) -> io::Result<()> {
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
