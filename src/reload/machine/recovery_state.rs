use crate::reload::{ArtifactId, Cause, Failure, GenId, Time};

/// The live generation crashed, and nothing was started because of that yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Crash {
    pub(super) id: GenId,
    pub(super) artifact: ArtifactId,
    /// Whether the artifact is to blame.
    pub(super) blamed: bool,
    /// When it is started again.
    pub(super) restart_at: Option<Time>,
}

/// This generation is to be live again, and it is not known yet whether it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Restoring {
    pub(super) id: GenId,
    /// The generation that crashed, and how.
    pub(super) crashed: (GenId, Failure),
}

/// What follows should the live generation crash, or because it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Recovery {
    /// Until when a crash of the live generation is blamed on its artifact.
    pub(super) blame_until: Option<Time>,
    /// The artifact of the generation that was live before the live one, even if that one crashed. The same artifact
    /// again is not to blame for a crash: something else must be new.
    pub(super) replaced: Option<ArtifactId>,
    /// The generation that was live before the live one. It may be live again while it drains.
    pub(super) before: Option<GenId>,
    pub(super) crash: Option<Crash>,
    /// The crash because of which hotrun is rolling back, until the earlier artifact is live.
    pub(super) rolling_back: Option<Crash>,
    pub(super) restoring: Option<Restoring>,
    /// Whether the generation that was live last is a server. Any other program may be a job that is done.
    pub(super) server: bool,
    /// How many starts have followed from crashes alone.
    pub(super) starts: u8,
}

impl Recovery {
    pub(super) const NONE: Self = Self {
        blame_until: None,
        replaced: None,
        before: None,
        crash: None,
        rolling_back: None,
        restoring: None,
        server: false,
        starts: 0,
    };

    /// A generation is being started. Whether because of the crash, its cause says.
    pub(super) const fn started(&mut self, cause: Cause) {
        match cause {
            Cause::RollBack => self.rolling_back = self.crash.take(),
            Cause::Crash => self.crash = None,
            Cause::Begin | Cause::Change | Cause::Request | Cause::Undo | Cause::InheritFds => {
                return;
            }
        }
        self.starts += 1;
    }

    /// The artifacts that may be started because of a crash.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = ArtifactId> {
        let crashes = self.crash.into_iter().chain(self.rolling_back);
        crashes.map(|crash| crash.artifact)
    }

    pub(super) fn restart_at(&self) -> Option<Time> {
        self.crash.and_then(|crash| crash.restart_at)
    }

    /// For the tests: the same for all that it will do. `live`: whether a generation is live.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename, live: bool) -> Self {
        let crash = |crash: Crash| Crash {
            id: GenId::FIRST,
            artifact: rename.artifact(crash.artifact),
            restart_at: crash.restart_at.map(|at| rename.time(at)),
            ..crash
        };
        let ahead = self.blame_until.filter(|at| live && rename.is_ahead(*at));
        let replaced = self.replaced.filter(|known| rename.is_artifact(*known));
        let before = self.before.filter(|id| rename.is_known(*id));
        Self {
            blame_until: ahead.map(|at| rename.time(at)),
            // Otherwise it is never started again.
            replaced: replaced.map(|known| rename.artifact(known)),
            before: before.map(|id| rename.id(id)),
            crash: self.crash.map(crash),
            rolling_back: self.rolling_back.map(crash),
            // Which generation crashed is only reported.
            restoring: self.restoring.map(|restoring| Restoring {
                id: rename.id(restoring.id),
                crashed: (GenId::FIRST, Failure::Vanished),
            }),
            ..*self
        }
    }
}
