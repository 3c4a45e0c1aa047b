mod answering;
mod joining;
mod sweeping;
mod waiting;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::answerer::Answerer;
use super::drain::MonitoredListener;
use super::duty::Duty;
use super::face::Face;
use super::relay::{Helper, Place, Relay};
use super::roster::{Key, Owner};
use super::slot::{Slot, Stage};
use crate::os;
use crate::reload::GenId;

/// The generation has no slot here: it was not prepared, or is being dismissed, or its program shut the socket down.
pub(super) fn none_of(id: GenId) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("generation {id} does not listen"),
    )
}

/// All slots of one address. Relays and routes reach it from other threads.
pub(super) struct Group {
    face: Box<dyn Face>,
    slots: Vec<Slot>,
    target: Owner,
    keys: u64,
    /// Whether it was closed for good: a relay or a sweeper may still hold it for a moment.
    closed: bool,
    /// What closes what can be closed in time.
    sweeper: Sweeper,
    /// Whether a program opened the address by itself, and nobody asked for it before.
    adopted: bool,
    /// Whether the live generation has closed its last socket here.
    given_up: bool,
    /// Whether nobody finds it any more (see [`Group::hide`]).
    hidden: bool,
    /// Since when nobody who runs has listened here.
    abandoned_since: Option<Instant>,
    live: Option<GenId>,
    /// What is to be done with connections that no program takes.
    duty: watch::Sender<Duty>,
    /// Who answers them, while no generation is live and none comes.
    answerer: Option<Arc<dyn Answerer>>,
}

pub(super) use joining::disown_unheld;
use sweeping::Sweeper;
pub(super) use sweeping::sweep;

/// A group that several hold.
pub(super) type SharedGroup = Arc<Mutex<Group>>;

/// Locks it, also after a panic elsewhere: every step leaves the group whole.
pub(super) fn lock(group: &Mutex<Group>) -> MutexGuard<'_, Group> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops a slot as soon as its program shuts it down: while that is the only one, or the kernel's program names its
/// index, connections are refused.
async fn notice(socket: OwnedFd, group: Weak<Mutex<Group>>) {
    if os::hangup::hung_up(socket).await.is_ok()
        && let Some(group) = group.upgrade()
    {
        // What fails is tried again with the next operation.
        let _ = lock(&group).tend();
    }
}

impl Group {
    /// The key of the slot that a group begins with.
    pub(super) const FIRST: Key = Key(0);

    /// A group of one slot, which waits for the first generation.
    pub(super) fn new(face: Box<dyn Face>, first: Socket) -> io::Result<Self> {
        let slots = vec![Slot::new(Self::FIRST, None, first)?];
        let mut group = Self {
            face,
            slots,
            target: None,
            keys: 1,
            closed: false,
            sweeper: Sweeper::default(),
            adopted: false,
            given_up: false,
            hidden: false,
            abandoned_since: None,
            live: None,
            duty: watch::Sender::default(),
            answerer: None,
        };
        group.face.aim(&group.slots, None)?;
        Ok(group)
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.adopted
    }

    pub(super) fn face(&self) -> &dyn Face {
        &*self.face
    }

    /// The slot of this generation: the waiting one if there is one, else a new one.
    pub(super) fn prepare(&mut self, id: GenId) -> io::Result<&Slot> {
        self.tend()?;
        // What still has a relay is no program's (see `Group::answer_no_more`).
        let waits = |slot: &Slot| slot.owner.is_none() && slot.relay.is_none();
        match self.slots.iter().position(waits) {
            Some(index) => self.give(index, Some(id))?,
            None => {
                self.open(Some(id))?;
                self.close_deferred();
            }
        }
        self.slots_of(id).next().ok_or_else(|| none_of(id))
    }

