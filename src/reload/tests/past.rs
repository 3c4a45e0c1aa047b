//! What was built before, what was live, and what has crashed: all that somebody may go back to.

use super::process::{Gen, Role};
use super::world::World;
use crate::reload::machine::canonical::Rename;
use crate::reload::{Cause, Event, Failure, GenId, Machine, Time};

/// Nothing is live because this build has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lost {
    build: GenId,
    /// Whether its build is to blame.
    blamed: bool,
    /// Whether it may be started once more: it was live, or there is nothing else.
    again: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// The newest good build, and whether it was live.
    pub(super) made: Option<GenId>,
    tried: bool,
    kept: Vec<GenId>,
    /// What was live, and has not failed since.
    served: Vec<GenId>,
    /// What was live last.
    last: Option<GenId>,
    /// Whether that is a server.
    server: bool,
    /// Whether something else was live before it.
    fresh: bool,
    /// What has served for long.
    proven: Option<GenId>,
    /// Something has to follow from it, unless something else comes.
    pub(super) lost: Option<Lost>,
    /// What was gone back from, while that starts.
    left: Option<Lost>,
    /// What was started last of all that was put aside.
    pub(super) again: Option<GenId>,
    /// The live one has ended, and the user does not know yet.
    untold: bool,
    /// Why the next start is made.
    pub(super) starting: Option<Cause>,
}

impl Past {
    fn keep(&mut self, build: GenId) {
        self.kept.retain(|kept| *kept != build);
        self.kept.push(build);
    }

    fn rename(&mut self, earlier: GenId, build: GenId) {
        let single = [
            &mut self.made,
            &mut self.last,
            &mut self.proven,
            &mut self.again,
        ];
        let lost = [&mut self.lost, &mut self.left].into_iter().flatten();
        let known = single.into_iter().flatten();
        let known = known.chain(lost.map(|lost| &mut lost.build));
        let known = known.chain(&mut self.kept).chain(&mut self.served);
        known.for_each(|known| known.is_now(earlier, build));
    }

    pub(super) fn let_go(&mut self, needed: impl Fn(GenId) -> bool) {
        self.kept.retain(|kept| needed(*kept));
    }

    pub(super) fn made(&mut self, build: GenId) {
        self.tried &= self.made == Some(build);
        self.made = Some(build);
    }

    /// This was live before, and is to be again.
    pub(super) fn comes_back(&mut self, build: GenId, server: bool) {
        self.last = Some(build);
        self.served.push(build);
        (self.server, self.fresh) = (server, false);
    }

    /// Whether there is something to go back to from this build.
    fn has_earlier(&self, build: GenId) -> bool {
        let mut served = self.served.iter();
        served.any(|served| *served != build && self.kept.contains(served))
    }

    fn is_to_blame(&self, build: GenId) -> bool {
        self.last != Some(build) && self.proven != Some(build)
    }

    pub(super) fn canonical(&self, rename: &Rename) -> Self {
        let known = |build: &Option<GenId>| {
            let build = build.filter(|build| rename.is_build(*build));
            build.map(|build| rename.build(build))
        };
        let all = |builds: &[GenId]| {
            let builds = builds.iter().filter(|build| rename.is_build(**build));
            let mut builds: Vec<GenId> = builds.map(|build| rename.build(*build)).collect();
            builds.sort_unstable();
            builds.dedup();
            builds
        };
        let lost = |lost: Lost| Lost {
            build: known(&Some(lost.build)).unwrap_or(GenId::new(0)),
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
            left: self.left.map(lost),
            again: known(&self.again),
            untold: self.untold,
            starting: None,
        }
    }
}

impl World {
    /// What a build made was put aside, or is what an earlier one made.
    pub(super) fn keep(&mut self, build: GenId, same: Option<GenId>) {
        if let Some(same) = same {
            self.past.rename(same, build);
            let gens = self.gens.iter_mut();
            gens.for_each(|known| known.build.is_now(same, build));
        }
        self.past.keep(build);
    }

    /// Somebody wants something: what comes of it is not what was there.
    pub(super) fn wish(&mut self) {
        self.starts = (0, true);
        self.past.proven = None;
    }

    pub(super) fn is_server(&self, known: &Gen) -> bool {
        self.policy.passes_sockets || known.listens || known.serves
    }

    /// It may have shown only now what it is.
    pub(super) fn recognise(&mut self, id: GenId) {
        let live = self.find(id).filter(|known| known.role == Role::Live);
        self.past.server |= live.is_some_and(|live| self.is_server(live));
    }

    /// This one becomes live.
    pub(super) fn serves(&mut self, id: GenId) {
        let Some(known) = self.find(id) else {
            return;
        };
        let (build, server) = (known.build, self.is_server(known));
        let within = self.policy.go_back_within;
        self.soon = match self.past.proven == Some(build) {
            true => Time::START,
            false => self.now.plus(within),
        };
        let past = &mut self.past;
        past.fresh = past.last.replace(build) != Some(build);
        past.tried |= past.made == Some(build);
        past.served.push(build);
        (past.server, past.lost, past.left) = (server, None, None);
    }

    /// The live one has ended by itself.
    pub(super) fn lose_live(&mut self, id: GenId, event: Event) {
        let Some(known) = self.find(id) else {
            return;
        };
        let (build, server) = (known.build, self.is_server(known));
        let meant = matches!(event, Event::Exited { ended, .. } if ended.success());
        let soon = self.now < self.soon;
        if !soon {
            self.past.proven = Some(build);
        }
        let blamed = soon && self.past.fresh;
        self.past.served.retain(|served| *served != build);
        let follows = server && !meant && !self.policy.go_back_within.is_zero();
        let lost = Lost {
            build,
            blamed,
            again: true,
        };
        self.past.lost = follows.then_some(lost);
        self.past.untold = true;
    }

