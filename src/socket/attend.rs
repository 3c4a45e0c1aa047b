//! A connection that hotrun has taken itself, because no program does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Address;
use super::answerer::{Answerer, Heard};
use super::duty::Duty;
use super::forward::forward;
use super::limits::{Limits, Permit};
use super::stream::Stream;

/// So much of a connection is listened to. Servers take 8 to 64 kilobytes of headers.
const MOST: usize = 32 << 10;
/// So long, from the first byte on: who speaks slowly holds a place that others wait for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the other side may take to read its answer, and how long and how much of what it still sends is read after
/// that: to close before all is read resets the connection, and the answer with it (RFC 9112, 9.6).
const READING: Duration = Duration::from_secs(5);
const LINGERING: Duration = Duration::from_secs(1);
const MOST_IGNORED: u64 = 16 << 20;

/// Does for one connection what is to be done, as that changes, until it is closed. What was heard of one that waits in
/// the end comes first when it is carried.
pub(super) async fn attend(
    client: Socket,
    address: Address,
    duty: watch::Receiver<Duty>,
    permit: Permit,
    limits: Limits,
) {
    // The client sees an end of the connection; there is nobody else to tell.
    let Ok(client) = Stream::accepted(client, &address) else {
        return;
    };
    let visitor = Visitor {
        client,
        heard: Vec::new(),
        until: None,
        listening: true,
        place: Place::Permit(permit),
    };
    if let Some(visitor) = visitor.wait(duty, &limits).await {
        let _permit = match visitor.place {
            Place::Permit(Permit::Forwarded(permit)) => Some(permit),
            attended @ (Place::Permit(_) | Place::Closed(_)) => {
                let carried = limits.forwarded().await;
                drop(attended);
                carried
            }
        };
        let _ = forward(visitor.client, &visitor.heard, &address).await;
    }
}

/// By what a connection may be here.
enum Place {
    Permit(Permit),
    /// The other side will send no more. It may be gone and may not, so it must not keep others out; this tells when too
    /// many have come to that after it.
    Closed(oneshot::Receiver<()>),
}

struct Visitor {
    client: Stream,
    heard: Vec<u8>,
    /// When no more is listened to.
    until: Option<Instant>,
    /// Whether it is not known yet that it can't be answered.
    listening: bool,
    place: Place,
}

/// What came of a connection that was waited on.
enum Turn {
    /// It is to be answered this.
    Answer(Vec<u8>),
    /// It can't be answered.
    Other,
    /// It will send no more.
    Closed,
}

impl Visitor {
    /// Until it is to be carried; nothing comes back if it has come to its end before.
    async fn wait(mut self, mut duty: watch::Receiver<Duty>, limits: &Limits) -> Option<Self> {
        loop {
            let now = duty.borrow_and_update().clone();
            let answerer = match now {
                Duty::Carry => return Some(self),
                Duty::Answer(answerer) if self.listening => Some(answerer),
                Duty::Answer(_) | Duty::Wait => None,
            };
            tokio::select! {
                biased;
                changed = duty.changed() => changed.ok()?,
                turn = self.attend(answerer.as_ref()) => match turn.ok()? {
                    Turn::Answer(answer) => {
                        let _ = say(self.client, &answer).await;
                        return None;
                    }
                    Turn::Other => self.listening = false,
                    Turn::Closed => self.place = Place::Closed(limits.closed()),
                }
            }
        }
    }

    /// Fails when it has come to its end. May be dropped and called again.
    async fn attend(&mut self, answerer: Option<&Arc<dyn Answerer>>) -> io::Result<Turn> {
        match (answerer, &mut self.place) {
            (Some(answerer), _) => {
                let answer = self.listen(answerer).await?;
                Ok(answer.map_or(Turn::Other, Turn::Answer))
            }
            (None, Place::Closed(evicted)) => {
                let _ = evicted.await;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            (None, Place::Permit(_)) => {
                self.overhear().await?;
                Ok(Turn::Closed)
            }
        }
    }

    /// Up to the end of what it sends, though there is nothing to answer: else nobody would notice that it is gone. As
    /// long as it sends no more than is kept, that is; who is not greedy does not.
    async fn overhear(&mut self) -> io::Result<()> {
        while self.heard.len() < MOST {
            if self.read().await? == 0 {
                return Ok(());
            }
        }
        std::future::pending().await
    }

    async fn read(&mut self) -> io::Result<usize> {
        let mut room = (&mut self.client).take((MOST - self.heard.len()) as u64);
        room.read_buf(&mut self.heard).await
    }

    /// What it is to be answered; nothing if it waits on. May be dropped and called again.
    async fn listen(&mut self, answerer: &Arc<dyn Answerer>) -> io::Result<Option<Vec<u8>>> {
        let mut last = false;
        loop {
            if !self.heard.is_empty() {
                match answerer.answer(&self.heard, last) {
                    Heard::Answer(answer) => return Ok(Some(answer)),
                    Heard::Other => return Ok(None),
                    Heard::Unsure if last => return Ok(None),
                    Heard::Unsure => {}
                }
            }
            last = self.hear().await?;
        }
    }

    /// Listens on. Whether that was the last.
    async fn hear(&mut self) -> io::Result<bool> {
        // It may have spoken while nobody was to be answered.
        if !self.heard.is_empty() {
            self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        }
        let read = match self.until {
            None => self.read().await?,
            Some(until) => tokio::select! {
                // What is there counts, also when it was not looked at for long.
                biased;
                read = self.read() => read?,
                () = sleep_until(until) => return Ok(true),
            },
        };
        if self.heard.is_empty() {
            // It came, said nothing and went.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        Ok(read == 0 || self.heard.len() >= MOST)
    }
}

async fn say(mut client: Stream, answer: &[u8]) -> io::Result<()> {
    timeout(READING, async {
        client.write_all(answer).await?;
        client.shutdown().await
    })
    .await??;
    let mut rest = client.take(MOST_IGNORED);
    let mut nowhere = tokio::io::sink();
    let ignored = tokio::io::copy(&mut rest, &mut nowhere);
    timeout(LINGERING, ignored).await?.map(drop)
}
