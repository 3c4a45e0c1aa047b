//! What others may ask the machine.

use super::Machine;
use crate::reload::{ArtifactId, GenId, Phase};

impl Machine {
    /// The generation to which new connections go.
    pub const fn live(&self) -> Option<GenId> {
        self.live
    }

    /// Whether this artifact may be started although it is not the newest. If not, it need not be kept.
    pub fn needs(&self, artifact: ArtifactId) -> bool {
        let next = self.next.map(|next| next.artifact);
        let candidate = self.candidate.map(|candidate| candidate.artifact);
        let mut known = self.artifacts.known().chain(self.recovery.artifacts());
        known.any(|known| known == artifact)
            || next == Some(artifact)
            || candidate == Some(artifact)
    }

    /// Whether hotrun is quitting.
    pub const fn is_quitting(&self) -> bool {
        self.quit.is_some()
    }

    /// Whether changes are held back.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// The phase of a generation. One that is built and waits for room to start counts as building; one that
    /// was never heard of counts as gone.
    pub fn phase(&self, id: GenId) -> Phase {
        let building = self.building.map(|building| building.id);
        let next = self.next.map(|next| next.id);
        match self.candidate {
            Some(candidate) if candidate.id == id && candidate.ready.is_some() => Phase::Ready,
            Some(candidate) if candidate.id == id => Phase::Starting,
            Some(_) | None if self.live == Some(id) => Phase::Live,
            Some(_) | None if building == Some(id) || next == Some(id) => Phase::Building,
            Some(_) | None if self.leaving.iter().any(|leaving| leaving.id == id) => {
                Phase::Draining
            }
            Some(_) | None => Phase::Gone,
        }
    }

    /// What this generation, which is starting or live, was started from.
    pub fn artifact(&self, id: GenId) -> Option<ArtifactId> {
        match self.candidate {
            Some(candidate) if candidate.id == id => Some(candidate.artifact),
            Some(_) | None if self.live == Some(id) => self.artifacts.served(),
            Some(_) | None => None,
        }
    }
}
