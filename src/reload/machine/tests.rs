//! Test support: reduces a machine to the state that affects its future.

use std::time::Duration;

use super::Machine;
use super::advance::LONGEST_WAIT;
use super::artifacts::Artifacts;
use super::drain::{Drain, Progress};
use super::generation::{GenState, Generation, OwnPaths, Share, ShareCheck, SignalSet, Watchdog};
use super::state::{Building, Crash, Pending, Queued, Quit, Recovery, Room, Waiting};
use crate::reload::{ArtifactId, Cause, GenFailure, GenId, Time};

/// Shifts times so that now is always the same time, and numbers generations and artifacts from 1 without gaps.
pub(in crate::reload) struct Rename {
    now: Time,
    ids: Vec<GenId>,
    /// Empty if it does not matter which artifact is which.
    artifacts: Vec<ArtifactId>,
    /// Whether a change may have to wait for a generation that is starting.
    changes_wait: bool,
}

impl Rename {
    /// The time that stands for now.
    const NOW: Duration = Duration::from_secs(3600);

    pub(in crate::reload) fn time(&self, time: Time) -> Time {
        let moved = Self::NOW.saturating_add(time.0);
        Time(moved.saturating_sub(self.now.0))
    }

    /// Whether changes may still have to wait for a generation that was started at `since`.
    pub(in crate::reload) fn may_wait_for(&self, since: Time) -> bool {
        self.changes_wait && since.plus(LONGEST_WAIT) > self.now
    }

    pub(in crate::reload) fn is_artifact(&self, id: ArtifactId) -> bool {
        self.artifacts.contains(&id)
    }

    pub(in crate::reload) fn artifact(&self, id: ArtifactId) -> ArtifactId {
        let rank = self.artifacts.iter().filter(|known| **known < id).count();
        ArtifactId(u32::try_from(rank + 1).expect("the artifact's number fits into 32 bits"))
    }

    pub(in crate::reload) fn id(&self, id: GenId) -> GenId {
        let rank = self.ids.iter().filter(|known| **known < id).count();
        GenId(u32::try_from(rank + 1).expect("the generation's number fits into 32 bits"))
    }

    fn drain(&self, drain: Drain) -> Drain {
        let waits = match drain.progress {
            Progress::Kept | Progress::Quiescing | Progress::AwaitingIdle | Progress::Quitting => {
                true
            }
            Progress::Stopped | Progress::Killed => false,
        };
        let limited = !matches!(drain.progress, Progress::Kept | Progress::Killed);
        let keep = |kept: bool, time| if kept { self.time(time) } else { Time::START };
        Drain {
            since: Time::START,
            wait_until: keep(waits && drain.wait_until < drain.until, drain.wait_until),
            until: keep(limited, drain.until),
            ..drain
        }
    }

    /// `before`: whether the generation is kept or is the live one's predecessor, and may therefore go live again.
    fn generation(&self, known: &Generation, before: bool) -> Generation {
        Generation {
            id: self.id(known.id),
            artifact: match !known.is_draining() || before {
                true => self.artifact(known.artifact),
                false => ArtifactId::FIRST,
            },
            undoes: known.undoes && known.is_candidate(),
            was_live: false,
            rolled_back: known.rolled_back && known.is_candidate(),
            state: match known.state {
                GenState::Starting {
                    since,
                    until,
                    moved,
                } => GenState::Starting {
                    moved,
                    since: match self.may_wait_for(since) {
                        true => self.time(since),
                        false => Time::START,
                    },
                    until: self.time(until),
                },
                GenState::Ready { .. } => GenState::Ready { at: Time::START },
                GenState::Sharing(share) => GenState::Sharing(Share {
                    ready_at: Time::START,
                    step_at: share.step_at.map(|at| self.time(at)),
                    check: match share.check {
                        ShareCheck::Due(at) => ShareCheck::Due(self.time(at)),
                        ShareCheck::Off | ShareCheck::Running => share.check,
                    },
                    ..share
                }),
                GenState::Live => GenState::Live,
                GenState::Draining(drain) => GenState::Draining(self.drain(drain)),
            },
            watchdog: match known.is_draining() {
                true => Watchdog::default(),
                false => Watchdog {
                    due: known.watchdog.due.map(|due| self.time(due)),
                    ..known.watchdog
                },
            },
            sick: known.sick && !known.is_draining(),
            own_paths: match known.is_draining() && !before {
                true => OwnPaths::None,
                false => known.own_paths,
            },
            owed: match known.is_candidate() || before {
                true => known.owed,
                false => SignalSet::default(),
            },
            ..*known
        }
    }

