//! The artifacts that were built, were live or crashed, and so may be started again.

use super::process::{Gen, Role};
use super::world::World;
use crate::reload::machine::tests::Rename;
use crate::reload::{
    ArtifactId, BuildOutcome, Cause, Event, GenEvent, GenFailure, GenId, Machine, Time,
};

/// A failure that left no generation live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lost {
    artifact: ArtifactId,
    /// Whether the artifact is to blame.
    blamed: bool,
    /// Whether the artifact may be started again: it was live, or there is no other one.
    again: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// The newest artifact, and whether it was live.
    pub(super) made: Option<ArtifactId>,
    tried: bool,
    kept: Vec<ArtifactId>,
    /// The artifacts that were live and have not failed since.
    served: Vec<ArtifactId>,
    /// The artifact that was live last.
    last: Option<ArtifactId>,
    /// Whether the generation that was live last was a server.
    server: bool,
    /// Whether a different artifact was live before `last`.
    fresh: bool,
    /// The last artifact that ended after it had been live for longer than `rollback_within`.
    proven: Option<ArtifactId>,
    /// A failure that must lead to a restart or a rollback, unless another generation is started.
    pub(super) lost: Option<Lost>,
    /// The artifact of the last generation that failed its liveness check, until another one is live.
    pub(super) sick: Option<ArtifactId>,
    /// The kept artifact that was most recently started.
    pub(super) again: Option<ArtifactId>,
    /// Whether the live generation has ended and the user has not been notified yet.
    unreported: bool,
    /// The cause of the next start.
    pub(super) starting: Option<Cause>,
}

impl Past {
    pub(super) fn keep(&mut self, artifact: ArtifactId) {
        self.kept.retain(|kept| *kept != artifact);
        self.kept.push(artifact);
    }

    pub(super) fn let_go(&mut self, needed: impl Fn(ArtifactId) -> bool) {
        self.kept.retain(|kept| needed(*kept));
    }

    pub(super) fn made(&mut self, artifact: ArtifactId) {
        self.tried &= self.made == Some(artifact);
        self.made = Some(artifact);
    }

    /// Records that this artifact is live again.
    pub(super) fn restored(&mut self, artifact: ArtifactId, server: bool) {
        self.last = Some(artifact);
        self.served.push(artifact);
        (self.server, self.fresh) = (server, false);
    }

    /// Whether there is an artifact other than this one to roll back to.
    fn has_earlier(&self, artifact: ArtifactId) -> bool {
        let mut served = self.served.iter();
        served.any(|served| *served != artifact && self.kept.contains(served))
    }

    /// Whether recovery starts this artifact.
    fn recovers_with(&self, artifact: ArtifactId) -> bool {
        self.lost.is_some_and(|lost| {
            let rolls_back = lost.blamed && self.has_earlier(lost.artifact);
            let earlier = self.served.contains(&artifact) && self.kept.contains(&artifact);
            (artifact == lost.artifact) != rolls_back && (earlier || !rolls_back)
        })
    }

    fn is_to_blame(&self, artifact: ArtifactId) -> bool {
        self.last != Some(artifact) && self.proven != Some(artifact)
    }

    pub(super) fn canonical(&self, rename: &Rename) -> Self {
        let known = |artifact: &Option<ArtifactId>| {
            let artifact = artifact.filter(|artifact| rename.is_artifact(*artifact));
            artifact.map(|artifact| rename.artifact(artifact))
        };
        let all = |builds: &[ArtifactId]| {
            let builds = builds
                .iter()
                .filter(|artifact| rename.is_artifact(**artifact));
            let mut builds: Vec<ArtifactId> =
                builds.map(|artifact| rename.artifact(*artifact)).collect();
            builds.sort_unstable();
            builds.dedup();
            builds
        };
        let lost = |lost: Lost| Lost {
            artifact: known(&Some(lost.artifact)).unwrap_or(ArtifactId(0)),
            ..lost
        };
        Self {
            made: known(&self.made),
            tried: self.tried,
            kept: all(&self.kept),
            served: all(&self.served),
            last: known(&self.last),
            server: self.server,
            fresh: self.fresh,
            proven: known(&self.proven),
            lost: self.lost.map(lost),
            sick: known(&self.sick),
            again: known(&self.again),
            unreported: self.unreported,
            starting: None,
        }
    }
}

