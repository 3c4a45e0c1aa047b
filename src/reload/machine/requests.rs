//! Changes, and what the user asks for.

use super::state::{HeldBack, Pending, Queued};
use super::{Machine, Response};
use crate::reload::{Action, Cause, Notice, Stopped, Time};

impl Machine {
    /// A generation is to be made.
    pub(super) fn schedule(&mut self, action: Action, cause: Cause) {
        if self.quit.is_some() {
            return;
        }
        // Something is new, so a crash of what comes of it counts from the beginning.
        self.recovery.starts = 0;
        let before = self.pending;
        self.pending = Some(Pending {
            action: before.map_or(action, |pending| pending.action.max(action)),
            cause,
            forced: cause == Cause::Request || before.is_some_and(|pending| pending.forced),
        });
    }

    /// Files changed. While hotrun is paused, the change is held back.
    pub(super) fn changed(&mut self, action: Action) {
        match &mut self.paused {
            Some(_) if self.quit.is_some() => {}
            Some(held) => held.action = held.action.max(Some(action)),
            None => self.schedule(action, Cause::Change),
        }
    }

    /// A reload covers all changes, so none is held back any longer.
    pub(super) fn reload(&mut self) {
        if let Some(held) = &mut self.paused {
            held.action = None;
        }
        self.schedule(Action::Build, Cause::Request);
    }

    pub(super) fn pause(&mut self, out: &mut Response) {
        if self.quit.is_none() && self.paused.is_none() {
            self.paused = Some(HeldBack::default());
            out.notices.push(Notice::Paused);
        }
    }

    pub(super) fn resume(&mut self, out: &mut Response) {
        if self.quit.is_some() {
            return;
        }
        let Some(held) = self.paused.take() else {
            return;
        };
        out.notices.push(Notice::Resumed);
        for signal in held.signals.numbers() {
            self.config_changed(signal, out);
        }
        if let Some(action) = held.action {
            self.schedule(action, Cause::Change);
        }
    }

    /// Rolls back to the artifact that was live before. Not while a generation is about to be started: the last request
    /// comes first. A build that is running will replace it later.
    pub(super) fn undo(&mut self, out: &mut Response) {
        if self.quit.is_some() {
            return;
        }
        let idle = self.queued.is_none() && self.candidate().is_none();
        let previous = self.artifacts.previous.filter(|artifact| {
            // It may be live again already, after the one that followed it crashed.
            let other = self.artifacts.live() != Some(*artifact);
            idle && other && self.policy.builds && self.artifacts.is_kept(*artifact)
        });
        let Some(artifact) = previous else {
            return out.notices.push(Notice::NothingToUndo);
        };
        self.recovery.starts = 0;
        // This start is the restart that was due.
        self.pending
            .take_if(|pending: &mut Pending| pending.action == Action::Restart);
        self.queued = Some(Queued {
            id: self.new_id(),
            cause: Cause::Undo,
            artifact,
        });
    }

    pub(super) fn kill_draining(&mut self, now: Time, out: &mut Response) {
        self.drain_all(now, out, |drain, _| drain.kill(Stopped::Killed));
    }
}
