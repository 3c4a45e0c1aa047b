use std::time::Duration;

use super::drain::{Drain, Progress};
use crate::reload::{ArtifactId, GenId, Phase, Policy, Time};

/// The state of a started generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GenState {
    /// The program is not ready yet, and must be ready by `until`. `moved`: whether it lacks nothing but addresses that
    /// the live generation listens on.
    Starting {
        since: Time,
        until: Time,
        moved: bool,
    },
    /// The program became ready at the time `at`, and the switch to it is in progress.
    Ready { at: Time },
    /// The program is ready, and has a share of the new connections or is about to get one.
    Sharing(Share),
    /// New connections go to the generation.
    Live,
    /// The generation is finishing its connections, is being stopped, or has ended.
    Draining(Drain),
}

/// A generation that was started and still has processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Generation {
    pub(super) id: GenId,
    /// The artifact that the generation was started from.
    pub(super) artifact: ArtifactId,
    /// Whether the user has undone the generation that this one replaces, which therefore is not kept.
    pub(super) undoes: bool,
    /// Whether the generation has been live before.
    pub(super) was_live: bool,
    /// Whether hotrun rolled back to this generation's artifact, or the artifact is older than the last successful
    /// build.
    pub(super) rolled_back: bool,
    pub(super) state: GenState,
    /// Whether the generation gets only a share at first, if another one is live.
    pub(super) may_share: bool,
    /// Whether the generation has had a share, so that it may have connections although it was never live.
    pub(super) shared: bool,
    /// Whether the generation is known to listen on an address that others can share.
    pub(super) listens: bool,
    /// Whether the program is known to be a server.
    pub(super) is_server: bool,
    /// Whether the files that the program writes are known.
    pub(super) reports_writes: bool,
    pub(super) own_paths: OwnPaths,
    pub(super) watchdog: Watchdog,
    /// Whether the program, which is live, has failed its liveness check.
    pub(super) sick: bool,
    /// The reload signals that the program gets once it is live, or live again.
    pub(super) owed: SignalSet,
}

impl Generation {
    pub(super) fn start(id: GenId, artifact: ArtifactId, now: Time, policy: &Policy) -> Self {
        Self {
            id,
            artifact,
            undoes: false,
            was_live: false,
            rolled_back: false,
            state: GenState::Starting {
                since: now,
                until: now.plus(policy.ready_timeout),
                moved: false,
            },
            may_share: false,
            shared: false,
            listens: false,
            is_server: policy.passes_sockets,
            reports_writes: false,
            own_paths: OwnPaths::None,
            watchdog: Watchdog {
                period: policy.watchdog.unwrap_or_default(),
                ..Watchdog::default()
            },
            sick: false,
            owed: SignalSet::default(),
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            GenState::Starting { .. } => Phase::Starting,
            GenState::Ready { .. } => Phase::Ready,
            GenState::Sharing(_) => Phase::Sharing,
            GenState::Live => Phase::Live,
            GenState::Draining(Drain {
                progress: Progress::Kept,
                ..
            }) => Phase::Kept,
            GenState::Draining(_) => Phase::Draining,
        }
    }

    /// Whether the generation was started and has not gone live yet.
    pub(super) fn is_candidate(&self) -> bool {
        matches!(
            self.phase(),
            Phase::Starting | Phase::Ready | Phase::Sharing
        )
    }

    /// Whether the generation is draining, or is kept until it drains.
    pub(super) const fn is_draining(&self) -> bool {
        matches!(self.state, GenState::Draining(_))
    }

    /// Whether the generation stays as it is for a while, because it may go live again.
    pub(super) fn is_kept(&self) -> bool {
        self.phase() == Phase::Kept
    }

    pub(super) const fn drain_mut(&mut self) -> Option<&mut Drain> {
        match &mut self.state {
            GenState::Draining(drain) => Some(drain),
            GenState::Starting { .. }
            | GenState::Ready { .. }
            | GenState::Sharing(_)
            | GenState::Live => None,
        }
    }

    /// When the machine must act on the generation even if no event arrives. The watchdog of a draining generation does
    /// not count, because the drain has its own time limit. `paused`: whether only the user changes a share.
    pub(super) fn deadline(&self, paused: bool) -> Option<Time> {
        match self.state {
            GenState::Starting { until, .. } => Some(self.watchdog.due.unwrap_or(until).min(until)),
            GenState::Ready { .. } | GenState::Live => self.watchdog.due,
            GenState::Sharing(_) if self.watchdog.fired => self.watchdog.due,
            GenState::Sharing(share) => {
                let dues = [self.watchdog.due, share.deadline(paused)];
                dues.into_iter().flatten().min()
            }
            GenState::Draining(drain) => drain.deadline(),
        }
    }
}

/// The share of a generation, and what happens to it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    /// When the generation became ready.
    pub(super) ready_at: Time,
    /// Zero before the first step.
    pub(super) percent: u8,
    /// When the next step is due.
    pub(super) step_at: Option<Time>,
    pub(super) check: ShareCheck,
}

/// The state of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ShareCheck {
    /// There is none.
    Off,
    /// It runs at this time, or when the next step is due.
    Due(Time),
    Running,
}

impl Share {
    /// When the machine must act on the share even if no event arrives. `paused`: whether only the user takes steps.
    pub(super) fn deadline(&self, paused: bool) -> Option<Time> {
        let step_at = self.step_at.filter(|_| !paused);
        match self.check {
            ShareCheck::Off => step_at,
            ShareCheck::Due(at) => Some(step_at.map_or(at, |step_at| step_at.min(at))),
            ShareCheck::Running => None,
        }
    }
}

/// A generation's watchdog (`sd_notify(3)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Watchdog {
    /// How often the program must ping. Zero: never.
    pub(super) period: Duration,
    /// Whether the program was aborted because it hung.
    pub(super) fired: bool,
    /// When the program will be aborted or, if it was already aborted, killed. `None` while the watchdog is not running.
    pub(super) due: Option<Time>,
}

impl Watchdog {
    /// Gives the program one period, starting now, for its next ping.
    pub(super) fn restart(&mut self, now: Time) {
        self.due = (!self.period.is_zero()).then(|| now.plus(self.period));
    }
}

/// The paths of the unix sockets that the program has bound itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum OwnPaths {
    None,
    /// Not all of them are kept yet.
    Found,
    /// They can be restored.
    Kept,
}

/// A set of signals, one bit for each number from 1 to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SignalSet(u64);

impl SignalSet {
    pub(super) fn add(&mut self, signal: i32) {
        self.0 |= 1 << (signal - 1);
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.0 & (1 << (signal - 1)) != 0)
    }
}
