//! What follows from a crash of the live generation: back to the one before it, or one more start.

use std::time::Duration;

use super::configured::Signals;
use super::{Candidate, Leaving, Machine, Next, Response};
use crate::reload::{
    ArtifactId, Cause, Effect, Ended, Failure, GenEffect, GenId, GenNotice, Notice, Time,
};

/// How long hotrun waits before it starts again what has crashed.
const BACK_OFF: Duration = Duration::from_secs(1);
/// So many starts follow from crashes alone, until somebody changes something or asks for it.
const MOST_STARTS: u8 = 2;

/// The generation that was live before the one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Before {
    id: GenId,
    /// From which it was started.
    artifact: ArtifactId,
    /// Changes of its configuration that it was not told of, because another one was live.
    missed: Signals,
}

/// The live generation has crashed, and nothing was started because of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Crash {
    id: GenId,
    /// From which it was started.
    artifact: ArtifactId,
    /// Whether that is to blame.
    blamed: bool,
    /// When it is started again.
    again: Option<Time>,
}

/// This one is to serve again, and it is not known yet whether it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Returning {
    id: GenId,
    /// Who crashed, and how.
    crashed: (GenId, Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Recovery {
    /// Until when a crash of the live generation is blamed on its artifact.
    until: Option<Time>,
    /// From which the one was started that was live before the live one, also if that has crashed. Once more the same build
    /// is not to blame for a crash: something else must be new.
    replaced: Option<ArtifactId>,
    before: Option<Before>,
    crash: Option<Crash>,
    /// What was gone back from, while that is being started.
    left: Option<Crash>,
    returning: Option<Returning>,
    /// Whether the one that was live last is a server. What nobody connects to may be a job that is done.
    server: bool,
    /// How many starts have followed from crashes alone.
    starts: u8,
}

impl Recovery {
    pub(super) const NONE: Self = Self {
        until: None,
        replaced: None,
        before: None,
        crash: None,
        left: None,
        returning: None,
        server: false,
        starts: 0,
    };

    /// Somebody wants something: what comes of it may crash anew, be it for what is not in the artifact.
    pub(super) const fn wished(&mut self) {
        self.starts = 0;
    }

    /// This is the start that follows from the crash, if it is for that.
    pub(super) const fn started(&mut self, cause: Cause) {
        match cause {
            Cause::RollBack => self.left = self.crash.take(),
            Cause::Crash => self.crash = None,
            Cause::Begin | Cause::Change | Cause::Request | Cause::Undo | Cause::InheritFds => {
                return;
            }
        }
        self.starts += 1;
    }

    /// The one before the live one has to hear of it should it come back.
    pub(super) fn configured(&mut self, signal: i32) {
        if let Some(before) = &mut self.before {
            before.missed.add(signal);
        }
    }

    /// All that it may lead back to.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = ArtifactId> {
        let before = self.before.map(|before| before.artifact);
        let crashes = self.crash.into_iter().chain(self.left);
        before
            .into_iter()
            .chain(crashes.map(|crash| crash.artifact))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.crash.and_then(|crash| crash.again)
    }
}

impl Machine {
    /// This one is live now, instead of `old`.
    pub(super) fn serves(
        &mut self,
        now: Time,
        (id, artifact): (GenId, ArtifactId),
        old: Option<GenId>,
    ) {
        let served = self.artifacts.served();
        let before = old.zip(served).map(|(id, artifact)| Before {
            id,
            artifact,
            missed: Signals::NONE,
        });
        self.artifacts.serves(artifact);
        self.recovery = Recovery {
            until: Some(now.plus(self.policy.roll_back_within)),
            replaced: served.or(self.recovery.replaced),
            before,
            crash: None,
            left: None,
            returning: None,
            server: self.is_server(id),
            ..self.recovery
        };
    }

    fn may_recover(&self) -> bool {
        self.quit.is_none() && !self.policy.roll_back_within.is_zero()
    }

    fn is_server(&self, id: GenId) -> bool {
        let known = self.listening.contains(&id) || self.servers.contains(&id);
        self.policy.passes_sockets || known
    }

