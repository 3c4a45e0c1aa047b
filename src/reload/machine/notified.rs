//! What a program shows or says of itself beside its readiness (`sd_notify(3)`).

use std::time::Duration;

use super::{Machine, Response};
use crate::reload::{
    Action, Cause, Effect, GenEffect, GenId, GenNotice, Notice, Time, WatchdogMessage,
};

/// What is known of the signs of life of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watchdog {
    pub(super) id: GenId,
    /// How often one has to come. Zero: none has to.
    period: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// None has to come yet: it is not ready.
    Asleep,
    /// The next one has to come before this moment.
    Awake(Time),
    /// It was made to end, and is killed at this moment.
    Aborted(Time),
    /// It was killed.
    Killed,
}

impl Watchdog {
    const fn asleep(id: GenId, period: Duration) -> Self {
        let stage = Stage::Asleep;
        Self { id, period, stage }
    }

    fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Awake(until) | Stage::Aborted(until) => Some(until),
            Stage::Asleep | Stage::Killed => None,
        }
    }

    /// The next sign is due one period from now on.
    fn rewind(&mut self, now: Time) {
        self.stage = match self.period {
            Duration::ZERO => Stage::Asleep,
            period => Stage::Awake(now.plus(period)),
        };
    }

    fn has_struck(&self) -> bool {
        match self.stage {
            Stage::Aborted(_) | Stage::Killed => true,
            Stage::Asleep | Stage::Awake(_) => false,
        }
    }
}

impl Machine {
    pub(super) fn listens(&mut self, id: GenId) {
        if self.is_started(id) && !self.listening.contains(&id) {
            self.listening.push(id);
        }
        self.recognise(id);
    }

    pub(super) fn serves_as_told(&mut self, id: GenId) {
        if self.is_started(id) && !self.servers.contains(&id) {
            self.servers.push(id);
        }
        self.recognise(id);
    }

    fn is_started(&self, id: GenId) -> bool {
        let leaving = self.leaving.iter().map(|leaving| leaving.id);
        let candidate = self.candidate.map(|candidate| candidate.id);
        let mut started = leaving.chain(candidate).chain(self.live);
        started.any(|started| started == id)
    }

