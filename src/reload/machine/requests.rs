//! What the user may ask for besides a reload and the end.

use super::{Cause, Machine, Next, Response, Wanted};
use crate::reload::{Action, ArtifactId, GenNotice, Notice, Stopped, Time};

/// Which artifacts there are to start from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Artifacts {
    /// What the last good build made.
    pub(super) newest: Option<ArtifactId>,
    /// What was live last and did not fail.
    served: Option<ArtifactId>,
    /// Another one that was live before it.
    previous: Option<ArtifactId>,
    /// Whether hotrun has rolled back to the live one, and nothing was built since: a restart starts it again.
    back: bool,
    /// Those that can be started although they are not the newest.
    kept: Vec<ArtifactId>,
}

impl Artifacts {
    /// Without builds, the command is the one artifact.
    pub(super) const fn new(builds: bool) -> Self {
        Self {
            newest: if builds {
                None
            } else {
                Some(ArtifactId::FIRST)
            },
            served: None,
            previous: None,
            back: false,
            kept: Vec::new(),
        }
    }

    /// For the tests alone: which artifact it was matters for what is undone and rolled back to, and whether there is
    /// one for everything.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename) -> Self {
        let newest = self.newest.map(|newest| rename.artifact(newest));
        if !rename.tells_artifacts_apart() {
            return Self {
                newest,
                ..Self::new(true)
            };
        }
        let kept = self.kept.iter().filter(|kept| rename.is_artifact(**kept));
        let mut kept: Vec<_> = kept.map(|kept| rename.artifact(*kept)).collect();
        kept.sort_unstable();
        Self {
            newest,
            served: self.served.map(|served| rename.artifact(served)),
            previous: self.previous.map(|previous| rename.artifact(previous)),
            back: self.back,
            kept,
        }
    }

    pub(super) fn known(&self) -> impl Iterator<Item = ArtifactId> {
        let known = [self.newest, self.served, self.previous];
        known.into_iter().flatten()
    }

    /// What was live and did not fail, the last one first, as far as it is kept.
    pub(super) fn kept_of_served(&self) -> impl Iterator<Item = ArtifactId> {
        let served = [self.served, self.previous].into_iter().flatten();
        served.filter(|artifact| self.kept.contains(artifact))
    }

    /// The live one.
    pub(super) const fn served(&self) -> Option<ArtifactId> {
        self.served
    }

    /// This one is live now.
    pub(super) fn serves(&mut self, artifact: ArtifactId) {
        let before = self.served.replace(artifact);
        if let Some(before) = before.filter(|before| *before != artifact) {
            self.previous = Some(before);
        }
    }

    /// The live one, which is returned, has failed: nothing rolls back to it.
    pub(super) fn failed(&mut self) -> Option<ArtifactId> {
        let failed = self.served.take();
        // It may have been started again since.
        self.previous.take_if(|previous| Some(*previous) == failed);
        failed
    }

    /// It is what the last good build made.
    pub(super) const fn made(&mut self, artifact: ArtifactId) {
        self.newest = Some(artifact);
        self.back = false;
    }

    /// The live one, if hotrun has rolled back to it.
    pub(super) fn rolled_back_to(&self) -> Option<ArtifactId> {
        self.served.filter(|_| self.back)
    }

    /// Whether it can be started.
    pub(super) fn has(&self, artifact: ArtifactId) -> bool {
        self.newest == Some(artifact) || self.kept.contains(&artifact)
    }

    /// It can be started only while it is the newest.
    pub(super) fn lose(&mut self, artifact: ArtifactId) {
        self.kept.retain(|kept| *kept != artifact);
    }
}

impl Machine {
    /// This artifact is kept from now on. Those that are not needed are let go.
    pub(super) fn keep(&mut self, artifact: ArtifactId) {
        let mut kept = std::mem::take(&mut self.artifacts.kept);
        kept.retain(|kept| *kept != artifact && self.needs(*kept));
        kept.push(artifact);
        self.artifacts.kept = kept;
    }

    /// What is live was put aside before, or was not.
    pub(super) fn rolled_back(&mut self, back: bool) {
        let candidate = self.candidate.map(|candidate| candidate.artifact);
        let next = self.next.map(|next| next.artifact).or(candidate);
        let newer = next.is_some() && next == self.artifacts.newest;
        self.artifacts.back = back && !newer;
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
        let previous = self
            .artifacts
            .previous
            .filter(|_| idle && self.policy.builds);
        // It may have come back already, after what followed it has crashed.
        let previous = previous.filter(|previous| self.artifacts.served != Some(*previous));
        let previous = previous.filter(|previous| self.artifacts.kept.contains(previous));
        let Some(artifact) = previous else {
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
            artifact,
        });
    }

    /// What drains has had its time.
    pub(super) fn kill_draining(&mut self, now: Time, out: &mut Response) {
        for leaving in &mut self.leaving {
            let kill = leaving.kill(Stopped::Killed);
            if !kill.is_empty() {
                out.notices.push(Notice::Generation(
                    leaving.id,
                    GenNotice::Killing {
                        why: leaving.how,
                        after: now.since(leaving.since),
                    },
                ));
            }
            out.effects.extend(kill);
        }
    }
}
