use crate::reload::ArtifactId;

/// The artifacts that can be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Artifacts {
    /// What the last good build made.
    pub(super) newest: Option<ArtifactId>,
    /// The artifact of the live generation, or of the last one that was live and did not fail.
    live: Option<ArtifactId>,
    /// Another one that was live before it.
    pub(super) previous: Option<ArtifactId>,
    /// Whether hotrun has rolled back to the live one, and nothing was built since: a restart starts it again.
    rolled_back: bool,
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
            live: None,
            previous: None,
            rolled_back: false,
            kept: Vec::new(),
        }
    }

    /// All that hotrun may start again.
    pub(super) fn known(&self) -> impl Iterator<Item = ArtifactId> {
        let known = [self.newest, self.live, self.previous];
        known.into_iter().flatten()
    }

    pub(super) const fn live(&self) -> Option<ArtifactId> {
        self.live
    }

    pub(super) fn is_kept(&self, artifact: ArtifactId) -> bool {
        self.kept.contains(&artifact)
    }

    /// Whether it can be started.
    pub(super) fn has(&self, artifact: ArtifactId) -> bool {
        self.newest == Some(artifact) || self.is_kept(artifact)
    }

    /// The kept artifact to roll back to from one that crashed: it was live and did not fail, the last one first.
    pub(super) fn before(&self, crashed: ArtifactId) -> Option<ArtifactId> {
        let served = [self.live, self.previous].into_iter().flatten();
        let mut kept = served.filter(|artifact| self.is_kept(*artifact));
        kept.find(|artifact| *artifact != crashed)
    }

    /// The live one, if hotrun has rolled back to it.
    pub(super) fn rolled_back_to(&self) -> Option<ArtifactId> {
        self.live.filter(|_| self.rolled_back)
    }

    /// The last good build made this one.
    pub(super) const fn built(&mut self, artifact: ArtifactId) {
        self.newest = Some(artifact);
        self.rolled_back = false;
    }

    /// This one is kept from now on, and of the others those that are needed.
    pub(super) fn keep(&mut self, artifact: ArtifactId, needed: impl Fn(ArtifactId) -> bool) {
        self.kept.retain(|kept| *kept != artifact && needed(*kept));
        self.kept.push(artifact);
    }

    /// What was kept of it is gone.
    pub(super) fn lose(&mut self, artifact: ArtifactId) {
        self.kept.retain(|kept| *kept != artifact);
    }

    /// A generation started from this one is live now. `rolled_back`: the artifact is an earlier one, and nothing newer
    /// is about to be started.
    pub(super) fn went_live(&mut self, artifact: ArtifactId, rolled_back: bool) {
        let before = self.live.replace(artifact);
        if let Some(before) = before.filter(|before| *before != artifact) {
            self.previous = Some(before);
        }
        self.rolled_back = rolled_back;
    }

    /// The live one, which is returned, has failed: hotrun does not roll back to it.
    pub(super) fn failed(&mut self) -> Option<ArtifactId> {
        let failed = self.live.take();
        // It may have been started again since.
        self.previous.take_if(|previous| Some(*previous) == failed);
        failed
    }

    /// For the tests. Which artifact it was matters only for undo and rolling back.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename) -> Self {
        let known = |artifact: Option<ArtifactId>| artifact.map(|known| rename.artifact(known));
        if !rename.tells_artifacts_apart() {
            return Self {
                newest: known(self.newest),
                ..Self::new(true)
            };
        }
        let kept = self.kept.iter().filter(|kept| rename.is_artifact(**kept));
        let mut kept: Vec<_> = kept.map(|kept| rename.artifact(*kept)).collect();
        kept.sort_unstable();
        Self {
            newest: known(self.newest),
            live: known(self.live),
            previous: known(self.previous),
            rolled_back: self.rolled_back,
            kept,
        }
    }
}