    /// Which artifact is which matters only for undo and rolling back.
    fn artifacts(&self, artifacts: &Artifacts) -> Artifacts {
        let known = |artifact: Option<ArtifactId>| artifact.map(|known| self.artifact(known));
        if self.artifacts.is_empty() {
            return Artifacts {
                newest: known(artifacts.newest),
                ..Artifacts::default()
            };
        }
        let kept = artifacts
            .kept
            .iter()
            .filter(|kept| self.is_artifact(**kept));
        let mut kept: Vec<_> = kept.map(|kept| self.artifact(*kept)).collect();
        kept.sort_unstable();
        Artifacts {
            newest: known(artifacts.newest),
            live: known(artifacts.live),
            previous: known(artifacts.previous),
            rolled_back_to: known(artifacts.rolled_back_to),
            kept,
        }
    }

    fn recovery(&self, recovery: &Recovery, is_live: bool) -> Recovery {
        let crash = |crash: Crash| Crash {
            // Which generation crashed and how matters only for reports.
            id: GenId::FIRST,
            failure: GenFailure::Vanished,
            artifact: self.artifact(crash.artifact),
            restart_at: crash.restart_at.map(|at| self.time(at)),
            ..crash
        };
        let ahead = recovery.blame_until.filter(|at| is_live && *at > self.now);
        let replaced = recovery.replaced.filter(|known| self.is_artifact(*known));
        let before = recovery.before.filter(|id| self.ids.contains(id));
        Recovery {
            blame_until: ahead.map(|at| self.time(at)),
            // An artifact that is not needed is never started again, so it does not matter.
            replaced: replaced.map(|known| self.artifact(known)),
            before: before.map(|id| self.id(id)),
            crash: recovery.crash.map(crash),
            restoring: recovery.restoring.map(|id| self.id(id)),
            ..*recovery
        }
    }
}

impl Machine {
    pub(in crate::reload) fn rename(&self, now: Time) -> Rename {
        let building = self.building.map(|building| building.id);
        let queued = self.queued.map(|queued| queued.id);
        let started = self.generations.iter().map(|known| known.id);
        let mut artifacts = Vec::new();
        if !self.policy.rollback_within.is_zero() && self.policy.builds {
            artifacts.extend(self.needed());
            artifacts.sort_unstable();
            artifacts.dedup();
        }
        Rename {
            now,
            ids: started.chain(building).chain(queued).collect(),
            artifacts,
            changes_wait: self.candidate().is_some_and(|new| new.reports_writes)
                && self.generations.iter().any(|known| !known.reports_writes),
        }
    }

    /// Whether a generation is built and is waiting to be started.
    pub(in crate::reload) fn has_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// A machine that will behave in the same way. Past times are dropped, because they affect only reports. So are
    /// causes, except that a change may have to wait, and a repair gets no share first.
    pub(in crate::reload) fn canonical(&self, rename: &Rename) -> Self {
        let shares = !self.policy.share.is_empty();
        let cause = |cause: Cause| match (cause == Cause::Change, shares && !cause.shares()) {
            (true, _) => Cause::Change,
            (false, true) => Cause::Crash,
            (false, false) => Cause::Begin,
        };
        let before = |known: &Generation| known.is_kept() || self.recovery.before == Some(known.id);
        let generations = self.generations.iter();
        let generations = generations.map(|known| rename.generation(known, before(known)));
        Self {
            upcoming: rename.id(self.upcoming),
            pending: self.pending.map(|pending| Pending {
                cause: cause(pending.cause),
                ..pending
            }),
            building: self.building.map(|building| Building {
                id: rename.id(building.id),
                since: Time::START,
                cause: cause(building.cause),
                ..building
            }),
            queued: self.queued.map(|queued| Queued {
                id: rename.id(queued.id),
                cause: cause(queued.cause),
                artifact: rename.artifact(queued.artifact),
                room: match queued.room {
                    Room::AfterEndOf(id) => Room::AfterEndOf(rename.id(id)),
                    Room::Unknown | Room::Measuring | Room::Known => queued.room,
                },
            }),
            generations: generations.collect(),
            artifacts: rename.artifacts(&self.artifacts),
            recovery: rename.recovery(&self.recovery, self.live().is_some()),
            waiting: match self.waiting {
                Waiting::Until(until) => Waiting::Until(rename.time(until)),
                Waiting::No | Waiting::TooLong => self.waiting,
            },
            restore_at: self.restore_at.map(|at| rename.time(at)),
            quit: self.quit.map(|quit| Quit {
                until: rename.time(quit.until),
                ..quit
            }),
            ..self.clone()
        }
    }
}
