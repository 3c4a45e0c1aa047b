//! The generation listens, and somebody waits on every socket of it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{How, Listens, Trouble, pace};
use crate::os::Accepting;
use crate::os::accepting::accepting;

/// How long a socket may be held out of sight until that counts as waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a program may take to listen where connections wait, if nobody serves them. What takes longer is live
/// meanwhile, and they wait on.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// Since when a socket has been out of sight, while it is.
#[derive(Clone, Copy)]
struct Sight {
    waits: bool,
    hidden_since: Option<Instant>,
}

/// Nothing is known of it.
const UNSEEN: Sight = Sight {
    waits: false,
    hidden_since: None,
};

impl Sight {
    fn next(self, seen: Accepting, now: Instant) -> Self {
        match seen {
            Accepting::Yes => Self {
                waits: true,
                hidden_since: None,
            },
            Accepting::No => Self {
                waits: false,
                hidden_since: None,
            },
            Accepting::Unknown => Self {
                waits: false,
                hidden_since: self.hidden_since.or(Some(now)),
            },
        }
    }

    fn counts(self, now: Instant) -> bool {
        self.waits
            || self
                .hidden_since
                .is_some_and(|since| now - since >= PATIENCE)
    }
}

/// What is looked at, and who is told what is missing.
pub(super) struct Look<'a> {
    pub(super) pids: &'a mut (dyn FnMut() -> Vec<i32> + Send),
    pub(super) listens: &'a mut (dyn FnMut() -> Listens + Send),
    pub(super) trouble: &'a mut (dyn FnMut(Trouble) + Send),
}

/// What one look at all sockets tells.
enum Seen {
    /// This is missing.
    Not(Trouble),
    /// Somebody waits on each.
    Waits,
    /// Of some that cannot be seen.
    Holds,
}

impl Look<'_> {
    pub(super) fn reborrow(&mut self) -> Look<'_> {
        Look {
            pids: &mut *self.pids,
            listens: &mut *self.listens,
            trouble: &mut *self.trouble,
        }
    }

    /// Waits until the generation listens wherever the one before it does, and each of its sockets is waited on by one
    /// of its processes. Where it has not listened for a second since its first socket it is taken to have given the
    /// address up. `alone` is how long it has to live if it opens no socket, and none is missed.
    ///
    /// All have to be at the same look: a worker that serves one and dies before the next opens leaves nothing. A
    /// process that holds a socket, where everything can be seen and nobody waits, counts for nothing, however
    /// long: it is a wrapper, or a program that is still loading. Only what is out of sight (an io_uring on a
    /// kernel that does not list what is pending, a process of another user) counts after a second, and
    /// without any sight at all (other systems) a second alone does.
    pub(super) async fn somebody_waits(self, alone: Option<Duration>) -> How {
        let start = Instant::now();
        // One look that was interrupted by other work of a busy machine says nothing about its cost.
        let mut cost_before = Duration::MAX;
        let mut first = None;
        let mut sights = HashMap::new();
        loop {
            let began = Instant::now();
            let listens = (self.listens)();
            if listens.nothing() && listens.missing.is_empty() {
                if alone.is_some_and(|alone| began - start >= alone) {
                    return How::Lives;
                }
                (self.trouble)(Trouble::NothingOpened);
            } else if listens.nothing() {
                // Nobody serves: it is as well to believe that it has given the address up.
                if !listens.beside && alone.is_some() && began - start >= GIVEN_UP {
                    return How::Lives;
                }
                (self.trouble)(Trouble::Missing(listens.missing[0]));
            } else {
                let since = *first.get_or_insert(began);
                let all: Vec<u64> = [&listens.sockets[..], &listens.datagrams].concat();
                let Some(seen) = accepting(&(self.pids)(), &all) else {
                    sleep(PATIENCE).await;
                    return How::Holds;
                };
                sights = all
                    .iter()
                    .zip(seen)
                    .map(|(inode, seen)| {
                        let sight = sights.get(inode).copied().unwrap_or(UNSEEN);
                        (*inode, sight.next(seen, began))
                    })
                    .collect();
                match judge(&listens, &sights, began, since) {
                    Seen::Not(trouble) => (self.trouble)(trouble),
                    Seen::Waits => return How::Waits,
                    Seen::Holds => return How::Holds,
                }
            }
            let cost = Instant::now() - began;
            sleep(pace::pause(began - start, cost.min(cost_before))).await;
            cost_before = cost;
        }
    }
}

fn judge(listens: &Listens, sights: &HashMap<u64, Sight>, now: Instant, since: Instant) -> Seen {
    let settled = now - since >= PATIENCE;
    if let Some(missing) = listens.missing.first().filter(|_| !settled) {
        return Seen::Not(Trouble::Missing(*missing));
    }
    let sight = |inode: &u64| sights.get(inode).copied().unwrap_or(UNSEEN);
    let counts = |inode: &u64| sight(inode).counts(now);
    if let Some(index) = listens.sockets.iter().position(|inode| !counts(inode)) {
        return Seen::Not(Trouble::NobodyWaits(index));
    }
    if !settled && !listens.datagrams.iter().all(counts) {
        return Seen::Not(Trouble::NobodyWaits(listens.sockets.len()));
    }
    match listens.sockets.iter().all(|inode| sight(inode).waits) {
        true => Seen::Waits,
        false => Seen::Holds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_out_of_sight_for_a_second_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let hidden = UNSEEN
            .next(Accepting::Unknown, at(0))
            .next(Accepting::Unknown, at(900));
        assert!(!hidden.counts(at(999)) && hidden.counts(at(1000)));
        let seen_between = hidden
            .next(Accepting::No, at(950))
            .next(Accepting::Unknown, at(960));
        assert!(!seen_between.counts(at(1000)) && seen_between.counts(at(1960)));
        assert!(!hidden.next(Accepting::No, at(2000)).counts(at(9000)));
        assert!(hidden.next(Accepting::Yes, at(1)).counts(at(1)));
    }
}
