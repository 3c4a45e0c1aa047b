use std::time::Duration;

use super::drain::Drain;
use crate::reload::{ArtifactId, GenId, Phase, Policy, Time};

/// Where a started generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// It is not ready yet, and must be at `until`.
    Starting { since: Time, until: Time },
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
    /// Whether hotrun rolled back to it: it is older than the last good build.
    pub(super) rolled_back: bool,
    pub(super) state: State,
    /// Whether it is known to listen on an address that others can share.
    pub(super) listens: bool,
    /// Whether it is known to be a server.
    pub(super) is_server: bool,
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
            is_server: policy.passes_sockets,
            watchdog: Watchdog {
                period: policy.watchdog.unwrap_or_default(),
                ..Watchdog::default()
            },
            owed: Signals::default(),
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
    pub(super) fn is_candidate(&self) -> bool {
        matches!(self.phase(), Phase::Starting | Phase::Ready)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }

    /// Whether it drains and could be live again.
    pub(super) fn may_stay(&self) -> bool {
        matches!(self.state, State::Draining(drain) if drain.may_stay()) && !self.watchdog.fired
    }

    pub(super) const fn drain_mut(&mut self) -> Option<&mut Drain> {
        match &mut self.state {
            State::Draining(drain) => Some(drain),
            State::Starting { .. } | State::Ready { .. } | State::Live => None,
        }
    }

    /// When time alone changes something about it. The end of a draining generation is bounded, so its watchdog no
    /// longer counts.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Time> {
        match self.state {
            State::Starting { until, .. } => Some(self.watchdog.due.unwrap_or(until).min(until)),
            State::Ready { .. } | State::Live => self.watchdog.due,
            State::Draining(drain) => drain.deadline(policy),
        }
    }
}

/// The watchdog of a generation (`sd_notify(3)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Watchdog {
    /// How often a ping is due. Zero: never.
    pub(super) period: Duration,
    /// Whether the program was aborted because it hangs.
    pub(super) fired: bool,
    /// When the program is aborted, or, if it was, when it is killed. `None` before it is ready.
    pub(super) due: Option<Time>,
}

impl Watchdog {
    /// The next ping is due one period from now.
    pub(super) fn restart(&mut self, now: Time) {
        self.due = (!self.period.is_zero()).then(|| now.plus(self.period));
    }
}

/// A set of signals, one bit for each number from 1 to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Signals(u64);

impl Signals {
    pub(super) fn add(&mut self, signal: i32) {
        self.0 |= 1 << (signal - 1);
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.0 & (1 << (signal - 1)) != 0)
    }
}