    /// It has shown that it is a server, maybe later than at its switch.
    pub(super) fn recognise(&mut self, id: GenId) {
        self.recovery.server |= self.live == Some(id);
    }

    /// The live generation has ended by itself. `ended`: how, if that was seen.
    pub(super) fn lose_live(
        &mut self,
        now: Time,
        (id, ended, survivors): (GenId, Option<Ended>, bool),
        out: &mut Response,
    ) {
        let artifact = self.artifacts.failed();
        let soon = self.recovery.until.is_some_and(|until| now < until);
        // Whoever ends well meant to.
        let crashed = self.is_server(id) && !ended.is_some_and(Ended::success);
        let crashed = crashed && self.may_recover();
        let blamed = soon && self.recovery.replaced != artifact;
        self.recovery.replaced = artifact;
        self.recovery.crash = artifact.filter(|_| crashed).map(|artifact| Crash {
            id,
            artifact,
            blamed,
            again: None,
        });
        self.recovery.returning = None;
        let failure = ended.map_or(Failure::Vanished, Failure::Crashed);
        let back = crashed && soon && self.take_back(now, (id, failure), out);
        self.abandon(now, id, survivors, out);
        if !back {
            self.failed(id, failure, out);
        }
    }

    /// What drains and has not been asked to end serves again. It comes before all else: nobody has to wait. What is said
    /// of it, and of the crash, depends on whether it can.
    fn take_back(&mut self, now: Time, crashed: (GenId, Failure), out: &mut Response) -> bool {
        let switching = self.candidate.is_some_and(|next| next.ready.is_some());
        let Some(before) = self.recovery.before.filter(|before| {
            let mut leaving = self.leaving.iter();
            !switching
                && !self.is_aborted(before.id)
                && leaving.any(|leaving| leaving.id == before.id && leaving.may_stay())
        }) else {
            return false;
        };
        let id = before.id;
        self.leaving.retain(|leaving: &Leaving| leaving.id != id);
        self.live = Some(id);
        self.artifacts.serves(before.artifact);
        self.rolled_back(true);
        self.recovery = Recovery {
            until: None,
            before: None,
            returning: Some(Returning { id, crashed }),
            server: self.is_server(id),
            ..self.recovery
        };
        self.wake_watchdog(now, id);
        out.effects.push(Effect::Generation(id, GenEffect::Switch));
        out.effects.extend(before.missed.effects(id));
        true
    }

    /// Whether new connections can be sent to it again. If not, it has shut its sockets, and what follows is what would
    /// have followed without it.
    pub(super) fn came_back(&mut self, now: Time, id: GenId, back: bool, out: &mut Response) {
        let is_it = |returning: &mut Returning| returning.id == id;
        let Some(Returning { crashed, .. }) = self.recovery.returning.take_if(is_it) else {
            return;
        };
        // It may have had to go at once, for what waited to be started.
        let lives = self.live == Some(id);
        if lives && !back {
            self.live = None;
            self.hold(out);
            self.retire(now, id, out);
        } else if lives {
            self.recovery.crash = None;
        }
        self.failed(crashed.0, crashed.1, out);
        if lives && back {
            out.notices
                .push(Notice::Generation(id, GenNotice::Restored));
        }
    }

    /// Nothing is live because of a crash, and nothing else comes.
    pub(super) fn recover(&mut self, now: Time, out: &mut Response) {
        let Some(crash) = self.recovery.crash.filter(|_| self.live.is_none()) else {
            return;
        };
        if self.something_is_made() || self.wanted.is_some() {
            // It is live soon, or has failed.
            self.recovery.crash = Some(Crash {
                again: None,
                ..crash
            });
            return;
        }
        let earlier = self.earlier(crash.artifact).filter(|_| crash.blamed);
        let may_start = earlier.is_some() || self.has(crash.artifact);
        if self.recovery.starts == MOST_STARTS || !may_start {
            self.recovery.crash = None;
        } else if let Some(artifact) = earlier {
            self.start_over(artifact, Cause::RollBack);
        } else if crash.again.is_none() {
            let again = Some(now.plus(BACK_OFF));
            self.recovery.crash = Some(Crash { again, ..crash });
            out.notices.push(Notice::Generation(
                crash.id,
                GenNotice::RestartScheduled { after: BACK_OFF },
            ));
        } else if crash.again.is_some_and(|again| now >= again) {
            self.start_over(crash.artifact, Cause::Crash);
        }
    }

