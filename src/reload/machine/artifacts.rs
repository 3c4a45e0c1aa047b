use crate::reload::ArtifactId;

/// The artifacts that can be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Artifacts {
    /// The artifact of the last successful build, or the command if nothing is built.
    pub(super) newest: Option<ArtifactId>,
    /// The artifact of the live generation, or of the last generation that was live and did not fail.
    pub(super) live: Option<ArtifactId>,
    /// A different artifact that was live before `live`.
    pub(super) previous: Option<ArtifactId>,
    /// The live artifact, if hotrun has rolled back to it and nothing has been built since. A restart starts it again.
    pub(super) rolled_back_to: Option<ArtifactId>,
    /// The artifacts that can be started even if they are not the newest.
    pub(super) kept: Vec<ArtifactId>,
}

impl Artifacts {
    /// Whether this artifact can be started.
    pub(super) fn has(&self, artifact: ArtifactId) -> bool {
        self.newest == Some(artifact) || self.kept.contains(&artifact)
    }

    /// The artifact to roll back to after `crashed` has crashed: the last other kept artifact that was live and did not
    /// fail.
    pub(super) fn before(&self, crashed: ArtifactId) -> Option<ArtifactId> {
        let mut served = [self.live, self.previous].into_iter().flatten();
        served.find(|artifact| *artifact != crashed && self.kept.contains(artifact))
    }

    /// Records that a build has produced this artifact.
    pub(super) fn built(&mut self, artifact: ArtifactId) {
        self.newest = Some(artifact);
        self.rolled_back_to = None;
    }

    /// Records that a generation with this artifact is live. `rolled_back`: whether the artifact is an earlier one and
    /// nothing newer is about to be started.
    pub(super) fn went_live(&mut self, artifact: ArtifactId, rolled_back: bool) {
        let before = self.live.replace(artifact);
        if before != Some(artifact) {
            self.previous = before.or(self.previous);
        }
        self.rolled_back_to = rolled_back.then_some(artifact);
    }

    /// Records that the live artifact has failed, so that hotrun does not roll back to it. Returns that artifact.
    pub(super) fn failed(&mut self) -> Option<ArtifactId> {
        let failed = self.live.take();
        // After a rollback, the same artifact may also be the previous one.
        self.previous.take_if(|previous| Some(*previous) == failed);
        self.rolled_back_to = None;
        failed
    }
}
