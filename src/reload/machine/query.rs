//! What the driver may ask the machine.

use super::Machine;
use crate::reload::{ArtifactId, GenId, Phase, Policy, Time};

impl Machine {
    /// The next moment at which the machine wants [`Event::Tick`](crate::reload::Event::Tick), if there is one.
    pub fn deadline(&self) -> Option<Time> {
        let generations = self.generations.iter();
        let generations = generations.filter_map(|known| known.deadline(&self.policy));
        let other = match self.quit {
            Some(quit) if quit.finished => None,
            Some(quit) => Some(quit.until),
            None => self.recovery.restart_at(),
        };
        generations.chain(other).min()
    }

    /// The policy that it follows.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The generation to which new connections go.
    pub fn live(&self) -> Option<GenId> {
        self.live_generation().map(|live| live.id)
    }

    /// Whether hotrun is quitting.
    pub const fn is_quitting(&self) -> bool {
        self.quit.is_some()
    }

    /// Whether changes are held back.
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// The phase of a generation. One that is built and waits for room to start counts as building, an unknown one as
    /// gone.
    pub fn phase(&self, id: GenId) -> Phase {
        let building = self.building.is_some_and(|building| building.id == id);
        let queued = self.queued.is_some_and(|queued| queued.id == id);
        match self.find(id) {
            Some(known) => known.phase(),
            None if building || queued => Phase::Building,
            None => Phase::Gone,
        }
    }

    /// What this generation was started from.
    pub fn artifact(&self, id: GenId) -> Option<ArtifactId> {
        self.find(id).map(|known| known.artifact)
    }

    /// Whether this artifact may be started although it is not the newest. If not, it need not be kept.
    pub fn needs(&self, artifact: ArtifactId) -> bool {
        let queued = self.queued.map(|queued| queued.artifact);
        let candidate = self.candidate().map(|candidate| candidate.artifact);
        let before = self.recovery.before.and_then(|id| self.artifact(id));
        let known = self.artifacts.known().chain(self.recovery.artifacts());
        let mut all = known.chain(queued).chain(candidate).chain(before);
        all.any(|known| known == artifact)
    }
}
