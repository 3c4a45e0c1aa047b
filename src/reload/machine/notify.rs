//! What a program shows or says about itself besides its readiness (`sd_notify(3)`).

use std::time::Duration;

use super::generation::{Generation, State};
use super::{Machine, Response};
use crate::reload::{Action, Cause, GenEffect, GenId, GenNotice, Time, WatchdogMessage};

impl Machine {
    pub(super) fn listening(&mut self, id: GenId) {
        if let Some(known) = self.find_mut(id) {
            known.listens = true;
            self.recovery.server |= self.live() == Some(id);
        }
    }

    /// It may show only after its switch that it is a server.
    pub(super) fn recognised_as_server(&mut self, id: GenId) {
        if let Some(known) = self.find_mut(id) {
            known.serves = true;
            self.recovery.server |= self.live() == Some(id);
        }
    }

    /// Its start or its end may take longer. Nothing else is bounded.
    pub(super) fn extend_timeout(
        &mut self,
        now: Time,
        id: GenId,
        by: Duration,
        out: &mut Response,
    ) {
        let new = now.plus(by);
        let later = match self.find_mut(id).map(|known| &mut known.state) {
            Some(State::Starting { until, .. }) if new > *until => {
                *until = new;
                true
            }
            Some(State::Draining(drain)) => drain.extend(new),
            Some(State::Starting { .. } | State::Ready { .. } | State::Live) | None => false,
        };
        if !later {
            return;
        }
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.max(new.plus(self.policy.kill_timeout));
        }
        out.notice(id, GenNotice::TimeoutExtended { left: by });
    }

    /// The next generation is to inherit the descriptors, and the last of them may come when this one ends. From now on
    /// each generation ends before the next one starts. One that was started already is restarted to get them; that
    /// happens at most once.
    pub(super) fn stored_fds(&mut self, id: GenId, out: &mut Response) {
        if self.stores_fds || self.quit.is_some() || self.find(id).is_none() {
            return;
        }
        self.stores_fds = true;
        out.notice(id, GenNotice::StoredFds);
        let newer = |known: &Generation| known.drain().is_none() && known.id > id;
        if self.generations.iter().any(newer) {
            self.schedule(Action::Restart, Cause::InheritFds);
        }
    }

    pub(super) fn watchdog(
        &mut self,
        now: Time,
        id: GenId,
        message: WatchdogMessage,
        out: &mut Response,
    ) {
        let counts =
            |known: &&mut Generation| known.drain().is_none() && !known.watchdog.has_fired();
        let Some(known) = self.find_mut(id).filter(counts) else {
            return;
        };
        match message {
            WatchdogMessage::Ping => known.watchdog.ping(now),
            WatchdogMessage::Period(period) => {
                known.watchdog.period = period;
                if !matches!(known.state, State::Starting { .. }) {
                    known.watchdog.restart(now);
                }
            }
            WatchdogMessage::Trigger => self.abort(now, id, None, out),
        }
    }

    /// Time passed: aborts what is hung, and kills what did not end after that.
    pub(super) fn watchdogs(&mut self, now: Time, out: &mut Response) {
        let due = |known: &&Generation| {
            known.drain().is_none() && known.watchdog.deadline().is_some_and(|due| now >= due)
        };
        let due: Vec<Generation> = self.generations.iter().filter(due).copied().collect();
        for Generation { id, watchdog, .. } in due {
            if !watchdog.has_fired() {
                self.abort(now, id, Some(watchdog.period), out);
            } else if let Some(known) = self.find_mut(id) {
                known.watchdog.kill();
                out.effect(id, GenEffect::Kill);
            }
        }
    }

    /// It is still live, or about to be: its end is handled like any crash.
    fn abort(&mut self, now: Time, id: GenId, after: Option<Duration>, out: &mut Response) {
        let until = now.plus(self.policy.stop_timeout);
        if let Some(known) = self.find_mut(id) {
            known.watchdog.abort(until);
        }
        out.effect(id, GenEffect::Abort);
        out.notice(id, GenNotice::Aborting { after });
    }
}