    /// What was live before, and not made by the artifact that has crashed.
    fn earlier(&self, crashed: ArtifactId) -> Option<ArtifactId> {
        let mut earlier = self.artifacts.kept_of_served();
        let earlier = earlier.find(|artifact| *artifact != crashed);
        earlier.filter(|_| self.policy.builds)
    }

    /// Whether what this artifact made is there to be started.
    fn has(&self, artifact: ArtifactId) -> bool {
        !self.policy.builds || self.artifacts.has(artifact)
    }

    /// A generation has failed that was never live. The one before it may have had to end first: it is started again.
    pub(super) fn lose_successor(&mut self, candidate: &Candidate, failure: Failure) {
        let &Candidate { id, artifact, .. } = candidate;
        let left = self.recovery.left.take();
        if candidate.again && failure == Failure::Start {
            // Whoever cleans the target directory takes it with him.
            self.artifacts.lose(artifact);
            let blamed = false;
            let left = left.map(|crash| Crash { blamed, ..crash });
            self.recovery.crash = left.or(self.recovery.crash);
        }
        let recovers = self.may_recover() && self.recovery.server && self.is_to_blame(artifact);
        let first = self.live.is_none() && self.recovery.crash.is_none();
        if recovers && first && self.earlier(artifact).is_some() {
            self.recovery.crash = Some(Crash {
                id,
                artifact,
                blamed: true,
                again: None,
            });
        }
    }

    /// Whether a start that fails was saved that way: not if the same was live last.
    fn is_to_blame(&self, artifact: ArtifactId) -> bool {
        let last = self.artifacts.served().or(self.recovery.replaced);
        last != Some(artifact)
    }

    /// Whether a start will follow from a crash alone.
    pub(super) const fn recovers(&self) -> bool {
        self.live.is_none() && self.recovery.crash.is_some()
    }

    fn start_over(&mut self, artifact: ArtifactId, cause: Cause) {
        let id = self.upcoming;
        self.upcoming = id.next();
        if let Some(crash) = &mut self.recovery.crash {
            crash.again = None;
        }
        self.next = Some(Next {
            id,
            cause,
            artifact,
        });
    }

    /// For the tests alone: the same for all that it will do.
    #[cfg(test)]
    pub(super) fn canonical_recovery(&self, rename: &super::canonical::Rename) -> Recovery {
        let Recovery {
            until,
            replaced,
            before,
            crash,
            left,
            returning,
            server,
            starts,
        } = self.recovery;
        Recovery {
            // Only while something is live, and while it has not passed.
            until: until.filter(|until| self.live.is_some() && rename.is_ahead(*until)),
            // Else it never serves again.
            replaced: replaced.filter(|artifact| rename.is_artifact(*artifact)),
            before: before
                .filter(|before| self.leaving.iter().any(|leaving| leaving.id == before.id)),
            crash,
            left,
            returning,
            server,
            starts,
        }
        .renamed(rename)
    }
}

#[cfg(test)]
impl Recovery {
    fn renamed(self, rename: &super::canonical::Rename) -> Self {
        let crash = |crash: Crash| Crash {
            id: GenId::FIRST,
            again: crash.again.map(|again| rename.time(again)),
            artifact: rename.artifact(crash.artifact),
            ..crash
        };
        Self {
            until: self.until.map(|until| rename.time(until)),
            replaced: self.replaced.map(|replaced| rename.artifact(replaced)),
            before: self.before.map(|before| Before {
                id: rename.id(before.id),
                artifact: rename.artifact(before.artifact),
                ..before
            }),
            // Who crashed is told, no more.
            returning: self.returning.map(|returning| Returning {
                id: rename.id(returning.id),
                crashed: (GenId::FIRST, Failure::Vanished),
            }),
            crash: self.crash.map(crash),
            left: self.left.map(crash),
            ..self
        }
    }
}
