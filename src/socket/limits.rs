//! How many connections hotrun takes on at the same time, over all addresses.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::unclaimed::Unclaimed;

/// How many connections are forwarded at the same time. The others wait in the queue. Each takes two descriptors, of
/// which a process has 1024 where nobody raised that.
const FORWARDED: usize = 256;
/// How many get a response, or were accepted for one and wait now, at the same time.
const PENDING: usize = 256;

/// What all forwarders share.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) runtime: Handle,
    forwarded: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    half_closed: Arc<Mutex<HalfClosed>>,
    /// This many forwarders can't be started, as where the system has run out of something.
    #[cfg(test)]
    pub(super) refused: Arc<std::sync::atomic::AtomicUsize>,
}

/// A connection's place among those that are under way.
pub(super) enum Permit {
    /// Among those that are forwarded.
    Forwarded(OwnedSemaphorePermit),
    /// Among those that wait or get a response.
    Pending { _permit: OwnedSemaphorePermit },
}

impl Limits {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            forwarded: Arc::new(Semaphore::new(FORWARDED)),
            pending: Arc::new(Semaphore::new(PENDING)),
            half_closed: Arc::default(),
            #[cfg(test)]
            refused: Arc::default(),
        }
    }

    /// How many more connections may be accepted; `None` if they are to wait in the queue.
    pub(super) fn room(&self, unclaimed: &Unclaimed) -> Option<usize> {
        Some(self.permits(unclaimed)?.available_permits())
    }

    fn permits(&self, unclaimed: &Unclaimed) -> Option<&Arc<Semaphore>> {
        match unclaimed {
            Unclaimed::Wait => None,
            Unclaimed::Forward => Some(&self.forwarded),
            Unclaimed::Respond(_) => Some(&self.pending),
        }
    }

    pub(super) fn permit(&self, unclaimed: &Unclaimed) -> Option<Permit> {
        let permit = self.permits(unclaimed)?.clone().try_acquire_owned().ok()?;
        Some(match unclaimed {
            Unclaimed::Respond(_) => Permit::Pending { _permit: permit },
            Unclaimed::Forward | Unclaimed::Wait => Permit::Forwarded(permit),
        })
    }

    /// Waits until one more may be forwarded.
    pub(super) async fn forwarded(&self) -> Option<OwnedSemaphorePermit> {
        self.forwarded.clone().acquire_owned().await.ok()
    }

    /// The place of a connection on which no more is sent. What comes back receives when it has to make room.
    pub(super) fn half_closed(&self) -> oneshot::Receiver<()> {
        let half_closed = self.half_closed.lock();
        half_closed.unwrap_or_else(PoisonError::into_inner).add()
    }

    #[cfg(test)]
    pub(super) fn check(&self) -> io::Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let order = std::sync::atomic::Ordering::SeqCst;
        match self.refused.fetch_update(order, order, one_less) {
            Ok(_) => Err(nix::errno::Errno::EMFILE.into()),
            Err(_) => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests make it fail")]
    pub(super) const fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The connections on which no more is sent, the oldest first. A closed connection looks like one that is half closed and
/// waits for an answer (`nc -N`), so the newest of them are kept.
#[derive(Default)]
struct HalfClosed(VecDeque<oneshot::Sender<()>>);

impl HalfClosed {
    /// How many are kept.
    const MOST: usize = 64;

    fn add(&mut self) -> oneshot::Receiver<()> {
        let (sender, evicted) = oneshot::channel();
        self.0.retain(|sender| !sender.is_closed());
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(sender);
        evicted
    }
}