impl World {
    /// Records a change or a request, which resets the history of crashes.
    pub(super) fn new_reason(&mut self) {
        self.starts = (0, true);
        self.past.proven = None;
    }

    pub(super) fn is_server(&self, known: &Gen) -> bool {
        self.policy.passes_sockets || known.listens || known.serves
    }

    /// Records that this generation is a server, if it is live and has turned out to be one.
    pub(super) fn recognise(&mut self, id: GenId) {
        let live = self.find(id).filter(|known| known.role == Role::Live);
        self.past.server |= live.is_some_and(|live| self.is_server(live));
    }

    /// Records that this generation has gone live.
    pub(super) fn serves(&mut self, id: GenId) {
        let Some(known) = self.find(id) else {
            return;
        };
        let (artifact, server) = (known.artifact, self.is_server(known));
        let within = self.policy.rollback_within;
        self.soon = match self.past.proven == Some(artifact) {
            true => Time::START,
            false => self.now.plus(within),
        };
        let past = &mut self.past;
        past.fresh = past.last.replace(artifact) != Some(artifact);
        past.tried |= past.made == Some(artifact);
        past.served.push(artifact);
        (past.server, past.lost, past.sick) = (server, None, None);
    }

    /// Records that the live generation has ended.
    pub(super) fn lose_live(&mut self, id: GenId, event: Event) {
        let Some(known) = self.find(id) else {
            return;
        };
        let (artifact, server) = (known.artifact, self.is_server(known));
        let meant = matches!(event, Event::Generation(_, GenEvent::Exited { ended, .. }) if ended.success());
        let soon = self.now < self.soon;
        if !soon {
            self.past.proven = Some(artifact);
        }
        let blamed = soon && self.past.fresh;
        self.past.served.retain(|served| *served != artifact);
        let follows = server && !meant && !self.policy.rollback_within.is_zero();
        let lost = Lost {
            artifact,
            blamed,
            again: true,
        };
        self.past.lost = follows.then_some(lost);
        self.past.unreported = true;
    }

    /// Records the failure of a generation that is not live.
    pub(super) fn lose_successor(&mut self, id: GenId, failure: GenFailure) {
        // The end of the live generation has already been recorded.
        if std::mem::take(&mut self.past.unreported) {
            return;
        }
        let Some((artifact, again)) = self.find(id).map(|known| (known.artifact, known.again))
        else {
            return;
        };
        if failure == GenFailure::Start && again {
            self.past.kept.retain(|kept| *kept != artifact);
            if let Some(lost) = &mut self.past.lost {
                (lost.blamed, lost.again) = (false, true);
            }
        } else if self.past.recovers_with(artifact) {
            self.past.lost = None;
        }
        let past = &self.past;
        let first = self.live().is_none() && past.lost.is_none();
        let follows = past.server && !self.policy.rollback_within.is_zero();
        if first && follows && past.is_to_blame(artifact) && past.has_earlier(artifact) {
            self.past.lost = Some(Lost {
                artifact,
                blamed: true,
                again: false,
            });
        }
    }

    /// Forgets a crash that cannot cause another start.
    pub(super) fn forget_crash(&mut self, machine: &Machine) {
        let candidate = |known: &Gen| known.role != Role::Draining;
        let comes = !self.builds.is_empty() || self.gens.iter().any(candidate);
        let Some(lost) = self.past.lost.filter(|_| !comes && !machine.has_queued()) else {
            return;
        };
        let past = &self.past;
        let has = past.made == Some(lost.artifact) || past.kept.contains(&lost.artifact);
        let once_more = lost.again && (has || !self.policy.builds);
        let may_start = once_more || lost.blamed && past.has_earlier(lost.artifact);
        if !may_start || self.starts.0 == 2 {
            self.past.lost = None;
        }
    }

    /// Counts a start, and returns how many consecutive starts were caused by crashes alone.
    pub(super) fn count_start(&mut self, cause: Option<Cause>) -> u8 {
        let (own, requested) = self.starts;
        self.starts = match cause {
            Some(
                Cause::Begin | Cause::Change | Cause::Request | Cause::Undo | Cause::InheritFds,
            ) if requested => (own, false),
            Some(_) | None => (own + 1, requested),
        };
        self.starts.0
    }

