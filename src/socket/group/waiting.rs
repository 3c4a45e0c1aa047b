//! Where connections wait while nobody serves.

use std::io;
use std::time::Instant;

use super::Group;
use crate::reload::GenId;
use crate::socket::roster::Owner;
use crate::socket::slot::Stage;

impl Group {
    /// Nobody serves: connections wait in the slot of the newest generation that may yet be live, or of the next.
    pub(in crate::socket) fn hold(&mut self) -> io::Result<()> {
        self.tend()?;
        if self.hidden {
            return Ok(());
        }
        let prepared = self
            .slots
            .iter()
            .filter(|slot| slot.stage == Stage::Prepared && !slot.leaving);
        let Some(newest) = prepared.map(|slot| slot.owner).max() else {
            return self.wait();
        };
        self.aim(newest)?;
        Ok(())
    }

    /// Opens a slot that waits for the next generation, and lets connections wait in it.
    fn wait(&mut self) -> io::Result<()> {
        if self.carries_datagrams() {
            return Ok(());
        }
        match self.open(None) {
            // A program that has another user's sockets: ours can't be beside them, and connections wait where they are.
            Err(_) if self.adopted && !self.slots.is_empty() => return Ok(()),
            opened => opened?,
        }
        self.close_deferred();
        self.aim(None)?;
        Ok(())
    }

    /// The tree of this generation is gone. `held` tells that no generation is live.
    pub(in crate::socket) fn release(&mut self, id: GenId, held: bool) -> io::Result<()> {
        let tended = self.tend();
        let left = match held.then(|| self.reusable(id)).flatten() {
            Some(index) => self.waits_again(index),
            None if self.target == Some(id) => self.hold_without(id),
            None => Ok(()),
        };
        // Whatever failed: nobody asks for it again.
        self.let_go(id);
        tended.and(left)
    }

    fn let_go(&mut self, id: GenId) {
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == Some(id)) {
            slot.stage = Stage::Released;
            // Only we hold it now, so its flags are nobody else's: the relay need not sleep in `accept` any more.
            let _ = slot.socket.set_nonblocking(true);
        }
    }

    /// The slot of a generation that is gone without having served, if the next one gains by taking it over: more
    /// waits in it than in the slot that it would get otherwise. What it takes over needs no relay, so it sees the
    /// clients' own addresses. A relay must not stay on it; where that is not certain it is not taken over.
    fn reusable(&mut self, id: GenId) -> Option<usize> {
        let index = self
            .slots
            .iter()
            .position(|slot| slot.owner == Some(id) && slot.stage == Stage::Prepared)?;
        let gains = match self.target {
            Some(target) => target == id,
            None => self.waiting_in(Some(id)) > self.waiting_in(None),
        };
        (gains && self.slots[index].end_relay()).then_some(index)
    }

    fn waiting_in(&self, owner: Owner) -> u32 {
        let slots = self.slots.iter().filter(|slot| slot.owner == owner);
        let queues = slots.filter_map(|slot| self.face.queue(slot).ok());
        queues.map(|queue| queue.waiting).sum()
    }

    /// The slot of a generation that is gone without having served goes to the next one, with what waits in it. The
    /// dead program may have made it non-blocking, which the next must not find.
    fn waits_again(&mut self, index: usize) -> io::Result<()> {
        let id = self.slots[index].owner;
        if id == self.target {
            // Of a program with several, the others got some of what came until now.
            self.rewarm(|slot| slot.owner == id);
        }
        let waiting = self.slots.iter().position(|slot| slot.owner.is_none());
        self.slots[index].leaving = false;
        let _ = self.slots[index].socket.set_nonblocking(false);
        if let Some(waiting) = waiting {
            self.replaced(waiting, id);
        }
        self.give(index, None)?;
        self.face.aim(&self.slots, self.target)?;
        Ok(())
    }

    /// The slot that waited meanwhile goes the way of the generation that is gone.
    fn replaced(&mut self, index: usize, id: Owner) {
        let slot = &mut self.slots[index];
        slot.owner = id;
        slot.stage = Stage::Released;
        slot.aimed_at = Some(Instant::now());
        let _ = slot.socket.set_nonblocking(true);
        self.face.give(slot.key, id);
    }

    fn hold_without(&mut self, id: GenId) -> io::Result<()> {
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == Some(id)) {
            slot.stage = Stage::Released;
        }
        self.hold()
    }
}
