//! A started generation as a driver sees it, from its start until it is released.

use super::next_events::{exited, gone};
use super::shares::Sharing;
use crate::reload::machine::tests::Rename;
use crate::reload::{ArtifactId, Ended, Event, GenEvent, GenId, Policy, Time};

/// The role of a started generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Candidate,
    Live,
    Draining,
}

/// The processes of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TreeState {
    /// The program is being started, which may still fail.
    Unknown,
    Running,
    /// The first process has ended, but others are running.
    Orphans,
    /// All processes have ended, but that has not been reported yet.
    Ended,
    /// All processes have ended, and that has been reported.
    Gone,
}

/// The progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DrainStage {
    /// There is no drain to follow: the generation was never live, is live, or has its connections forwarded.
    No,
    OwesKeep,
    /// The generation stays as it is for a while.
    Kept,
    OwesQuiescent,
    Quiescing,
    OwesIdle,
    AwaitingIdle,
    MayStop,
}

/// The state of a generation's watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WatchdogState {
    /// The program need not ping.
    Off,
    /// The program must ping before this time.
    Until(Time),
    /// The program must be aborted.
    Due,
    /// The program was aborted, and must be killed at this time.
    Aborted(Time),
    /// The program was killed.
    Killed,
}

/// A generation that was started and has not been released yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gen {
    pub(super) id: GenId,
    /// The artifact that the generation was started from.
    pub(super) artifact: ArtifactId,
    pub(super) role: Role,
    pub(super) tree: TreeState,
    pub(super) drain: DrainStage,
    /// When the generation was started, or began to drain.
    pub(super) since: Time,
    /// The time by which the generation must be ready or, once it drains, be killed.
    pub(super) until: Time,
    /// The latest time for the stop signal, if the program handles the signal and the machine is waiting for it to
    /// become idle.
    pub(super) signal_by: Option<Time>,
    /// Whether the program listens on paths that it has bound itself, and whether they are kept.
    pub(super) own_paths: bool,
    pub(super) kept: bool,
    pub(super) watch: WatchdogState,
    /// Whether the live program has failed its liveness check.
    pub(super) sick: bool,
    pub(super) ready: bool,
    pub(super) moved: bool,
    pub(super) share: Sharing,
    /// Whether the generation is known to listen on an address that others can share.
    pub(super) listens: bool,
    /// Whether something else has shown that the program is a server.
    pub(super) serves: bool,
    /// Whether the generation must be killed: its first process has ended but others are left, or the user asked for
    /// it.
    pub(super) to_be_killed: bool,
    pub(super) forwarded: bool,
    /// Whether a newer generation replaced this one while none was live, so that this one may have connections.
    pub(super) superseded: bool,
    pub(super) stopped: bool,
    pub(super) killed: bool,
    /// Whether the generation is owed the signal for a configuration change.
    pub(super) owed: bool,
    /// Whether the signal was requested, and its result has not been reported yet.
    pub(super) signalling: bool,
    /// Whether changes that the program makes do not count.
    pub(super) reports_writes: bool,
    /// Whether a restart has become necessary since the start for another reason than a change.
    pub(super) asked: bool,
    /// Whether no change that requires a build came after the generation's build began.
    pub(super) newest: bool,
    /// Whether no change at all came after the start.
    pub(super) answers_all: bool,
    /// Whether the generation was started from an earlier artifact.
    pub(super) again: bool,
    /// Whether the user has undone the generation that this one replaces.
    pub(super) undoes: bool,
}

impl Gen {
    pub(super) const fn starting(
        (id, artifact): (GenId, ArtifactId),
        (now, until): (Time, Time),
        newest: bool,
        share: Sharing,
    ) -> Self {
        Self {
            id,
            artifact,
            role: Role::Candidate,
            tree: TreeState::Unknown,
            drain: DrainStage::No,
            since: now,
            until,
            signal_by: None,
            own_paths: false,
            kept: false,
            watch: WatchdogState::Off,
            sick: false,
            ready: false,
            moved: false,
            share,
            listens: false,
            serves: false,
            to_be_killed: false,
            forwarded: false,
            superseded: false,
            stopped: false,
            killed: false,
            owed: false,
            signalling: false,
            reports_writes: false,
            asked: false,
            newest,
            answers_all: true,
            again: false,
            undoes: false,
        }
    }

