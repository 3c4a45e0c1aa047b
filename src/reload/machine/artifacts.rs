use crate::reload::ArtifactId;

/// The artifacts that can be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Artifacts {
    /// What the last good build made, or the command if nothing is built.
    pub(super) newest: Option<ArtifactId>,
    /// The artifact of the live generation, or of the last one that was live and did not fail.
    pub(super) live: Option<ArtifactId>,
    /// Another one that was live before it.
    pub(super) previous: Option<ArtifactId>,
    /// The live one, if hotrun has rolled back to it and nothing was built since: a restart starts it again.
    pub(super) rolled_back_to: Option<ArtifactId>,
    /// Those that can be started although they are not the newest.
    pub(super) kept: Vec<ArtifactId>,
}

impl Artifacts {
    pub(super) fn new(builds: bool) -> Self {
        Self {
            newest: (!builds).then_some(ArtifactId::FIRST),
            live: None,
            previous: None,
            rolled_back_to: None,
            kept: Vec::new(),
        }
    }

    /// Whether it can be started.
    pub(super) fn has(&self, artifact: ArtifactId) -> bool {
        self.newest == Some(artifact) || self.kept.contains(&artifact)
    }

    /// The kept artifact to roll back to from one that crashed: it was live and did not fail, the last one first.
    pub(super) fn before(&self, crashed: ArtifactId) -> Option<ArtifactId> {
        let mut served = [self.live, self.previous].into_iter().flatten();
        served.find(|artifact| *artifact != crashed && self.kept.contains(artifact))
    }

    /// The last good build made this one.
    pub(super) fn built(&mut self, artifact: ArtifactId) {
        self.newest = Some(artifact);
        self.rolled_back_to = None;
    }

    /// A generation started from this one is live now. `rolled_back`: the artifact is an earlier one, and nothing newer
    /// is about to be started.
    pub(super) fn went_live(&mut self, artifact: ArtifactId, rolled_back: bool) {
        let before = self.live.replace(artifact);
        if before != Some(artifact) {
            self.previous = before.or(self.previous);
        }
        self.rolled_back_to = rolled_back.then_some(artifact);
    }

    /// The live one, which is returned, has failed: hotrun does not roll back to it.
    pub(super) fn failed(&mut self) -> Option<ArtifactId> {
        let failed = self.live.take();
        // It may have been started again since.
        self.previous.take_if(|previous| Some(*previous) == failed);
        self.rolled_back_to = None;
        failed
    }
}
