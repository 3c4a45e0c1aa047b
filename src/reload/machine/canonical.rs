//! For the tests: a machine without what does not matter for its future.

use std::time::Duration;

use super::Machine;
use super::state::{Building, Pending, Queued, Quit};
use crate::reload::{ArtifactId, Cause, GenId, Time};

/// Moves times so that now is always the same moment, and numbers generations from 1 without gaps.
pub(in crate::reload) struct Rename {
    now: Time,
    ids: Vec<GenId>,
    /// Empty where it does not matter which artifact it is.
    artifacts: Vec<ArtifactId>,
}

impl Rename {
    /// The moment that stands for now.
    const NOW: Duration = Duration::from_secs(3600);

    pub(in crate::reload) fn time(&self, time: Time) -> Time {
        let moved = Self::NOW.saturating_add(time.since_start());
        Time::after_start(moved.saturating_sub(self.now.since_start()))
    }

    pub(super) fn is_ahead(&self, time: Time) -> bool {
        time > self.now
    }

    pub(super) const fn tells_artifacts_apart(&self) -> bool {
        !self.artifacts.is_empty()
    }

    pub(in crate::reload) fn is_artifact(&self, id: ArtifactId) -> bool {
        self.artifacts.contains(&id)
    }

    pub(super) fn is_known(&self, id: GenId) -> bool {
        self.ids.contains(&id)
    }

    pub(in crate::reload) fn artifact(&self, id: ArtifactId) -> ArtifactId {
        let rank = self.artifacts.iter().filter(|known| **known < id).count();
        ArtifactId::new(u32::try_from(rank + 1).expect("few artifacts"))
    }

    pub(in crate::reload) fn id(&self, id: GenId) -> GenId {
        let rank = self.ids.iter().filter(|known| **known < id).count();
        GenId::new(u32::try_from(rank + 1).expect("few generations"))
    }
}

impl Machine {
    /// All generations that the machine knows of.
    fn known(&self) -> Vec<GenId> {
        let building = self.building.map(|building| building.id);
        let queued = self.queued.map(|queued| queued.id);
        let started = self.generations.iter().map(|known| known.id);
        let mut ids: Vec<GenId> = started.chain(building).chain(queued).collect();
        ids.sort_unstable();
        ids
    }

    pub(in crate::reload) fn rename(&self, now: Time) -> Rename {
        let mut artifacts = Vec::new();
        if !self.policy.roll_back_within.is_zero() && self.policy.builds {
            let queued = self.queued.map(|queued| queued.artifact);
            let candidate = self.candidate().map(|candidate| candidate.artifact);
            let before = self.recovery.before.and_then(|id| self.artifact(id));
            artifacts.extend(self.artifacts.known().chain(self.recovery.artifacts()));
            artifacts.extend(queued.into_iter().chain(candidate).chain(before));
            artifacts.sort_unstable();
            artifacts.dedup();
        }
        Rename {
            now,
            ids: self.known(),
            artifacts,
        }
    }

    /// Whether a generation that is built waits for room.
    pub(in crate::reload) fn has_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// The same machine for all that it will do: causes and past moments change only what is reported.
    pub(in crate::reload) fn canonical(&self, rename: &Rename) -> Self {
        let cause = Cause::Begin;
        let before = |id| self.recovery.before == Some(id);
        let generations = self.generations.iter();
        let generations = generations.map(|known| known.canonical(rename, before(known.id)));
        Self {
            policy: self.policy.clone(),
            upcoming: rename.id(self.upcoming),
            pending: self.pending.map(|pending| Pending { cause, ..pending }),
            building: self.building.map(|building| Building {
                id: rename.id(building.id),
                since: Time::START,
                cause,
                ..building
            }),
            queued: self.queued.map(|queued| Queued {
                id: rename.id(queued.id),
                cause,
                artifact: rename.artifact(queued.artifact),
            }),
            generations: generations.collect(),
            artifacts: self.artifacts.canonical(rename),
            recovery: self.recovery.canonical(rename, self.live().is_some()),
            stores_fds: self.stores_fds,
            paused: self.paused,
            responding: self.responding,
            quit: self.quit.map(|quit| Quit {
                until: rename.time(quit.until),
                ..quit
            }),
        }
    }
}
