//! Changes that the program takes over on a signal.

use super::{Machine, Response};
use crate::reload::{Action, Cause, GenEffect, GenId, GenNotice};

impl Machine {
    /// Signals the live generation. One that is starting may not handle the signal yet and would die of it: it gets it
    /// once it is live. One that will be started reads the new files.
    pub(super) fn config_changed(&mut self, signal: i32, out: &mut Response) {
        if self.quit.is_some() {
            return;
        }
        if let Some(held) = &mut self.paused {
            return held.signals.add(signal);
        }
        let live = self.live();
        let before = self.recovery.before;
        for known in &mut self.generations {
            if known.is_candidate() || before == Some(known.id) {
                known.owed.add(signal);
            }
        }
        match live {
            Some(id) => out.effect(id, GenEffect::SendReloadSignal { signal }),
            None if self.is_busy() => {}
            None => self.schedule(Action::Restart, Cause::Change),
        }
    }

    pub(super) fn reload_signal_sent(
        &mut self,
        id: GenId,
        signal: i32,
        handled: bool,
        out: &mut Response,
    ) {
        if self.live() != Some(id) || self.quit.is_some() {
            return;
        }
        if handled {
            return out.notice(id, GenNotice::ReloadSignalSent { signal });
        }
        out.notice(id, GenNotice::ReloadSignalUnhandled { signal });
        self.schedule(Action::Restart, Cause::Change);
    }
}
