//! Sockets that a program opened by itself.

use std::io;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::sync::watch;

use super::{Group, SharedGroup, Sweeper, lock};
use crate::os;
use crate::reload::GenId;
use crate::socket::endpoint::Transport;
use crate::socket::face::Face;
use crate::socket::relay::Helper;
use crate::socket::roster::{Key, NOBODY};
use crate::socket::slot::{Origin, Slot, Stage};

impl Group {
    /// The group of an address that a program opened by itself: there is one as long as somebody listens, or nobody is
    /// live. `first` listens already.
    pub(in crate::socket) fn adopted(
        face: Box<dyn Face>,
        first: Socket,
        id: GenId,
        live: Option<GenId>,
    ) -> io::Result<Self> {
        let mut slot = Slot::new(Self::FIRST, Some(id), first)?;
        slot.origin = Origin::Program;
        slot.stage = stage(live == Some(id));
        let mut group = Self {
            face,
            slots: vec![slot],
            target: Some(id),
            keys: 1,
            closed: false,
            sweeper: Sweeper::default(),
            adopted: true,
            given_up: false,
            hidden: false,
            abandoned_since: None,
            live,
            duty: watch::Sender::default(),
            answerer: None,
        };
        group.face.aim(&group.slots, Some(id))?;
        group.set_duty();
        Ok(group)
    }

    /// The same, where the program's sockets can't be steered by themselves: `first` is ours and stays for that.
    pub(in crate::socket) fn anchored(
        face: Box<dyn Face>,
        first: Socket,
        live: Option<GenId>,
    ) -> io::Result<Self> {
        let mut group = Self::new(face, first)?;
        group.slots[0].origin = Origin::Anchor;
        group.adopted = true;
        group.live = live;
        Ok(group)
    }

    /// Makes a bound socket of this generation's program listen, and a slot of the group. If the generation is
    /// live, or nobody is, connections go there from now on.
    ///
    /// Slots in which connections waited for this generation are nobody's then: it has shown that it does not take
    /// them from there.
    pub(in crate::socket) fn join(
        &mut self,
        id: GenId,
        socket: Socket,
        backlog: i32,
        leaving: bool,
    ) -> io::Result<()> {
        self.tend()?;
        let live = self.live == Some(id);
        let key = self.next_key();
        let mut slot = Slot::new(key, Some(id), socket)?;
        slot.origin = Origin::Program;
        slot.stage = stage(live);
        slot.leaving = leaving;
        if !slot.takes_program() {
            self.anchor()?;
        }
        self.face.join(key, Some(id), &slot.socket, backlog)?;
        self.slots.push(slot);
        // Before it is aimed at: then its index, the last, may forbid to close others.
        self.close_deferred();
        let next = self.nobody_serves() && Some(id) > self.target;
        if !leaving && (live || self.target == Some(id) || next) {
            self.aim(Some(id))?;
        }
        self.given_up = false;
        let waited: Vec<Key> = self
            .slots
            .iter()
            .filter(|slot| {
                slot.owner.is_none() || slot.owner == Some(id) && slot.origin != Origin::Program
            })
            .map(|slot| slot.key)
            .collect();
        for key in waited {
            self.disown(key)?;
        }
        self.set_duty();
        self.close_deferred();
        Ok(())
    }

    /// Nobody takes what is in the slot: it gets nothing new, what is in it is relayed, and then it is closed. As long as
    /// it is the only one of the target's, connections still come there, and wait.
    pub(in crate::socket) fn disown(&mut self, key: Key) -> io::Result<()> {
        // Nobody waits for an answer, and whoever has the address by its own sharing is not to meet ours.
        if self.carries_datagrams() {
            return self.remove(key);
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut slot.owner, NOBODY);
        if before == self.target {
            slot.aimed_at = Some(Instant::now());
            slot.cold = false;
        }
        slot.stage = match slot.origin {
            Origin::Hotrun | Origin::Program => Stage::Released,
            Origin::Anchor => Stage::Served,
        };
        slot.leaving = true;
        self.face.give(key, NOBODY);
        self.given_up = before.is_some() && before == self.live;
        // Before a relay begins: it would carry to itself.
        self.set_duty();
        self.face.aim(&self.slots, self.target)
    }

    /// Makes sure that one of ours stays by which the kernel takes the program: multipath TCP's do not take it.
    fn anchor(&mut self) -> io::Result<()> {
        if self.slots.iter().any(|slot| slot.origin == Origin::Anchor) {
            return Ok(());
        }
        let ours = |slot: &&mut Slot| slot.origin == Origin::Hotrun && slot.owner.is_none();
        if let Some(slot) = self.slots.iter_mut().find(ours) {
            slot.origin = Origin::Anchor;
            return Ok(());
        }
        self.open(NOBODY)?;
        if let Some(slot) = self.slots.last_mut() {
            slot.origin = Origin::Anchor;
            slot.stage = Stage::Served;
            slot.leaving = true;
        }
        Ok(())
    }