    /// One has failed that is not live.
    pub(super) fn lose_successor(&mut self, id: GenId, failure: Failure) {
        // Of the live one it was seen before.
        if std::mem::take(&mut self.past.untold) {
            return;
        }
        let Some((build, again)) = self.find(id).map(|known| (known.build, known.again)) else {
            return;
        };
        let left = self.past.left.take();
        if failure == Failure::Start && again {
            self.past.kept.retain(|kept| *kept != build);
            let once_more = |lost: Lost| Lost {
                blamed: false,
                again: true,
                ..lost
            };
            self.past.lost = left.map(once_more).or(self.past.lost);
        }
        let past = &self.past;
        let first = self.live().is_none() && past.lost.is_none();
        let follows = past.server && !self.policy.go_back_within.is_zero();
        if first && follows && past.is_to_blame(build) && past.has_earlier(build) {
            self.past.lost = Some(Lost {
                build,
                blamed: true,
                again: false,
            });
        }
    }

    /// Nothing can follow from it any more.
    pub(super) fn gives_up(&mut self, machine: &Machine) {
        let candidate = |known: &Gen| known.role != Role::Leaving;
        let comes = !self.builds.is_empty() || self.gens.iter().any(candidate);
        let Some(lost) = self
            .past
            .lost
            .filter(|_| !comes && !machine.something_waits())
        else {
            return;
        };
        let past = &self.past;
        let has = past.made == Some(lost.build) || past.kept.contains(&lost.build);
        let once_more = lost.again && (has || !self.policy.builds);
        let may_start = once_more || lost.blamed && past.has_earlier(lost.build);
        if !may_start || self.starts.0 == 2 {
            self.past.lost = None;
        }
    }

    /// Takes note of one more start, and says how many there were that nobody wished for.
    pub(super) fn count_start(&mut self, cause: Option<Cause>) -> u8 {
        let (own, wished) = self.starts;
        self.starts =
            match cause {
                Some(
                    Cause::Begin | Cause::Change | Cause::Request | Cause::Undo | Cause::Inherit,
                ) if wished => (own, false),
                Some(_) | None => (own + 1, wished),
            };
        self.starts.0
    }

    pub(super) fn begun_for(&mut self, cause: Option<Cause>) {
        match cause {
            Some(Cause::GoBack) => self.past.left = self.past.lost.take(),
            Some(Cause::Crash) => self.past.lost = None,
            Some(Cause::Undo) => self.undo = false,
            Some(Cause::Begin | Cause::Change | Cause::Request | Cause::Inherit) | None => {}
        }
    }

    /// Whether the newest good build may be started, which is this one.
    pub(super) fn may_start(&self, cause: Option<Cause>, build: GenId) -> bool {
        let past = &self.past;
        // Or a newer one that was outdated: it is better.
        let is_lost = |lost: Lost| lost.again && lost.build <= build;
        match cause {
            Some(Cause::Begin) => true,
            // Not if somebody went back from it.
            Some(Cause::Change | Cause::Request | Cause::Inherit) => {
                let older = |known: &&Gen| known.again && known.build != build;
                let live = self.gens.iter().find(|known| known.role == Role::Live);
                let back = live.filter(older).map(|live| live.build);
                !past.tried || back.is_none_or(|back| !past.kept.contains(&back))
            }
            Some(Cause::Crash) if !self.policy.builds => past.lost.is_some(),
            Some(Cause::Crash) => past.lost.is_some_and(is_lost),
            Some(Cause::Undo | Cause::GoBack) | None => false,
        }
    }

    /// Whether this build may be started, which is put aside.
    pub(super) fn may_start_again(&self, cause: Option<Cause>, build: GenId) -> bool {
        let past = &self.past;
        let live = self.gens.iter().find(|known| known.role == Role::Live);
        let served = past.served.contains(&build);
        let lost = past
            .lost
            .filter(|_| live.is_none() && self.builds.is_empty());
        let fits = match cause {
            Some(Cause::Undo) => self.undo && served && live.is_none_or(|it| it.build != build),
            Some(Cause::GoBack) => {
                served && lost.is_some_and(|lost| lost.blamed && lost.build != build)
            }
            Some(Cause::Crash) => lost.is_some_and(|lost| lost.again && lost.build == build),
            Some(Cause::Change | Cause::Request | Cause::Inherit) => {
                let back = past.last == Some(build) || past.again == Some(build);
                back && past.made != Some(build)
            }
            Some(Cause::Begin) | None => false,
        };
        fits && past.kept.contains(&build)
    }

    /// What may be reported besides, by random walks alone: the states would be too many. A build may leave alone what was
    /// put aside of the one before it, and whoever starts may turn out to be a server.
    pub(super) fn rare_reports(&self) -> Vec<Event> {
        let built = self.builds.first().map(|build| build.id);
        let newest = self.past.kept.iter().max().copied();
        let goes_back = !self.policy.go_back_within.is_zero();
        let kept = built
            .zip(newest)
            .filter(|(id, same)| goes_back && id != same);
        let kept = kept.map(|(id, same)| Event::Kept {
            id,
            same: Some(same),
        });
        let silent = |known: &&Gen| known.role != Role::Leaving && !known.serves;
        let serve = self.gens.iter().filter(silent);
        let serve = serve.map(|known| Event::Serves { id: known.id });
        kept.into_iter().chain(serve).collect()
    }
}
