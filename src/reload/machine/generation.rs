use super::drain::Drain;
use super::signals::Signals;
use super::watchdog::Watchdog;
use crate::reload::{ArtifactId, GenId, Phase, Policy, Time};

/// Where a started generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// It is not ready yet.
    Starting {
        since: Time,
        /// By when it must be ready.
        until: Time,
    },
    /// It became ready at this moment; the switch to it is under way.
    Ready { at: Time },
    /// New connections go to it.
    Live,
    /// It finishes, or has ended.
    Draining(Drain),
}

/// A started generation, until none of its processes is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Generation {
    pub(super) id: GenId,
    /// What it was started from.
    pub(super) artifact: ArtifactId,
    /// Whether that was not what the last good build had made.
    pub(super) rolled_back: bool,
    pub(super) state: State,
    /// Whether it is known to listen on an address that others can share.
    pub(super) listens: bool,
    /// Whether it has shown in another way that it is a server.
    pub(super) serves: bool,
    pub(super) watchdog: Watchdog,
    /// Signals for configuration changes that it gets once it is live (again).
    pub(super) owed: Signals,
}

impl Generation {
    pub(super) fn start(id: GenId, artifact: ArtifactId, now: Time, policy: &Policy) -> Self {
        Self {
            id,
            artifact,
            rolled_back: false,
            state: State::Starting {
                since: now,
                until: now.plus(policy.ready_timeout),
            },
            listens: false,
            serves: false,
            watchdog: Watchdog::new(policy.watchdog),
            owed: Signals::NONE,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::Starting { .. } => Phase::Starting,
            State::Ready { .. } => Phase::Ready,
            State::Live => Phase::Live,
            State::Draining(_) => Phase::Draining,
        }
    }

    /// Whether it was started and is not live yet.
    pub(super) const fn is_candidate(&self) -> bool {
        match self.state {
            State::Starting { .. } | State::Ready { .. } => true,
            State::Live | State::Draining(_) => false,
        }
    }

    pub(super) const fn drain(&self) -> Option<&Drain> {
        match &self.state {
            State::Draining(drain) => Some(drain),
            State::Starting { .. } | State::Ready { .. } | State::Live => None,
        }
    }

    pub(super) const fn drain_mut(&mut self) -> Option<&mut Drain> {
        match &mut self.state {
            State::Draining(drain) => Some(drain),
            State::Starting { .. } | State::Ready { .. } | State::Live => None,
        }
    }

    pub(super) fn is_server(&self, policy: &Policy) -> bool {
        policy.passes_sockets || self.listens || self.serves
    }

    /// When time alone changes something about it. The end of a draining generation is bounded, so its watchdog no
    /// longer counts.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Time> {
        let watchdog = self.watchdog.deadline();
        match self.state {
            State::Starting { until, .. } => Some(watchdog.map_or(until, |due| due.min(until))),
            State::Ready { .. } | State::Live => watchdog,
            State::Draining(drain) => drain.deadline(policy),
        }
    }

    /// For the tests: the same for all that it will do. `before`: whether it may be live again.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename, before: bool) -> Self {
        let leaves = self.drain().is_some();
        let artifact_matters = !leaves || before;
        Self {
            id: rename.id(self.id),
            artifact: match artifact_matters {
                true => rename.artifact(self.artifact),
                false => ArtifactId::FIRST,
            },
            rolled_back: self.rolled_back && self.is_candidate(),
            state: match self.state {
                State::Starting { until, .. } => State::Starting {
                    since: Time::START,
                    until: rename.time(until),
                },
                State::Ready { .. } => State::Ready { at: Time::START },
                State::Live => State::Live,
                State::Draining(drain) => State::Draining(drain.canonical(rename)),
            },
            watchdog: match leaves {
                true => Watchdog::new(None),
                false => self.watchdog.canonical(rename),
            },
            owed: match self.is_candidate() || before {
                true => self.owed,
                false => Signals::NONE,
            },
            ..*self
        }
    }
}
