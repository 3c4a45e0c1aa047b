//! A started generation as a driver sees it, from its start until it is released.

use super::world::exited;
use crate::reload::machine::tests::Rename;
use crate::reload::{ArtifactId, Ended, Event, GenEvent, GenId, Policy, Time, WatchdogMessage};

/// What a started generation is to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Candidate,
    Live,
    Leaving,
}

/// What is left of a generation's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tree {
    /// Being started; that may still fail.
    Unknown,
    Running,
    /// The first process has ended, others are running.
    Orphans,
    /// All have ended; the report is still to come.
    Ended,
    /// All have ended, and that was reported.
    Gone,
}

/// How far the draining of a generation that was live has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Drain {
    /// It was never live, is live, or is past this.
    No,
    OwesSettle,
    Settling,
    Settled,
    Inspecting,
    Unwilling,
    AwaitingIdle,
    MayStop,
}

/// What the watchdog of a generation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Watch {
    /// No ping is due.
    Off,
    /// A ping is due before this moment.
    Until(Time),
    /// The program must be aborted.
    Due,
    /// The program was aborted, and must be killed at this moment.
    Aborted(Time),
    /// The program was killed.
    Killed,
}

/// A started generation until it is released.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gen {
    pub(super) id: GenId,
    /// What it was started from.
    pub(super) artifact: ArtifactId,
    pub(super) role: Role,
    pub(super) tree: Tree,
    pub(super) drain: Drain,
    /// When it was started, or began to drain.
    pub(super) since: Time,
    /// When it must be ready, or be killed at the latest.
    pub(super) until: Time,
    pub(super) watch: Watch,
    pub(super) ready: bool,
    /// It is known to listen on an address that others can share.
    pub(super) listens: bool,
    /// It has shown in another way that it is a server.
    pub(super) serves: bool,
    /// Its first process ended, and others are left.
    pub(super) to_be_killed: bool,
    pub(super) relayed: bool,
    pub(super) stopped: bool,
    pub(super) killed: bool,
    /// It is owed the signal for a configuration change.
    pub(super) owed: bool,
    /// The signal was requested, and its result is still to be reported.
    pub(super) signalling: bool,
    /// No change that requires a build came after its build began.
    pub(super) newest: bool,
    /// No change at all came after its start.
    pub(super) answers_all: bool,
    /// It was started from an earlier artifact.
    pub(super) again: bool,
}

impl Gen {
    pub(super) const fn starting(
        (id, artifact): (GenId, ArtifactId),
        (now, until): (Time, Time),
        newest: bool,
    ) -> Self {
        Self {
            id,
            artifact,
            role: Role::Candidate,
            tree: Tree::Unknown,
            drain: Drain::No,
            since: now,
            until,
            watch: Watch::Off,
            ready: false,
            listens: false,
            serves: false,
            to_be_killed: false,
            relayed: false,
            stopped: false,
            killed: false,
            owed: false,
            signalling: false,
            newest,
            answers_all: true,
            again: false,
        }
    }

    /// It loses the traffic and drains.
    pub(super) fn retire(&mut self, now: Time, policy: &Policy, drain: Drain) {
        let until = now.plus(policy.stop_delay_max).plus(policy.stop_timeout);
        self.leave(now, until);
        self.drain = drain;
    }

    pub(super) const fn leave(&mut self, now: Time, until: Time) {
        self.role = Role::Leaving;
        self.since = now;
        self.until = until;
    }

