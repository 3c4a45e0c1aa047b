//! What programs report about themselves, except their readiness (`sd_notify(3)`).

use std::time::Duration;

use super::generation::{GenState, Generation, Watchdog};
use super::{Machine, Turn};
use crate::reload::{Action, Cause, GenEffect, GenId, GenNotice, WatchdogMessage};

impl Machine {
    /// Records that the program is a server, which may turn out only after its switch. `listens`: whether it listens on an
    /// address that others can share.
    pub(super) fn recognised_as_server(&mut self, id: GenId, listens: bool) {
        if let Some(known) = self.find_mut(id) {
            known.listens |= listens;
            known.is_server = true;
            self.recovery.is_server |= self.live() == Some(id);
        }
    }

    pub(super) fn reports_writes(&mut self, id: GenId) {
        if let Some(known) = self.find_mut(id) {
            known.reports_writes = true;
        }
    }

    /// Gives a program more time to start or to end.
    pub(super) fn extend_timeout(&mut self, id: GenId, by: Duration, turn: &mut Turn) {
        let new = turn.now.plus(by);
        let later = match self.find_mut(id).map(|known| &mut known.state) {
            Some(GenState::Starting { until, .. }) if new > *until => {
                *until = new;
                true
            }
            Some(GenState::Draining(drain)) => drain.extend(new),
            Some(
                GenState::Starting { .. }
                | GenState::Ready { .. }
                | GenState::Sharing(_)
                | GenState::Live,
            )
            | None => false,
        };
        if !later {
            return;
        }
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.max(new.plus(self.policy.kill_timeout));
        }
        turn.notice(id, GenNotice::TimeoutExtended { left: by });
    }

    /// Records that the program stores descriptors. The next generation must inherit them, and this one may still store
    /// some when it ends, so from now on each generation ends before the next one starts. If a newer generation has
    /// already been started, it is restarted to inherit them, at most once.
    pub(super) fn stored_fds(&mut self, id: GenId, turn: &mut Turn) {
        if self.stores_fds || self.quit.is_some() || self.find(id).is_none() {
            return;
        }
        self.stores_fds = true;
        turn.notice(id, GenNotice::StoredFds);
        let newer = |known: &Generation| !known.is_draining() && known.id > id;
        if self.generations.iter().any(newer) {
            self.schedule(Action::Restart, Cause::InheritFds);
        }
    }

    pub(super) fn watchdog(&mut self, id: GenId, message: WatchdogMessage, turn: &mut Turn) {
        let stop_timeout = self.policy.stop_timeout;
        let counts = |known: &&mut Generation| !known.is_draining() && !known.watchdog.fired;
        let Some(known) = self.find_mut(id).filter(counts) else {
            return;
        };
        match message {
            WatchdogMessage::Ping if known.watchdog.due.is_some() => {
                known.watchdog.restart(turn.now);
            }
            WatchdogMessage::Ping => {}
            WatchdogMessage::Period(period) => {
                known.watchdog.period = period;
                if !matches!(known.state, GenState::Starting { .. }) {
                    known.watchdog.restart(turn.now);
                }
            }
            WatchdogMessage::Trigger => abort(known, None, stop_timeout, turn),
        }
    }

    /// Aborts programs that hang, and kills aborted programs that did not end in time.
    pub(super) fn watchdogs(&mut self, turn: &mut Turn) {
        let now = turn.now;
        let is_due = |watchdog: Watchdog| watchdog.due.is_some_and(|due| now >= due);
        for known in &mut self.generations {
            if known.is_draining() || !is_due(known.watchdog) {
                continue;
            }
            if !known.watchdog.fired {
                let after = Some(known.watchdog.period);
                abort(known, after, self.policy.stop_timeout, turn);
            }
            if is_due(known.watchdog) {
                known.watchdog.due = None;
                turn.effect(known.id, GenEffect::Kill);
            }
        }
    }
}

/// Aborts a hung program. The phase of its generation does not change: the end of the program is handled like any crash.
fn abort(known: &mut Generation, after: Option<Duration>, stop_timeout: Duration, turn: &mut Turn) {
    known.watchdog.fired = true;
    known.watchdog.due = Some(turn.now.plus(stop_timeout));
    turn.effect(known.id, GenEffect::Abort);
    turn.notice(known.id, GenNotice::Aborting { after });
}
