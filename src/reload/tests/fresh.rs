//! Checks that new connections wait for a newer generation exactly when they should (`--fresh`).

use super::ledger::{Ledger, Rule};
use super::process::{Gen, Role};
use super::world::World;
use crate::reload::{Event, Fresh, Machine, Time};

/// What concerns the new connections of a world with a live generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct NewConnections {
    /// Whether they wait.
    pub(super) wait: bool,
    /// Until when they may wait. Set while a newer generation is being built or started, or may be about to be.
    pub(super) until: Option<Time>,
    /// Whether files were touched, and it is not known yet whether anything has changed.
    pub(super) seen: bool,
    /// Whether the last event led to a failure.
    pub(super) failed: bool,
}

impl World {
    /// The event about touched files that may come next.
    pub(super) fn seen_or_settled(&self) -> Option<Event> {
        match self.new.seen {
            true => Some(Event::ChangesSettled),
            false => (self.policy.fresh != Fresh::Off).then_some(Event::ChangeSeen),
        }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.policy.fresh == Fresh::Strict
    }

    pub(super) fn hold_new(&mut self, holds: bool, ledger: &mut Ledger) {
        let changes = std::mem::replace(&mut self.new.wait, holds) != holds;
        ledger.check(Rule::Protocol, changes, || {
            format!("holds new connections: {holds}, again")
        });
    }

    pub(super) fn respond(&mut self, ledger: &mut Ledger) {
        let held = self.is_strict() && self.new.wait;
        let comes = |known: &Gen| match known.role {
            Role::Candidate => true,
            Role::Live => !held,
            Role::Draining => false,
        };
        let comes = !self.builds.is_empty() || self.gens.iter().any(comes);
        // The live generation may end after another one has failed.
        let first = !self.responding || self.is_strict();
        let fine = !comes && self.quitting.is_none() && first;
        ledger.check(Rule::Steering, fine, || {
            "clients get an error response although a generation is live, starting or being built".into()
        });
        self.responding = true;
    }

    pub(super) fn new_connections_wait(&mut self, machine: &Machine, ledger: &mut Ledger) {
        let candidate = self.gens.iter().any(|known| known.role == Role::Candidate);
        let work = candidate || !self.builds.is_empty() || machine.has_queued();
        let may_wait = self.live().is_some() && self.quitting.is_none();
        let failed = std::mem::take(&mut self.new.failed) && self.new.until.is_some();
        let told = !self.is_strict() || !may_wait || work || !failed || self.responding;
        ledger.check(Rule::NewWait, told, || {
            "the build or start that new connections waited for has failed, but they get no error".into()
        });
        let may_come = self.new.seen && !self.paused && !self.responding;
        let reason = may_wait && (work || may_come);
        let latest = self.now.plus(self.policy.ready_timeout);
        self.new.until = reason.then(|| self.new.until.unwrap_or(latest));
        let until = self.new.until.filter(|until| self.now < *until);
        let waits = self.policy.fresh != Fresh::Off && until.is_some();
        let should = waits || self.is_strict() && may_wait && self.responding;
        ledger.check(Rule::NewWait, self.new.wait == should, || {
            format!("new connections should wait: {should}; {:?}", self.new)
        });
        let wakes = !waits || machine.deadline() <= until && machine.deadline().is_some();
        ledger.check(Rule::NewWait, wakes, || {
            format!("new connections may wait until {until:?}, but no tick comes then")
        });
    }
}