    /// Whether it is for datagrams: there is no queue of connections, and nothing to relay.
    pub(in crate::socket) fn carries_datagrams(&self) -> bool {
        let endpoint = self.face.endpoint();
        endpoint.is_some_and(|endpoint| endpoint.transport == Transport::Udp)
    }

    /// The sockets of all slots.
    pub(in crate::socket) fn inodes(&self) -> Vec<u64> {
        self.slots.iter().map(|slot| slot.inode).collect()
    }

    /// The slots of one generation, by inode.
    pub(in crate::socket) fn inodes_of(&self, id: GenId) -> Vec<(Key, u64)> {
        self.slots_of(id)
            .map(|slot| (slot.key, slot.inode))
            .collect()
    }

    /// Relays what is to be relayed and is not yet.
    pub(in crate::socket) fn relay_disowned(
        group: &SharedGroup,
        helper: &Helper,
    ) -> io::Result<()> {
        Self::start_relays(group, helper, |slot| slot.owner == NOBODY)
    }

    /// Whether the address was a program's own, and the generation that is live now does not listen there. As long as
    /// another one's processes are there that may, it is theirs.
    pub(in crate::socket) fn is_abandoned(&self, live: Option<GenId>) -> bool {
        let left = |slot: &Slot| {
            slot.stage == Stage::Released || slot.owner.is_none() || slot.owner == NOBODY
        };
        self.adopted && live.is_some() && self.slots.iter().all(left)
    }

    /// Whether that has been so for long enough: a program may open one address after the other, and what is opened
    /// late shall find those who wait. `Err` with how long that takes yet.
    pub(in crate::socket) fn is_over(&mut self, live: Option<GenId>) -> Result<bool, Duration> {
        if !self.is_abandoned(live) {
            self.abandoned_since = None;
            return Ok(false);
        }
        let grace = match self.given_up {
            true => GIVEN_UP,
            false => LATE,
        };
        let since = *self.abandoned_since.get_or_insert_with(Instant::now);
        match grace.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Err(left),
            Some(_) | None => Ok(true),
        }
    }

    /// Whether somebody counts on the address: the live generation listens there, or connections wait there for the next.
    pub(in crate::socket) fn is_expected(&self, live: Option<GenId>) -> bool {
        !self.hidden
            && self.slots.iter().any(|slot| match live {
                Some(live) => slot.owner == Some(live) && !slot.leaving,
                None => slot.owner != NOBODY,
            })
    }

    pub(in crate::socket) fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Whether this generation listens here, and nobody finds it.
    pub(in crate::socket) fn hides(&self, id: GenId) -> bool {
        self.hidden && self.slots_of(id).any(|slot| !slot.leaving)
    }

    /// The live generation listens on addresses that cover this one, and gets who connects here, now that the kernel does
    /// not find this group any more: it would prefer a narrower address, whoever listens there. What is here already is
    /// carried there once the old program does not take it. None of that where it can't be done, or where another one
    /// listens that has not been live yet.
    pub(in crate::socket) fn hide(&mut self) {
        let comes =
            |slot: &Slot| slot.owner.is_some() && slot.stage == Stage::Prepared && !slot.leaving;
        if self.hidden || !self.adopted || self.slots.iter().any(comes) {
            return;
        }
        let mut slots = self.slots.iter();
        if slots.any(|slot| os::reuseport::hide(&*slot.socket).is_err()) {
            return;
        }
        self.hidden = true;
        for slot in self.slots.iter_mut().filter(|slot| slot.owner.is_none()) {
            slot.leaving = true;
        }
        self.set_duty();
    }

    /// Who is live, for the relays: they have somebody to carry to if that one listens here.
    pub(in crate::socket) fn set_live(&mut self, live: Option<GenId>) {
        self.live = live;
        self.set_duty();
    }
}

/// How long an address is kept that the generation before had, and the live one does not open.
const LATE: Duration = Duration::from_secs(10);
/// How long one is kept that the live generation itself has closed.
const GIVEN_UP: Duration = Duration::from_secs(1);

fn stage(live: bool) -> Stage {
    if live { Stage::Served } else { Stage::Prepared }
}

/// Disowns those of a generation's slots in the group that no process holds, as `held` tells.
pub(in crate::socket) fn disown_unheld(
    group: &SharedGroup,
    id: GenId,
    held: impl Fn(u64) -> bool,
) -> io::Result<()> {
    let inodes = lock(group).inodes_of(id);
    let unheld = inodes.into_iter().filter(|(_, inode)| !held(*inode));
    for (key, _) in unheld.collect::<Vec<_>>() {
        lock(group).disown(key)?;
    }
    Ok(())
}
