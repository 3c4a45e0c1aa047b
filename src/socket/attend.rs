//! A connection that hotrun has taken itself, because no program does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Address;
use super::answerer::{Answerer, Heard};
use super::carry::carry;
use super::duty::Duty;
use super::relay::Helper;
use super::route::Stream;

/// So much of a connection is listened to. Servers take 8 to 64 kilobytes of headers.
const MOST: usize = 32 << 10;
/// So long, from the first byte on: who speaks slowly holds a place that others wait for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the other side may take to read its answer, and how long and how much of what it still sends is read after
/// that: to close before all is read resets the connection, and the answer with it (RFC 9112, 9.6).
const READING: Duration = Duration::from_secs(5);
const LINGERING: Duration = Duration::from_secs(1);
const MOST_IGNORED: u64 = 16 << 20;

/// The place that a connection has among those that are under way.
pub(super) enum Permit {
    /// Among those that are carried.
    Carried(OwnedSemaphorePermit),
    /// Among those that wait or are answered.
    Attended(OwnedSemaphorePermit),
}

/// Does for one connection what is to be done, as that changes, until it is closed. What was heard of one that waits in
/// the end comes first when it is carried.
pub(super) async fn attend(
    client: Socket,
    address: Address,
    duty: watch::Receiver<Duty>,
    permit: Permit,
    helper: Helper,
) {
    // The client sees an end of the connection; there is nobody else to tell.
    let Ok(client) = Stream::of_client(client, &address) else {
        return;
    };
    let visitor = Visitor {
        client,
        heard: Vec::new(),
        until: None,
        listening: true,
    };
    if let Some(visitor) = visitor.wait(duty).await {
        let _permit = match permit {
            Permit::Carried(permit) => Some(permit),
            Permit::Attended(attended) => {
                let carried = helper.carried().await;
                drop(attended);
                carried
            }
        };
        let _ = carry(visitor.client, &visitor.heard, &address).await;
    }
}

struct Visitor {
    client: Stream,
    heard: Vec<u8>,
    /// When no more is listened to.
    until: Option<Instant>,
    /// Whether it is not known yet that it can't be answered.
    listening: bool,
}

impl Visitor {
    /// Until it is to be carried; nothing comes back if it has come to its end before.
    async fn wait(mut self, mut duty: watch::Receiver<Duty>) -> Option<Self> {
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
                answer = self.listen(answerer.as_ref()), if answerer.is_some() => match answer {
                    Ok(Some(answer)) => {
                        let _ = say(self.client, &answer).await;
                        return None;
                    }
                    Ok(None) => self.listening = false,
                    Err(_) => return None,
                }
            }
        }
    }

    /// What it is to be answered; nothing if it waits on. May be dropped and called again.
    async fn listen(
        &mut self,
        answerer: Option<&Arc<dyn Answerer>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(answerer) = answerer else {
            return Ok(None);
        };
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
        let mut room = (&mut self.client).take((MOST - self.heard.len()) as u64);
        let read = room.read_buf(&mut self.heard);
        let read = match self.until {
            None => read.await?,
            Some(until) => tokio::select! {
                read = read => read?,
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