    /// Its start or its end may take longer. Nothing else of it is bounded.
    pub(super) fn extended(&mut self, now: Time, id: GenId, by: Duration, out: &mut Response) {
        let until = now.plus(by);
        let starting = self
            .candidate
            .as_mut()
            .filter(|candidate| candidate.id == id && candidate.ready.is_none());
        let leaving = self.leaving.iter_mut().find(|leaving| leaving.id == id);
        let later = match (starting, leaving) {
            (Some(candidate), _) => {
                let later = until > candidate.until;
                candidate.until = candidate.until.max(until);
                later
            }
            (None, Some(leaving)) => leaving.extend(until),
            (None, None) => false,
        };
        if !later {
            return;
        }
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.max(until.plus(self.policy.kill_timeout));
        }
        out.notices.push(Notice::Generation(
            id,
            GenNotice::TimeoutExtended { left: by },
        ));
    }

    /// What is stored is for the next one, and the last of it may come when this one ends. So from now on each ends
    /// before the next one starts. One that was started before that was known has to be started anew to get
    /// anything; that is so at most once.
    pub(super) fn stores(&mut self, id: GenId, out: &mut Response) {
        if self.stores || self.quit.is_some() || !self.is_started(id) {
            return;
        }
        self.stores = true;
        out.notices
            .push(Notice::Generation(id, GenNotice::StoredFds));
        let candidate = self.candidate.map(|candidate| candidate.id);
        if candidate.max(self.live) > Some(id) {
            self.want(Action::Restart, Cause::InheritFds);
        }
    }

    pub(super) fn watchdog(
        &mut self,
        now: Time,
        id: GenId,
        sign: WatchdogMessage,
        out: &mut Response,
    ) {
        if !self.is_watched(id) || self.is_aborted(id) {
            return;
        }
        match sign {
            WatchdogMessage::Ping => {
                if let Some(watchdog) = self.watchdogs.iter_mut().find(|known| known.id == id)
                    && watchdog.deadline().is_some()
                {
                    watchdog.rewind(now);
                }
            }
            WatchdogMessage::Period(period) => {
                let asleep = self.candidate.is_some_and(|next| next.ready.is_none())
                    && self.live != Some(id);
                let watchdog = self.watchdog_of(id);
                watchdog.period = period;
                if !asleep {
                    watchdog.rewind(now);
                }
            }
            WatchdogMessage::Trigger => self.abort(now, id, None, out),
        }
    }

    /// It is ready: from now on signs of life have to come.
    pub(super) fn wake_watchdog(&mut self, now: Time, id: GenId) {
        if self.policy.watchdog.is_some() || self.watchdogs.iter().any(|known| known.id == id) {
            self.watchdog_of(id).rewind(now);
        }
    }

    pub(super) fn is_aborted(&self, id: GenId) -> bool {
        let mut known = self.watchdogs.iter();
        known.any(|known| known.id == id && known.has_struck())
    }

    pub(super) fn watchdog_deadlines(&self) -> impl Iterator<Item = Time> {
        let watched = self.watchdogs.iter();
        watched
            .filter(|known| self.is_watched(known.id))
            .filter_map(Watchdog::deadline)
    }

    /// Time passed.
    pub(super) fn watch(&mut self, now: Time, out: &mut Response) {
        let due = |known: &Watchdog| known.deadline().is_some_and(|until| now >= until);
        let all = self.watchdogs.clone();
        for known in all.iter().filter(|known| due(known)) {
            let id = known.id;
            if !self.is_watched(id) {
                continue;
            }
            if known.has_struck() {
                self.watchdog_of(id).stage = Stage::Killed;
                out.effects.push(Effect::Generation(id, GenEffect::Kill));
            } else {
                self.abort(now, id, Some(known.period), out);
            }
        }
    }

    /// Whoever leaves has a limit already.
    fn is_watched(&self, id: GenId) -> bool {
        self.live == Some(id) || self.candidate.is_some_and(|candidate| candidate.id == id)
    }

    fn watchdog_of(&mut self, id: GenId) -> &mut Watchdog {
        let known = self.watchdogs.iter().position(|known| known.id == id);
        let index = known.unwrap_or_else(|| {
            let period = self.policy.watchdog.unwrap_or_default();
            self.watchdogs.push(Watchdog::asleep(id, period));
            self.watchdogs.len() - 1
        });
        &mut self.watchdogs[index]
    }

    /// It is still live, or is about to be: that it has ended is told by its end, as of any that crashes.
    fn abort(&mut self, now: Time, id: GenId, after: Option<Duration>, out: &mut Response) {
        let until = now.plus(self.policy.stop_timeout);
        self.watchdog_of(id).stage = Stage::Aborted(until);
        out.effects.push(Effect::Generation(id, GenEffect::Abort));
        out.notices
            .push(Notice::Generation(id, GenNotice::Aborting { after }));
    }

    /// For the tests alone: what matters of them.
    #[cfg(test)]
    pub(super) fn canonical_watchdogs(&self, rename: &super::canonical::Rename) -> Vec<Watchdog> {
        let watched = self.watchdogs.iter();
        let watched = watched.filter(|known| self.is_watched(known.id));
        let mut watched: Vec<_> = watched
            .map(|known| Watchdog {
                id: rename.id(known.id),
                stage: match known.stage {
                    Stage::Awake(until) => Stage::Awake(rename.time(until)),
                    Stage::Aborted(until) => Stage::Aborted(rename.time(until)),
                    Stage::Asleep | Stage::Killed => known.stage,
                },
                ..*known
            })
            .collect();
        watched.sort_unstable_by_key(|known| known.id);
        watched
    }
}
