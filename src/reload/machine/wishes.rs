//! What the user may ask for besides a reload and the end.

use super::{Cause, Machine, Next, Response, Wanted};
use crate::reload::{Action, GenId, Notice, Stopped, Time};

/// Which builds there are to start from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Builds {
    /// The newest good one.
    pub(super) newest: Option<GenId>,
    /// The one that was live last, and did not fail.
    served: Option<GenId>,
    /// Another one that was live before it.
    previous: Option<GenId>,
    /// Whether the one that is live was gone back to, and nothing was built since: a restart is of that.
    back: bool,
    /// Those that can be started again though they are not the newest.
    kept: Vec<GenId>,
}

impl Builds {
    pub(super) const NONE: Self = Self {
        newest: None,
        served: None,
        previous: None,
        back: false,
        kept: Vec::new(),
    };

    /// For the tests alone: which build it was matters for what is undone and gone back to, and whether there is one
    /// for everything.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename) -> Self {
        let newest = self.newest.map(|newest| rename.build(newest));
        if !rename.tells_builds_apart() {
            return Self {
                newest,
                ..Self::NONE
            };
        }
        let kept = self.kept.iter().filter(|kept| rename.is_build(**kept));
        Self {
            newest,
            served: self.served.map(|served| rename.build(served)),
            previous: self.previous.map(|previous| rename.build(previous)),
            back: self.back,
            kept: kept.map(|kept| rename.build(*kept)).collect(),
        }
    }

    pub(super) fn known(&self) -> impl Iterator<Item = GenId> {
        let known = [self.newest, self.served, self.previous];
        known.into_iter().flatten()
    }

    /// What was live and did not fail, the last one first, as far as it is kept.
    pub(super) fn kept_of_served(&self) -> impl Iterator<Item = GenId> {
        let served = [self.served, self.previous].into_iter().flatten();
        served.filter(|build| self.kept.contains(build))
    }

    /// The one that is live.
    pub(super) const fn served(&self) -> Option<GenId> {
        self.served
    }

    /// This one is live now.
    pub(super) fn serves(&mut self, build: GenId) {
        let before = self.served.replace(build);
        if let Some(before) = before.filter(|before| *before != build) {
            self.previous = Some(before);
        }
    }

    /// The one that was live, which is returned, has failed: nobody wants it back.
    pub(super) fn failed(&mut self) -> Option<GenId> {
        let failed = self.served.take();
        // It may have been started again meanwhile.
        self.previous.take_if(|previous| Some(*previous) == failed);
        failed
    }

    /// It is the newest good one.
    pub(super) const fn made(&mut self, build: GenId) {
        self.newest = Some(build);
        self.back = false;
    }

    /// The one that was gone back to, if it is the live one.
    pub(super) fn gone_back_to(&self) -> Option<GenId> {
        self.served.filter(|_| self.back)
    }

    /// Whether it can be started.
    pub(super) fn has(&self, build: GenId) -> bool {
        self.newest == Some(build) || self.kept.contains(&build)
    }

    /// What an earlier build made is this one's, as it is the same.
    fn rename(&mut self, earlier: GenId, build: GenId) {
        let known = [&mut self.newest, &mut self.served, &mut self.previous];
        for known in known.into_iter().flatten() {
            known.is_now(earlier, build);
        }
    }

    /// What was put aside of it is not there any more.
    pub(super) fn lose(&mut self, build: GenId) {
        self.kept.retain(|kept| *kept != build);
    }
}

impl Machine {
    /// What this build made is put aside. What nothing leads back to any more is not, and what an earlier one made is
    /// this one's if it is the same file: by that name it is known from now on, also as what was live or has crashed.
    pub(super) fn keep(&mut self, build: GenId, same: Option<GenId>) {
        if let Some(same) = same {
            self.know_as(same, build);
        }
        let mut kept = std::mem::take(&mut self.builds.kept);
        let stays = |kept: GenId| kept != build && Some(kept) != same;
        kept.retain(|kept| stays(*kept) && self.may_return_to(*kept));
        kept.push(build);
        self.builds.kept = kept;
    }

    fn know_as(&mut self, earlier: GenId, build: GenId) {
        self.builds.rename(earlier, build);
        self.recovery.rename(earlier, build);
        let next = self.next.iter_mut().map(|next| &mut next.build);
        let candidate = self
            .candidate
            .iter_mut()
            .map(|candidate| &mut candidate.build);
        next.chain(candidate)
            .for_each(|known| known.is_now(earlier, build));
    }

    /// What is live was put aside before, or was not.
    pub(super) fn went_back(&mut self, back: bool) {
        let candidate = self.candidate.map(|candidate| candidate.build);
        let next = self.next.map(|next| next.build).or(candidate);
        let newer = next.is_some() && next == self.builds.newest;
        self.builds.back = back && !newer;
    }

    /// A change. While hotrun is paused it counts as seen once that ends.
    pub(super) fn changed(&mut self, action: Action) {
        if !self.paused {
            return self.want(action, Cause::Change);
        }
        if self.quit.is_none() {
            let held = self.held.unwrap_or(action);
            self.held = Some(held.max(action));
        }
    }

    /// A reload is of all that there is, so nothing is left to wait.
    pub(super) fn reload(&mut self) {
        self.held = None;
        self.want(Action::Build, Cause::Request);
    }

    pub(super) fn pause(&mut self, out: &mut Response) {
        if self.quit.is_none() && !self.paused {
            self.paused = true;
            out.notices.push(Notice::Paused);
        }
    }

    pub(super) fn resume(&mut self, out: &mut Response) {
        if self.quit.is_some() || !self.paused {
            return;
        }
        self.paused = false;
        out.notices.push(Notice::Resumed);
        for signal in std::mem::take(&mut self.held_signals).numbers() {
            self.configured(signal, out);
        }
        if let Some(action) = self.held.take() {
            self.want(action, Cause::Change);
        }
    }

    /// Back to the build that was live before. Not while another one is about to be started: whatever was last
    /// asked for comes first. One that is still being built will replace it in its turn.
    pub(super) fn undo(&mut self, out: &mut Response) {
        if self.quit.is_some() {
            return;
        }
        let idle = self.next.is_none() && self.candidate.is_none();
        let previous = self.builds.previous.filter(|_| idle && self.policy.builds);
        // It may have come back already, after what followed it has crashed.
        let previous = previous.filter(|previous| self.builds.served != Some(*previous));
        let previous = previous.filter(|previous| self.builds.kept.contains(previous));
        let Some(build) = previous else {
            return out.notices.push(Notice::NothingToUndo);
        };
        self.recovery.wished();
        let id = self.upcoming;
        self.upcoming = id.next();
        // A restart that was asked for meanwhile is this start.
        self.wanted
            .take_if(|wanted: &mut Wanted| wanted.action == Action::Restart);
        self.next = Some(Next {
            id,
            cause: Cause::Undo,
            build,
        });
    }

    /// What drains has had its time.
    pub(super) fn kill_draining(&mut self, now: Time, out: &mut Response) {
        for leaving in &mut self.leaving {
            let kill = leaving.kill(Stopped::Killed);
            if !kill.is_empty() {
                out.notices.push(Notice::Killing {
                    id: leaving.id,
                    why: leaving.how,
                    after: now.since(leaving.since),
                });
            }
            out.effects.extend(kill);
        }
    }
}