    /// More time is granted for its start and its end only.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        let bounded = match self.role {
            Role::Candidate => !self.ready,
            Role::Live => false,
            Role::Leaving => !self.killed,
        };
        let later = bounded && until > self.until;
        if later {
            self.until = until;
        }
        later
    }

    /// It sends a message to its watchdog.
    pub(super) fn sign(&mut self, sign: WatchdogMessage, now: Time, policy: &Policy) {
        let Some(period) = policy.watchdog else {
            return;
        };
        self.watch = match (self.watch, sign) {
            _ if self.role == Role::Leaving => return,
            (Watch::Due | Watch::Aborted(_) | Watch::Killed, _) => return,
            (_, WatchdogMessage::Trigger) => Watch::Due,
            (Watch::Until(_), WatchdogMessage::Ping) => Watch::Until(now.plus(period)),
            (watch, WatchdogMessage::Ping | WatchdogMessage::Period(_)) => watch,
        };
    }

    pub(super) fn is_aborted(&self) -> bool {
        let struck = matches!(self.watch, Watch::Due | Watch::Aborted(_) | Watch::Killed);
        self.role != Role::Leaving && struck
    }

    /// When its watchdog acts next.
    pub(super) fn watch_until(&self) -> Option<Time> {
        match self.watch {
            // A draining generation has a time limit already.
            _ if self.role == Role::Leaving => None,
            Watch::Until(until) | Watch::Aborted(until) => Some(until),
            Watch::Off | Watch::Due | Watch::Killed => None,
        }
    }

    /// Whether its watchdog may abort or kill it.
    pub(super) fn is_put_down(&self, now: Time) -> bool {
        let due = self.watch == Watch::Due && self.role != Role::Leaving;
        due || self.watch_until().is_some_and(|until| now >= until)
    }

    /// Whether it drains and was not asked to stop yet.
    pub(super) fn still_serves_its_own(&self) -> bool {
        self.role == Role::Leaving && !self.relayed
    }

    /// The events about it that may come next.
    pub(super) fn reports(&self, may_listen: bool, events: &mut Vec<Event>) {
        let id = self.id;
        let runs = matches!(self.tree, Tree::Unknown | Tree::Running);
        if self.tree == Tree::Unknown {
            events.push(Event::Generation(id, GenEvent::StartFailed));
        }
        if runs {
            let ends = [(0, true), (0, false), (1, true), (1, false)];
            events.extend(ends.map(|(code, survivors)| exited(id, code, survivors)));
        }
        events.push(Event::Generation(id, GenEvent::Gone));
        if self.role == Role::Candidate && !self.ready && !self.is_aborted() {
            events.push(Event::Generation(id, GenEvent::Ready));
        }
        if may_listen && runs && !self.listens && self.role != Role::Leaving {
            events.push(Event::Generation(id, GenEvent::Listening));
        }
        if self.signalling {
            let signal = 1;
            events.extend([true, false].map(|handled| {
                Event::Generation(id, GenEvent::ReloadSignalSent { signal, handled })
            }));
        }
        if self.still_serves_its_own() {
            self.answers(events);
        }
    }

    fn answers(&self, events: &mut Vec<Event>) {
        let id = self.id;
        match self.drain {
            Drain::Settling => events.push(Event::Generation(id, GenEvent::Quiescent)),
            Drain::Inspecting => events.extend([true, false].map(|handles_stop| {
                Event::Generation(
                    id,
                    GenEvent::StopSignalChecked {
                        handled: handles_stop,
                    },
                )
            })),
            Drain::AwaitingIdle => events.push(Event::Generation(id, GenEvent::Idle)),
            Drain::No | Drain::OwesSettle | Drain::Settled | Drain::Unwilling | Drain::MayStop => {}
        }
    }

    /// The notifications that it may send.
    pub(super) fn says(&self, now: Time, policy: &Policy, events: &mut Vec<Event>) {
        let id = self.id;
        if !matches!(self.tree, Tree::Unknown | Tree::Running) {
            return;
        }
        events.push(Event::Generation(id, GenEvent::StoredFds));
        if self.role != Role::Live && !self.killed {
            let by = self.until.since(now) + policy.stop_delay_min;
            events.push(Event::Generation(id, GenEvent::ExtendTimeout { by }));
        }
        if policy.watchdog.is_some() && self.role != Role::Leaving {
            events.extend(
                [WatchdogMessage::Ping, WatchdogMessage::Trigger]
                    .map(|sign| Event::Generation(id, GenEvent::Watchdog(sign))),
            );
        }
    }

    /// Something is reported about it. If it ends, what is left of it must be killed at `until`.
    pub(super) fn happen(&mut self, event: Event, now: Time, until: Time) {
        match event {
            Event::Generation(_, GenEvent::Ready) => self.ready = true,
            Event::Generation(_, GenEvent::Listening) => self.listens = true,
            Event::Generation(_, GenEvent::IsServer) => self.serves = true,
            Event::Generation(_, GenEvent::Quiescent) => self.drain = Drain::Settled,
            Event::Generation(
                _,
                GenEvent::StopSignalChecked {
                    handled: handles_stop,
                },
            ) => {
                self.drain = match handles_stop {
                    true => Drain::MayStop,
                    false => Drain::Unwilling,
                };
            }
            Event::Generation(_, GenEvent::Idle) => self.drain = Drain::MayStop,
            Event::Generation(_, GenEvent::Exited { ended, survivors }) => {
                return self.exited(ended, survivors, now, until);
            }
            Event::Generation(_, GenEvent::StartFailed | GenEvent::Gone) => {
                self.tree = Tree::Gone;
                self.role = Role::Leaving;
                return;
            }
            Event::Begin
            | Event::ConfigChanged { .. }
            | Event::Generation(
                _,
                GenEvent::ReloadSignalSent { .. }
                | GenEvent::BuildEnded(_)
                | GenEvent::Switched
                | GenEvent::SwitchFailed
                | GenEvent::ExtendTimeout { .. }
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_),
            )
            | Event::Changed(_)
            | Event::Requested(_)
            | Event::Tick => {}
        }
        if self.tree == Tree::Unknown {
            self.tree = Tree::Running;
        }
    }

    fn exited(&mut self, ended: Ended, survivors: bool, now: Time, until: Time) {
        self.tree = match survivors {
            true => Tree::Orphans,
            false => Tree::Ended,
        };
        let goes_on = survivors && ended.success();
        if self.role == Role::Leaving {
            self.drain = Drain::MayStop;
        } else if !goes_on {
            self.leave(now, until);
            self.to_be_killed = survivors;
        }
    }

    /// What it does next if it cooperates.
    pub(super) fn cooperate(&self) -> Option<Event> {
        let id = self.id;
        if self.signalling {
            return Some(Event::Generation(
                id,
                GenEvent::ReloadSignalSent {
                    signal: 1,
                    handled: true,
                },
            ));
        }
        if self.is_aborted() {
            return Some(exited(id, 1, false));
        }
        if self.role == Role::Candidate {
            return (!self.ready).then_some(Event::Generation(id, GenEvent::Ready));
        }
        if self.stopped || self.killed || self.tree == Tree::Ended {
            return Some(match self.tree {
                Tree::Unknown | Tree::Running => exited(id, 1, false),
                Tree::Orphans | Tree::Ended | Tree::Gone => Event::Generation(id, GenEvent::Gone),
            });
        }
        let mut events = Vec::new();
        if self.still_serves_its_own() {
            self.answers(&mut events);
        }
        events.first().copied()
    }

    /// The same for everything that may happen to it.
    pub(super) fn canonical(&mut self, rename: &Rename) {
        self.id = rename.id(self.id);
        // It is never live again.
        let known = rename.is_artifact(self.artifact) && !self.relayed;
        self.artifact = match known {
            true => rename.artifact(self.artifact),
            false => ArtifactId::new(0),
        };
        self.again &= !self.relayed;
        let leaving = self.role == Role::Leaving;
        let waits = matches!(self.drain, Drain::Settling | Drain::Settled);
        let keep = |kept: bool, time| if kept { rename.time(time) } else { Time::START };
        if self.relayed {
            self.drain = Drain::No;
        }
        self.since = keep(waits && !self.relayed, self.since);
        let starts = self.role == Role::Candidate && !self.ready;
        self.until = keep(starts || leaving && !self.killed, self.until);
        self.watch = match self.watch {
            _ if leaving => Watch::Off,
            Watch::Until(until) => Watch::Until(rename.time(until)),
            Watch::Aborted(until) => Watch::Aborted(rename.time(until)),
            Watch::Off | Watch::Due | Watch::Killed => self.watch,
        };
        if leaving {
            self.owed = false;
            self.ready = false;
        }
    }
}
