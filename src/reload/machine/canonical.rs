//! For the tests alone: a machine without what does not matter for its future.

use super::{Building, Candidate, Machine, Next, Quit};
use crate::reload::{Cause, GenId, Time};
use std::time::Duration;

/// Moves times so that now is always the same moment, and numbers generations from 1 without gaps.
pub(in crate::reload) struct Rename {
    now: Time,
    ids: Vec<GenId>,
    /// None where it does not matter which build it is.
    builds: Vec<GenId>,
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

    pub(super) const fn tells_builds_apart(&self) -> bool {
        !self.builds.is_empty()
    }

    pub(in crate::reload) fn is_build(&self, id: GenId) -> bool {
        self.builds.contains(&id)
    }

    pub(in crate::reload) fn build(&self, id: GenId) -> GenId {
        let rank = self.builds.iter().filter(|known| **known < id).count();
        GenId::new(u32::try_from(rank + 1).expect("few builds"))
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
        let mut builds = Vec::new();
        if !self.policy.go_back_within.is_zero() && self.policy.builds {
            let next = self.next.map(|next| next.build);
            let candidate = self.candidate.map(|candidate| candidate.build);
            builds.extend(self.builds.known().chain(self.recovery.builds()));
            let building = self.building.map(|building| building.id);
            builds.extend(next.into_iter().chain(candidate).chain(building));
            builds.sort_unstable();
            builds.dedup();
        }
        Rename { now, ids, builds }
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
                build: rename.build(next.build),
            }),
            candidate: self.candidate.map(|candidate| Candidate {
                id: rename.id(candidate.id),
                build: rename.build(candidate.build),
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
            builds: self.builds.canonical(rename),
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
