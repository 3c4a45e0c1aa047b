//! For the tests alone: a machine without what does not matter for its future.

use super::{Building, Candidate, Machine, Next, Quit};
use crate::reload::{ArtifactId, Cause, GenId, Time};
use std::time::Duration;

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
    pub(in crate::reload) fn known(&self) -> Vec<GenId> {
        let building = self.building.map(|building| building.id);
        let next = self.next.map(|next| next.id);
        let candidate = self.candidate.map(|candidate| candidate.id);
        let single = [building, next, candidate, self.live];
        let leaving = self.leaving.iter().map(|leaving| leaving.id);
        let mut ids: Vec<GenId> = single.into_iter().flatten().chain(leaving).collect();
        ids.sort_unstable();
        ids
    }

    pub(in crate::reload) fn rename(&self, now: Time) -> Rename {
        let ids = self.known();
        let mut artifacts = Vec::new();
        if !self.policy.roll_back_within.is_zero() && self.policy.builds {
            let next = self.next.map(|next| next.artifact);
            let candidate = self.candidate.map(|candidate| candidate.artifact);
            artifacts.extend(self.artifacts.known().chain(self.recovery.artifacts()));
            artifacts.extend(next.into_iter().chain(candidate));
            artifacts.sort_unstable();
            artifacts.dedup();
        }
        Rename {
            now,
            ids,
            artifacts,
        }
    }

    /// Whether a generation that is built waits for room.
    pub(in crate::reload) fn something_waits(&self) -> bool {
        self.next.is_some()
    }

    /// The same machine for all that it will do: causes and past moments change only what is told.
    pub(in crate::reload) fn canonical(&self, rename: &Rename) -> Self {
        let cause = Cause::Begin;
        let mut leaving: Vec<_> = self
            .leaving
            .iter()
            .map(|leaving| leaving.canonical(rename))
            .collect();
        leaving.sort_unstable_by_key(|leaving| leaving.id);
        let mut listening: Vec<_> = self.listening.iter().map(|id| rename.id(*id)).collect();
        listening.sort_unstable();
        let mut servers: Vec<_> = self.servers.iter().map(|id| rename.id(*id)).collect();
        servers.sort_unstable();
        Self {
            policy: self.policy.clone(),
            upcoming: rename.id(self.upcoming),
            wanted: self.wanted.map(|wanted| super::Wanted { cause, ..wanted }),
            building: self.building.map(|building| Building {
                id: rename.id(building.id),
                since: Time::START,
                cause,
                ..building
            }),
            next: self.next.map(|next| Next {
                id: rename.id(next.id),
                cause,
                artifact: rename.artifact(next.artifact),
            }),
            candidate: self.candidate.map(|candidate| Candidate {
                id: rename.id(candidate.id),
                artifact: rename.artifact(candidate.artifact),
                again: candidate.again,
                since: Time::START,
                until: match candidate.ready {
                    Some(_) => Time::START,
                    None => rename.time(candidate.until),
                },
                ready: candidate.ready.map(|_| Time::START),
                owed: candidate.owed,
            }),
            live: self.live.map(|live| rename.id(live)),
            leaving,
            listening,
            servers,
            watchdogs: self.canonical_watchdogs(rename),
            stores: self.stores,
            artifacts: self.artifacts.canonical(rename),
            recovery: self.canonical_recovery(rename),
            paused: self.paused,
            held: self.held,
            held_signals: self.held_signals,
            answers: self.answers,
            quit: self.quit.map(|quit| Quit {
                until: rename.time(quit.until),
                ..quit
            }),
        }
    }
}
