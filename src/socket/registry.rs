use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::answerer::Answerer;
use super::endpoint::{Endpoint, Transport};
use super::group::{Group, SharedGroup, lock, none_of, sweep};
use super::relay::Helper;
use crate::reload::GenId;

/// All groups, and who is live in them. The thread that answers a program's calls adds groups and slots while
/// the driver switches: so each operation on more than one group holds the lock from its begin to its end.
pub(super) struct Registry {
    groups: Vec<SharedGroup>,
    live: Option<GenId>,
    /// Those that had sockets when they became live.
    served: BTreeSet<GenId>,
    /// Those that are being asked to end, until they are gone.
    leaving: BTreeSet<GenId>,
    /// The generations that are gone.
    gone: BTreeSet<GenId>,
    helper: Helper,
    /// Who answers what comes, while no generation is live and none comes.
    answerer: Option<Arc<dyn Answerer>>,
    /// Whether relays that could not be started are tried again soon.
    tries_again: AtomicBool,
    closed: bool,
    this: Weak<Mutex<Registry>>,
}

/// After which time relays are tried again that could not be started.
const AGAIN: Duration = Duration::from_secs(1);

/// A registry that several hold.
pub(super) type SharedRegistry = Arc<Mutex<Registry>>;

/// Locks it, also after a panic elsewhere: every step leaves it whole.
pub(super) fn lock_all(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn shared(groups: Vec<Group>) -> SharedRegistry {
        Arc::new_cyclic(|this| {
            Mutex::new(Self {
                groups: groups.into_iter().map(shared).collect(),
                live: None,
                served: BTreeSet::new(),
                leaving: BTreeSet::new(),
                gone: BTreeSet::new(),
                helper: Helper::new(),
                answerer: None,
                tries_again: AtomicBool::new(false),
                closed: false,
                this: this.clone(),
            })
        })
    }

    pub(super) fn groups(&self) -> &[SharedGroup] {
        &self.groups
    }

    pub(super) fn live(&self) -> Option<GenId> {
        self.live
    }

    /// Whether this generation is being asked to end: what it opens now is not for it any more.
    pub(super) fn is_leaving(&self, id: GenId) -> bool {
        self.leaving.contains(&id)
    }

    pub(super) fn is_gone(&self, id: GenId) -> bool {
        self.gone.contains(&id)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The group of an address that a program asked for.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<&SharedGroup> {
        let is = |group: &&SharedGroup| {
            let group = lock(group);
            !group.is_hidden() && group.face().endpoint() == Some(endpoint)
        };
        self.groups.iter().find(is)
    }

    pub(super) fn add(&mut self, mut group: Group) -> SharedGroup {
        if let Some(answerer) = &self.answerer {
            group.set_answerer(answerer.clone());
        }
        let group = shared(group);
        self.groups.push(group.clone());
        group
    }

    /// Every group is steered, or none is.
    pub(super) fn switch(&mut self, id: GenId) -> io::Result<()> {
        for (index, group) in self.groups.iter().enumerate() {
            let switched = lock(group).switch(id);
            if let Err(error) = switched {
                self.switch_back(&self.groups[..index]);
                return Err(error);
            }
        }
        let has_sockets = self.groups.iter().any(|group| lock(group).may_serve(id));
        // It comes back, and has closed them meanwhile, or one of them is not found any more.
        let lost = self.served.contains(&id) && !has_sockets;
        if lost || self.groups.iter().any(|group| lock(group).hides(id)) {
            self.switch_back(&self.groups);
            return Err(none_of(id));
        }
        if has_sockets {
            self.served.insert(id);
        }
        self.set_live(Some(id));
        self.tidy();
        Ok(())
    }

    /// As far as it can be undone: the error that caused it is the one to tell.
    fn switch_back(&self, groups: &[SharedGroup]) {
        for group in groups {
            let mut group = lock(group);
            let _ = match self.live {
                Some(live) => group.switch(live),
                None => group.hold(),
            };
        }
    }

    pub(super) fn hold(&mut self) -> io::Result<()> {
        self.set_live(None);
        let held = self.on_each(Group::hold);
        self.tidy();
        held.and(self.attend())
    }

    /// From now on, until [`Self::answer_no_more`], this answers what comes.
    pub(super) fn answer(&mut self, answerer: &Arc<dyn Answerer>) -> io::Result<()> {
        self.answerer = Some(answerer.clone());
        for group in &self.groups {
            lock(group).set_answerer(answerer.clone());
        }
        self.attend()
    }

    pub(super) fn answer_no_more(&mut self) -> io::Result<()> {
        self.answerer = None;
        let ended = self.on_each(Group::answer_no_more);
        self.tidy();
        ended
    }

    /// While what comes is answered, the slots in which it waits are looked after.
    fn attend(&self) -> io::Result<()> {
        match self.answerer {
            Some(_) => self.relay_each(Group::attend),
            None => Ok(()),
        }
    }

    fn set_live(&mut self, live: Option<GenId>) {
        self.live = live;
        for group in &self.groups {
            lock(group).set_live(live);
        }
    }

    pub(super) fn relay(&mut self, id: GenId) -> io::Result<()> {
        if self.live == Some(id) {
            self.set_live(None);
        }
        self.leaving.insert(id);
        self.relay_each(|group, helper| Group::relay(group, id, helper))
    }

    /// Starts relays of every group, and returns the last error. What fails is tried again until it does not: without one
    /// nobody ever takes what is in the queue.
    fn relay_each(
        &self,
        start: impl Fn(&SharedGroup, &Helper) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for group in &self.groups {
            result = start(group, &self.helper).and(result);
        }
        self.or_again(result)
    }

    fn or_again(&self, relayed: io::Result<()>) -> io::Result<()> {
        if relayed.is_err() && !self.tries_again.swap(true, Ordering::AcqRel) {
            self.tidy_in(AGAIN, true);
        }
        relayed
    }

    /// Relays of this group what lands in this generation's slots.
    pub(super) fn relay_slots(&self, group: &SharedGroup, id: GenId) -> io::Result<()> {
        self.or_again(Group::relay(group, id, &self.helper))
    }

    /// Relays of this group what is to be relayed from now on.
    pub(super) fn relay_disowned(&self, group: &SharedGroup) -> io::Result<()> {
        self.or_again(Group::relay_disowned(group, &self.helper))
    }

    pub(super) fn release(&mut self, id: GenId) -> io::Result<()> {
        if self.live == Some(id) {
            self.set_live(None);
        }
        let held = self.live.is_none();
        let released = self.on_each(|group| group.release(id, held));
        self.tidy();
        let relayed = self.relay(id);
        self.leaving.remove(&id);
        self.served.remove(&id);
        self.gone.insert(id);
        released.and(relayed).and(self.attend())
    }

    /// Of the groups that the live generation is not in, those of which it gets the connections all the same if they are
    /// out of the way.
    fn hide_covered(&self, live: GenId) {
        let serving = self.listens(live);
        let covered = |at: Endpoint| at.transport == Transport::Tcp && at.is_covered_by(&serving);
        for group in &self.groups {
            let mut group = lock(group);
            if !group.may_serve(live) && group.face().endpoint().is_some_and(covered) {
                group.hide();
            }
        }
    }

    /// Where this generation listens.
    pub(super) fn listens(&self, id: GenId) -> Vec<Endpoint> {
        let endpoint = |group: &SharedGroup| {
            let group = lock(group);
            group.face().endpoint().filter(|_| group.may_serve(id))
        };
        self.groups.iter().filter_map(endpoint).collect()
    }

    /// Closes what nobody listens on any more, or in the background what cannot be closed yet, and watches what is new.
    pub(super) fn tidy(&mut self) {
        let live = self.live;
        if let Some(live) = live {
            self.hide_covered(live);
        }
        let mut later = None;
        self.groups.retain(|group| {
            let mut group = lock(group);
            let over = group.is_over(live).unwrap_or_else(|left| {
                later = Some(later.map_or(left, |later: Duration| later.min(left)));
                false
            });
            if over {
                group.close();
            }
            !over
        });
        if let Some(left) = later {
            self.tidy_in(left, false);
        }
        for group in &self.groups {
            Group::watch(group, &self.helper.runtime);
        }
        let attends = self.answerer.is_some();
        // Whoever wanted them was told.
        let _ = self.relay_each(|group, helper| Group::relay_missing(group, attends, helper));
        // Some slots are closed only once a relay carries what may go astray.
        for group in self
            .groups
            .iter()
            .filter(|group| lock(group).wants_sweeper())
        {
            self.helper.runtime.spawn(sweep(Arc::downgrade(group)));
        }
    }

    /// `again`: because of relays that could not be started. The others do not answer for those.
    fn tidy_in(&self, time: Duration, again: bool) {
        let this = self.this.clone();
        self.helper.runtime.spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(registry) = this.upgrade() {
                let mut registry = lock_all(&registry);
                if again {
                    registry.tries_again.store(false, Ordering::Release);
                }
                registry.tidy();
            }
        });
    }

    /// Does it with every group, and returns the last error.
    pub(super) fn on_each(
        &self,
        mut act: impl FnMut(&mut Group) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for group in &self.groups {
            result = act(&mut lock(group)).and(result);
        }
        result
    }

    /// Lets so many relays fail to start.
    #[cfg(test)]
    pub(super) fn refuse_relays(&self, count: usize) {
        self.helper.refused.store(count, Ordering::SeqCst);
    }

    /// Now, and not when the last relay or sweeper that looks after a group lets go of it: hotrun may end before.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.groups.iter().for_each(|group| lock(group).close());
        self.groups.clear();
    }
}

fn shared(group: Group) -> SharedGroup {
    Arc::new(Mutex::new(group))
}
