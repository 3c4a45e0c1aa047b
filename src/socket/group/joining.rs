//! Sockets that a program opened by itself.

use std::io;
use std::time::Instant;

use socket2::Socket;
use tokio::sync::watch;

use super::{Group, SharedGroup, Sweeper, lock};
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
            live,
            serves: watch::Sender::new(live == Some(id)),
        };
        group.face.aim(&group.slots, Some(id))?;
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
    ) -> io::Result<()> {
        self.tend()?;
        let live = self.live == Some(id);
        let key = self.next_key();
        let mut slot = Slot::new(key, Some(id), socket)?;
        slot.origin = Origin::Program;
        slot.stage = stage(live);
        self.face.join(key, Some(id), &slot.socket, backlog)?;
        self.slots.push(slot);
        if live || self.target == Some(id) || (self.nobody_serves() && Some(id) > self.target) {
            self.aim(Some(id))?;
        }
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
        self.set_serves();
        self.close_deferred();
        Ok(())
    }

    /// Nobody takes what is in the slot: it gets nothing new, what is in it is relayed, and then it is closed. The
    /// last of its generation stays: connections are not refused.
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
        self.face.aim(&self.slots, self.target)
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

    /// Who is live, for the relays: they have somebody to carry to if that one listens here.
    pub(in crate::socket) fn set_live(&mut self, live: Option<GenId>) {
        self.live = live;
        self.set_serves();
    }

    pub(in crate::socket) fn set_serves(&self) {
        let serves = self
            .live
            .is_some_and(|id| self.slots_of(id).any(|slot| !slot.leaving));
        self.serves.send_replace(serves);
        self.wake_relays();
    }
}

fn stage(live: bool) -> Stage {
    if live { Stage::Served } else { Stage::Prepared }
}

/// Which of a generation's slots in the group are still held by a process, as `held` tells; the others are
/// disowned if there is another.
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