    /// Everything new goes to this generation.
    pub(super) fn switch(&mut self, id: GenId) -> io::Result<()> {
        // The check for slots that left comes first: it may change what the kernel's indices mean.
        self.tend()?;
        if !self.may_serve(id) {
            // An address that a program opened by itself may be one that the next does not open any more.
            return if self.adopted {
                Ok(())
            } else {
                Err(none_of(id))
            };
        }
        self.aim(Some(id))?;
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == Some(id)) {
            slot.stage = Stage::Served;
        }
        Ok(())
    }

    /// Whether there is a slot of it that was not given up. A relay on the live slot would carry to itself.
    pub(super) fn may_serve(&self, id: GenId) -> bool {
        !self.hidden && self.slots_of(id).any(|slot| !slot.leaving)
    }

    /// Drops what listens no more, re-steers, puts back what was removed.
    pub(super) fn tend(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let left = |slot: &Slot| matches!(self.face.queue(slot), Ok(queue) if !queue.listening);
        let left: Vec<Key> = self
            .slots
            .iter()
            .filter(|slot| left(slot))
            .map(|slot| slot.key)
            .collect();
        for key in left {
            self.left(key)?;
        }
        self.face.tend(&self.slots)
    }

    /// A slot listens no more because its program shut it down.
    pub(super) fn left(&mut self, key: Key) -> io::Result<()> {
        // Several may notice it.
        if self.closed || !self.slots.iter().any(|slot| slot.key == key) {
            return Ok(());
        }
        self.remove(key)?;
        if self.slots.iter().any(|slot| slot.owner == self.target) {
            return Ok(());
        }
        self.hold()
    }

    /// Starts to look after the slots of which a program may have a duplicate, as far as that has not begun.
    pub(super) fn watch(group: &SharedGroup, runtime: &Handle) {
        let mut this = lock(group);
        if this.carries_datagrams() {
            // They have no connection to hang up, and a duplicate would keep a closed one among the members.
            return;
        }
        for slot in this.slots.iter_mut().filter(|slot| slot.watch.is_none()) {
            // Without a descriptor to spare it is noticed by the next operation.
            if let Ok(socket) = slot.duplicate() {
                let watch = notice(socket, Arc::downgrade(group));
                slot.watch = Some(runtime.spawn(watch).abort_handle());
            }
        }
    }

    /// Closes the slot (see its drop), then tells the kernel what the indices mean now.
    fn remove(&mut self, key: Key) -> io::Result<()> {
        self.slots.retain(|slot| slot.key != key);
        self.face.closed(&self.slots, key)
    }

    fn open(&mut self, owner: Owner) -> io::Result<()> {
        let key = self.next_key();
        let socket = self.face.open(key, owner)?;
        match Slot::new(key, owner, socket) {
            Ok(slot) => self.slots.push(slot),
            Err(error) => return self.face.closed(&self.slots, key).and(Err(error)),
        }
        // While nobody serves, the newest generation is the one that connections wait for.
        if self.nobody_serves() && owner > self.target {
            self.aim(owner)?;
        }
        Ok(())
    }

    fn next_key(&mut self) -> Key {
        self.keys += 1;
        Key(self.keys - 1)
    }

    /// Whether connections go to a generation that is not live.
    fn nobody_serves(&self) -> bool {
        let mut targets = self.slots.iter().filter(|slot| slot.owner == self.target);
        targets.all(|slot| slot.stage != Stage::Served || slot.leaving)
    }

    fn give(&mut self, index: usize, owner: Owner) -> io::Result<()> {
        let slot = &mut self.slots[index];
        let before = std::mem::replace(&mut slot.owner, owner);
        self.face.give(slot.key, owner);
        if before == self.target {
            self.target = owner;
            self.face.aim(&self.slots, owner)?;
        }
        Ok(())
    }

    fn aim(&mut self, owner: Owner) -> io::Result<()> {
        self.face.aim(&self.slots, owner)?;
        let before = std::mem::replace(&mut self.target, owner);
        self.rewarm(|slot| slot.owner == before && before != owner);
        Ok(())
    }

    /// Until now these may have got new connections.
    fn rewarm(&mut self, which: impl Fn(&Slot) -> bool) {
        let now = Instant::now();
        for slot in self.slots.iter_mut().filter(|slot| which(slot)) {
            slot.aimed_at = Some(now);
            slot.cold = false;
        }
    }

    /// Starts to relay what lands in the slots of `id`, as far as that has not begun. From now on nothing is steered
    /// to them.
    pub(super) fn relay(group: &SharedGroup, id: GenId, helper: &Helper) -> io::Result<()> {
        let mut this = lock(group);
        for slot in this.slots.iter_mut().filter(|slot| slot.owner == Some(id)) {
            slot.leaving = true;
        }
        this.set_duty();
        drop(this);
        Self::start_relays(group, helper, |slot| slot.owner == Some(id))
    }

    /// Starts the relays that could not be started when they were wanted; `attends` tells whether what waits for the next
    /// generation is looked after.
    pub(super) fn relay_missing(
        group: &SharedGroup,
        attends: bool,
        helper: &Helper,
    ) -> io::Result<()> {
        let wanted = |slot: &Slot| slot.leaving || attends && slot.owner.is_none();
        Self::start_relays(group, helper, wanted)
    }

    fn start_relays(
        group: &SharedGroup,
        helper: &Helper,
        wanted: impl Fn(&Slot) -> bool,
    ) -> io::Result<()> {
        let mut this = lock(group);
        if this.carries_datagrams() {
            return Ok(());
        }
        let tend_every = this.face.tend_every();
        let place = Place {
            address: this.face.address(),
            tend_every: None,
            duty: this.duty.subscribe(),
            group: Arc::downgrade(group),
        };
        for slot in &mut this.slots {
            if wanted(slot) && slot.relay.is_none() {
                // Only a program may disturb the group.
                let place = Place {
                    tend_every: tend_every.filter(|_| slot.owner.is_some()),
                    ..place.clone()
                };
                slot.relay = Some(Relay::start(slot, place, helper)?);
            }
        }
        Ok(())
    }

    /// Wakes all relays: what they are to do has changed.
    pub(super) fn wake_relays(&self) {
        for relay in self.slots.iter().filter_map(|slot| slot.relay.as_ref()) {
            relay.wake();
        }
    }

    /// Whether it may still be connected to.
    pub(super) fn listens(&self, id: GenId) -> bool {
        !self.hidden && self.slots_of(id).any(|slot| slot.stage != Stage::Released)
    }

    pub(super) fn slots_of(&self, id: GenId) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(move |slot| slot.owner == Some(id))
    }

    pub(super) fn has(&self, fd: &OwnedFd) -> bool {
        let is = |slot: &Slot| os::is_duplicate(&*slot.socket, fd);
        self.slots.iter().any(is)
    }

    /// The path by which this generation's slot alone is reached, for unix sockets.
    pub(super) fn own_path(&self, id: GenId) -> Option<PathBuf> {
        self.slots_of(id).find_map(|slot| self.face.own_path(slot))
    }

    pub(super) fn divert(&mut self, port: u16, id: GenId) -> io::Result<()> {
        if !self.listens(id) {
            return Err(none_of(id));
        }
        self.face.divert(&self.slots, port, id)
    }

    pub(super) fn restore(&mut self, port: u16) -> io::Result<()> {
        self.face.restore(&self.slots, port)
    }

    /// Closes everything, and removes what is ours.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.face.close();
        self.slots.clear();
    }

    /// What an observer of this generation looks at.
    pub(super) fn monitored(&self, id: GenId) -> Vec<MonitoredListener> {
        if self.carries_datagrams() {
            return Vec::new();
        }
        self.slots_of(id)
            .map(|slot| self.face.monitored(slot))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    #[cfg(test)]
    pub(super) fn cold_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.cold).count()
    }
}
