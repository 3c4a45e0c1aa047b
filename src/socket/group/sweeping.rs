//! Slots of generations that are gone are closed, as soon as that is safe.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Group, lock};
use crate::socket::duty::Duty;
use crate::socket::roster::Key;
use crate::socket::scan::{REST, Scan, Scanned, handshake_matters, is_warm};
use crate::socket::slot::{Slot, Stage};

/// The longest pause of a sweeper, for slots of which the queue waits for a live generation.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Who closes what is released.
#[derive(Default)]
pub(in crate::socket) struct Sweeper {
    /// Whether the task runs.
    runs: bool,
    /// Tells it that there may be more to close.
    bell: Arc<Notify>,
}

/// Closes what is released, as it becomes safe, until nothing of that kind is left. It looks at the sockets of the whole
/// machine in a thread, and without the lock: neither a switch nor the answer to a program's call waits for that.
pub(in crate::socket) async fn sweep(group: Weak<Mutex<Group>>) {
    let mut pause = REST;
    loop {
        let Some(group) = group.upgrade() else { return };
        let bell = lock(&group).sweeper.bell.clone();
        // An error means that the runtime ends.
        if !matches!(
            spawn_blocking(move || round(&group, Scan::take)).await,
            Ok(true)
        ) {
            return;
        }
        pause = match timeout(pause, bell.notified()).await {
            Ok(()) => REST,
            Err(_) => (pause * 2).min(LONGEST_PAUSE),
        };
    }
}

/// Closes what can be closed now; whether something is left that can be later.
fn round(group: &Mutex<Group>, take: impl FnOnce(&Scan) -> Scanned) -> bool {
    // Statements of their own: the lock is free while this looks.
    let look = lock(group).look();
    let sight = look.as_ref().map(take);
    let mut group = lock(group);
    if let Some(sight) = sight {
        group.close_what_may(&sight);
    }
    group.sweeper.runs = group.waits_for_time();
    group.sweeper.runs
}

impl Group {
    /// Whether a [`sweep`] is to be started: there is what can be closed in time, and nobody who will. One who will is
    /// told to look now.
    pub(in crate::socket) fn wants_sweeper(&mut self) -> bool {
        if !self.waits_for_time() {
            return false;
        }
        let runs = std::mem::replace(&mut self.sweeper.runs, true);
        if runs {
            self.sweeper.bell.notify_one();
        }
        !runs
    }

    /// What the order of the group forbids to close stays until the next operation; all else is a matter of time.
    fn waits_for_time(&self) -> bool {
        let carried = self.carried();
        let mut released = self.released();
        released.any(|slot| !slot.cold || self.face.may_leave(slot, &carried))
    }

    /// What is released and not aimed at, as it is only if it could not be aimed elsewhere.
    fn released(&self) -> impl Iterator<Item = &Slot> {
        let released = |slot: &&Slot| slot.stage == Stage::Released && slot.owner != self.target;
        self.slots.iter().filter(released)
    }

    /// What has to be looked at before anything can be closed; `None` if nothing can in any case.
    fn look(&self) -> Option<Scan> {
        let now = Instant::now();
        let rested = |slot: &Slot| !slot.aimed_at.is_some_and(|until| is_warm(until, now));
        let unsure = |slot: &&Slot| !slot.cold && rested(slot);
        let carried = self.carried();
        let leaves =
            |slot: &Slot| slot.cold && self.face.may_leave(slot, &carried) && self.is_empty(slot);
        if !self.released().any(|slot| unsure(&slot) || leaves(slot)) {
            return None;
        }
        let matters = |slot: &Slot| {
            let until = slot.aimed_at;
            until.is_some_and(|until| handshake_matters(until, now))
        };
        Some(Scan {
            handshakes: self.released().filter(unsure).any(matters),
            ..self.face.look()
        })
    }

    /// Notes of which slots it is certain now that nothing is on its way into them. That stays so: nothing is aimed at
    /// what is released.
    fn cool(&mut self, sight: &Scanned) {
        let now = Instant::now();
        let target = self.target;
        for slot in &mut self.slots {
            if slot.stage == Stage::Released && slot.owner != target {
                let arrives = |until| is_warm(until, now) || sight.may_arrive(until, now);
                slot.cold |= !slot.aimed_at.is_some_and(arrives);
            }
        }
    }

    /// Closes what is released and, by what was seen, safe to close.
    fn close_what_may(&mut self, sight: &Scanned) {
        self.cool(sight);
        if self.face.may_close(sight) {
            self.close_deferred();
            self.close_one_more();
        }
    }

    /// The same without a look, when it is known that there is no stranger: a new member may be what a closing that was
    /// put off has waited for, and that may be past at the next switch.
    pub(super) fn close_deferred(&mut self) {
        while let Some(key) = self.closable(&[]) {
            if self.remove(key).is_err() {
                return;
            }
        }
    }

    /// Where the order of the group forbids to close any, one is closed all the same if all that could go astray
    /// meanwhile is carried. The others may have got something by that, and are looked at again.
    fn close_one_more(&mut self) {
        let carried = self.carried();
        if let Some(key) = self.closable(&carried) {
            let _ = self.remove(key);
            self.rewarm(|slot| carried.contains(&slot.key));
        }
    }

    fn closable(&self, carried: &[Key]) -> Option<Key> {
        // The queue is the last thing to be looked at: what was on its way while anything else was, is in it.
        let closable =
            |slot: &&Slot| slot.cold && self.face.may_leave(slot, carried) && self.is_empty(slot);
        self.released().find(closable).map(|slot| slot.key)
    }

    /// The released slots from which a relay carries connections to the live generation.
    fn carried(&self) -> Vec<Key> {
        let carries = matches!(*self.duty.borrow(), Duty::Carry);
        let carried = self
            .released()
            .filter(|slot| carries && slot.relay.is_some());
        carried.map(|slot| slot.key).collect()
    }

    fn is_empty(&self, slot: &Slot) -> bool {
        self.face
            .queue(slot)
            .map_or(true, |queue| queue.waiting == 0)
    }
}

#[cfg(test)]
mod tests;