    /// Whether this artifact exists, and may be started because of a failure.
    pub(super) fn may_start_once_more(&self, artifact: ArtifactId) -> bool {
        let past = &self.past;
        let has = past.made == Some(artifact) || past.kept.contains(&artifact);
        (has || !self.policy.builds) && self.starts.0 < 2
    }

    pub(super) fn started_for(&mut self, cause: Option<Cause>) {
        self.undo &= cause != Some(Cause::Undo);
    }

    /// Whether this artifact, which is the newest one, may be started.
    pub(super) fn may_start(&self, cause: Option<Cause>, artifact: ArtifactId) -> bool {
        let past = &self.past;
        // A newer artifact may be started instead, even if it was outdated when its build ended.
        let is_lost = |lost: Lost| lost.again && lost.artifact <= artifact;
        match cause {
            Some(Cause::Begin) => true,
            // False if hotrun rolled back from this artifact.
            Some(Cause::Change | Cause::Request | Cause::InheritFds) => {
                let older = |known: &&Gen| known.again && known.artifact != artifact;
                let live = self.gens.iter().find(|known| known.role == Role::Live);
                let back = live.filter(older).map(|live| live.artifact);
                !past.tried || back.is_none_or(|back| !past.kept.contains(&back))
            }
            Some(Cause::Crash) if !self.policy.builds => past.lost.is_some(),
            Some(Cause::Crash) => past.lost.is_some_and(is_lost),
            Some(Cause::Unhealthy) => past.sick == Some(artifact),
            Some(Cause::Undo | Cause::RollBack | Cause::Follow) | None => false,
        }
    }

    /// Whether this kept artifact may be started.
    pub(super) fn may_start_again(&self, cause: Option<Cause>, artifact: ArtifactId) -> bool {
        let past = &self.past;
        let live = self.gens.iter().find(|known| known.role == Role::Live);
        let served = past.served.contains(&artifact);
        let lost = past
            .lost
            .filter(|_| live.is_none() && self.builds.is_empty());
        let fits = match cause {
            Some(Cause::Undo) => {
                self.undo && served && live.is_none_or(|it| it.artifact != artifact)
            }
            Some(Cause::RollBack) => {
                served && lost.is_some_and(|lost| lost.blamed && lost.artifact != artifact)
            }
            Some(Cause::Crash) => lost.is_some_and(|lost| lost.again && lost.artifact == artifact),
            Some(Cause::Change | Cause::Request | Cause::InheritFds) => {
                let back = past.last == Some(artifact) || past.again == Some(artifact);
                back && past.made != Some(artifact)
            }
            Some(Cause::Unhealthy) => past.sick == Some(artifact),
            Some(Cause::Begin | Cause::Follow) | None => false,
        };
        fits && past.kept.contains(&artifact)
    }

    /// Events that only the random walks use, because they would lead to too many states: a build that produces the
    /// newest kept artifact again, and a program that turns out to be a server.
    pub(super) fn rare_reports(&self) -> Vec<Event> {
        let built = self.builds.first().map(|build| build.id);
        let newest = self.past.kept.iter().max().copied();
        let rolls_back = !self.policy.rollback_within.is_zero();
        let kept = built.zip(newest).filter(|_| rolls_back);
        let kept = kept.map(|(id, artifact)| {
            let built = BuildOutcome::Built {
                artifact,
                kept: true,
            };
            Event::Generation(id, GenEvent::BuildEnded(built))
        });
        let silent = |known: &&Gen| known.role != Role::Draining && !known.serves;
        let serve = self.gens.iter().filter(silent);
        let serve = serve.map(|known| Event::Generation(known.id, GenEvent::IsServer));
        let unbound = |known: &&Gen| known.role != Role::Draining && !known.own_paths;
        let listen = self.gens.iter().filter(unbound);
        let listen = listen.map(|known| Event::Generation(known.id, GenEvent::ListensOnPath));
        let in_use = Some(1);
        let busy = self.gens.iter().map(|known| known.id);
        let busy = busy.map(|id| Event::Generation(id, GenEvent::Gone { in_use }));
        kept.into_iter()
            .chain(serve)
            .chain(listen)
            .chain(busy)
            .collect()
    }
}