    /// Starts draining the generation, which gets no more new connections.
    pub(super) fn retire(&mut self, now: Time, policy: &Policy, drain: DrainStage) {
        let until = now.plus(policy.stop_delay_max).plus(policy.stop_timeout);
        self.drain_until(now, until);
        self.drain = drain;
    }

    pub(super) const fn drain_until(&mut self, now: Time, until: Time) {
        self.role = Role::Draining;
        self.since = now;
        self.until = until;
    }

    /// Grants more time, which is possible only while the program is starting or draining.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        let bounded = match self.role {
            Role::Candidate => !self.ready,
            Role::Live => false,
            Role::Draining => !self.killed && self.drain != DrainStage::Kept,
        };
        let later = bounded && until > self.until;
        if later {
            self.until = until;
        }
        later
    }

    /// Whether the generation is draining and its connections are not forwarded yet.
    pub(super) fn is_unforwarded(&self) -> bool {
        self.role == Role::Draining && !self.forwarded
    }

    /// Whether the generation's connections finish before it is asked to stop.
    pub(super) fn finishes_first(&self) -> bool {
        let superseded = self.superseded && !self.stopped && !self.killed;
        self.is_unforwarded() || self.role == Role::Draining && superseded
    }

    /// Collects the events about this generation that may come next.
    pub(super) fn reports(&self, may_listen: bool, events: &mut Vec<Event>) {
        let id = self.id;
        let of = |event| Event::Generation(id, event);
        let runs = matches!(self.tree, TreeState::Unknown | TreeState::Running);
        if self.tree == TreeState::Unknown {
            events.push(Event::Generation(id, GenEvent::StartFailed));
        }
        if runs {
            let ends = [(0, true), (0, false), (1, true), (1, false)];
            events.extend(ends.map(|(code, survivors)| exited(id, code, survivors)));
        }
        events.push(gone(id));
        if self.role == Role::Candidate && !self.ready && !self.is_aborted() {
            events.extend([GenEvent::Ready, GenEvent::WarmUpFailed].map(of));
        }
        if may_listen && runs && !self.listens && self.role != Role::Draining {
            events.push(Event::Generation(id, GenEvent::Listening));
        }
        self.share_reports(events);
        if self.signalling {
            let sent =
                [true, false].map(|handled| GenEvent::ReloadSignalSent { signal: 1, handled });
            events.extend(sent.map(of));
        }
        if self.finishes_first() {
            self.answers(events);
        }
    }

    fn answers(&self, events: &mut Vec<Event>) {
        let id = self.id;
        match self.drain {
            DrainStage::Quiescing => events.push(Event::Generation(id, GenEvent::Quiescent)),
            DrainStage::AwaitingIdle => {
                events.push(Event::Generation(id, GenEvent::Idle));
                events.push(Event::Generation(id, GenEvent::HandlesStopSignal));
            }
            DrainStage::No
            | DrainStage::OwesKeep
            | DrainStage::Kept
            | DrainStage::OwesQuiescent
            | DrainStage::OwesIdle
            | DrainStage::MayStop => {}
        }
    }

    /// Records an event about this generation. `until`: the time limit for the drain that begins if the generation
    /// ends.
    pub(super) fn happen(&mut self, event: Event, now: Time, until: Time) {
        match event {
            Event::Generation(_, GenEvent::ReportsWrites) => {
                self.reports_writes = true;
                return;
            }
            Event::Generation(_, GenEvent::Ready) => self.ready = true,
            Event::Generation(_, GenEvent::Listening) => self.listens = true,
            Event::Generation(_, GenEvent::IsServer) => self.serves = true,
            Event::Generation(_, GenEvent::ListensOnPath) => {
                (self.own_paths, self.kept) = (true, false);
            }
            Event::Generation(_, GenEvent::Quiescent) => self.drain = DrainStage::OwesIdle,
            Event::Generation(_, GenEvent::Idle) => self.drain = DrainStage::MayStop,
            Event::Generation(_, GenEvent::Exited { ended, survivors }) => {
                return self.exited(ended, survivors, now, until);
            }
            Event::Generation(_, GenEvent::StartFailed | GenEvent::Gone { .. }) => {
                self.tree = TreeState::Gone;
                self.role = Role::Draining;
                return;
            }
            Event::Begin
            | Event::ChangeSeen
            | Event::ChangesSettled
            | Event::ConfigChanged { .. }
            | Event::Generation(
                _,
                GenEvent::ReloadSignalSent { .. }
                | GenEvent::BuildEnded(_)
                | GenEvent::WarmUpFailed
                | GenEvent::Switched
                | GenEvent::SwitchFailed
                | GenEvent::ShareFailed
                | GenEvent::ShareChecked { .. }
                | GenEvent::LacksAddresses { .. }
                | GenEvent::HandlesStopSignal
                | GenEvent::ExtendTimeout { .. }
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_)
                | GenEvent::Liveness { .. },
            )
            | Event::Changed(_)
            | Event::Requested(_)
            | Event::MemoryMeasured { .. }
            | Event::Tick => {}
        }
        if self.tree == TreeState::Unknown {
            self.tree = TreeState::Running;
        }
    }

    fn exited(&mut self, ended: Ended, survivors: bool, now: Time, until: Time) {
        self.tree = match survivors {
            true => TreeState::Orphans,
            false => TreeState::Ended,
        };
        let lives_on = survivors && ended.success();
        if self.role == Role::Draining {
            if self.is_kept() {
                self.drain_until(now, until);
            }
            self.drain = DrainStage::MayStop;
        } else if !lives_on {
            self.drain_until(now, until);
            self.to_be_killed = survivors;
        }
    }

    /// The next event from this generation if it cooperates.
    pub(super) fn cooperate(&self) -> Option<Event> {
        let id = self.id;
        if self.signalling {
            let sent = GenEvent::ReloadSignalSent {
                signal: 1,
                handled: true,
            };
            return Some(Event::Generation(id, sent));
        }
        if self.is_aborted() {
            return Some(exited(id, 1, false));
        }
        if self.role == Role::Candidate {
            let ready = (!self.ready).then_some(Event::Generation(id, GenEvent::Ready));
            return ready.or(self.share_cooperates());
        }
        if self.stopped || self.killed || self.tree == TreeState::Ended {
            return Some(match self.tree {
                TreeState::Unknown | TreeState::Running => exited(id, 1, false),
                TreeState::Orphans | TreeState::Ended | TreeState::Gone => gone(id),
            });
        }
        let mut events = Vec::new();
        if self.finishes_first() {
            self.answers(&mut events);
        }
        events.first().copied()
    }

    /// Drops everything that does not affect what may happen to this generation.
    pub(super) fn canonical(&mut self, rename: &Rename) {
        self.id = rename.id(self.id);
        self.share = self.share.canonical(self, rename);
        // A generation whose connections are forwarded never goes live again.
        let known = rename.is_artifact(self.artifact) && !self.forwarded;
        self.artifact = match known {
            true => rename.artifact(self.artifact),
            false => ArtifactId(0),
        };
        self.again &= !self.forwarded;
        let draining = self.role == Role::Draining;
        let waits = self.drain == DrainStage::Quiescing;
        let keep = |kept: bool, time| if kept { rename.time(time) } else { Time::START };
        self.superseded &= self.finishes_first();
        if self.forwarded && !self.superseded {
            self.drain = DrainStage::No;
        }
        let waits_for_idle = self.drain == DrainStage::AwaitingIdle && self.finishes_first();
        self.signal_by = self.signal_by.filter(|_| waits_for_idle);
        self.signal_by = self.signal_by.map(|time| rename.time(time));
        let starts = self.role == Role::Candidate && !self.ready;
        let matters = waits && !self.forwarded || starts && rename.may_wait_for(self.since);
        self.since = keep(matters, self.since);
        self.moved &= starts;
        self.undoes &= self.role == Role::Candidate;
        self.asked &= starts;
        self.until = keep(starts || draining && !self.killed, self.until);
        self.watch = match self.watch {
            _ if draining => WatchdogState::Off,
            WatchdogState::Until(until) => WatchdogState::Until(rename.time(until)),
            WatchdogState::Aborted(until) => WatchdogState::Aborted(rename.time(until)),
            WatchdogState::Off | WatchdogState::Due | WatchdogState::Killed => self.watch,
        };
        if draining {
            self.owed = false;
            self.ready = false;
            self.sick = false;
        }
    }
}
