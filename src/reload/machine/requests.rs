//! Handles changes and the user's requests.

use super::state::{HeldBack, Pending};
use super::{Machine, Turn};
use crate::reload::{Action, Cause, GenEffect, GenId, GenNotice, Notice};

impl Machine {
    pub(super) fn changed(&mut self, action: Action) {
        match (&mut self.paused, action) {
            // Held back until hotrun is resumed.
            (Some(held), Action::Build) => held.build = true,
            (Some(held), Action::Restart) => held.restart = true,
            (None, action) => self.schedule(action, Cause::Change),
        }
    }

    /// Records that a build or restart is wanted, together with one that is already pending. `advance` acts on it.
    pub(super) fn schedule(&mut self, action: Action, cause: Cause) {
        // A change or a request resets the count of starts that were caused by crashes alone.
        self.recovery.starts = 0;
        self.must_start |= cause == Cause::Request || action == Action::Restart;
        let before = self.pending.map(|pending| pending.action);
        let action = before.map_or(action, |before| before.max(action));
        self.pending = Some(Pending { action, cause });
    }

    /// Handles changes to files that the program reloads when it gets a signal. A starting generation may not handle
    /// the signal yet and would then be killed by it, so it gets the signal once it is live. A generation that is
    /// started later reads the new files anyway.
    pub(super) fn config_changed(&mut self, signal: i32, turn: &mut Turn) {
        if let Some(held) = &mut self.paused {
            return held.signals.add(signal);
        }
        let before = self.recovery.before;
        for known in &mut self.generations {
            if known.is_candidate() || known.is_kept() || before == Some(known.id) {
                known.owed.add(signal);
            }
        }
        match self.live() {
            Some(id) => turn.effect(id, GenEffect::SendReloadSignal { signal }),
            None if self.is_busy() => {}
            None => self.schedule(Action::Restart, Cause::Change),
        }
    }

    /// Reports that the live program got the signal, or restarts the program if it does not handle the signal.
    pub(super) fn reload_signal_sent(
        &mut self,
        id: GenId,
        signal: i32,
        handled: bool,
        turn: &mut Turn,
    ) {
        if self.live() != Some(id) || self.quit.is_some() {
            return;
        }
        if handled {
            return turn.notice(id, GenNotice::ReloadSignalSent { signal });
        }
        turn.notice(id, GenNotice::ReloadSignalUnhandled { signal });
        self.schedule(Action::Restart, Cause::Change);
    }

    /// Handles a request to reload, which covers all changes that were held back.
    pub(super) fn reload(&mut self) {
        if let Some(held) = &mut self.paused {
            (held.build, held.restart) = (false, false);
        }
        self.schedule(Action::Build, Cause::Request);
    }

    pub(super) fn pause(&mut self, turn: &mut Turn) {
        if self.paused.is_none() {
            self.paused = Some(HeldBack::default());
            turn.reaction.notices.push(Notice::Paused);
        }
    }

    pub(super) fn resume(&mut self, turn: &mut Turn) {
        let Some(held) = self.paused.take() else {
            return;
        };
        turn.reaction.notices.push(Notice::Resumed);
        for signal in held.signals.numbers() {
            self.config_changed(signal, turn);
        }
        if held.build {
            self.schedule(Action::Build, Cause::Change);
        }
        if held.restart {
            self.schedule(Action::Restart, Cause::Change);
        }
    }

    /// Cancels the reload in progress. If there is none, or no generation would then be live, switches back to the kept
    /// generation or rolls back to the artifact that was live before, unless another generation is about to be started.
    pub(super) fn undo(&mut self, turn: &mut Turn) {
        if let Some(live) = self
            .live()
            .filter(|_| self.is_busy() && !self.is_switching())
        {
            return self.cancel_reload(live, turn);
        }
        let idle = self.queued.is_none() && self.candidate().is_none();
        let kept = self.kept().filter(|_| idle);
        let previous = self.artifacts.previous.filter(|artifact| {
            // The previous artifact may already be live again because its successor crashed.
            let other = self.artifacts.live != Some(*artifact);
            idle && other && self.artifacts.kept.contains(artifact)
        });
        match (kept, previous) {
            (Some(id), _) => self.switch_back(id, turn),
            (None, Some(artifact)) => self.queue(artifact, Cause::Undo),
            (None, None) => return turn.reaction.notices.push(Notice::NothingToUndo),
        }
        self.recovery.starts = 0;
        // The undo also serves as the pending restart, and replaces the build.
        self.pending = None;
        self.cancel_build(turn);
    }

    /// Cancels the build and the start in progress, so that this generation stays live. Until the next build, its artifact
    /// is also the one to restart.
    fn cancel_reload(&mut self, live: GenId, turn: &mut Turn) {
        turn.reaction.notices.push(Notice::Undone { live });
        (self.pending, self.must_start) = (None, false);
        self.artifacts.rolled_back_to = self.artifacts.live;
        self.cancel_build(turn);
        if let Some(queued) = self.queued.take() {
            turn.notice(queued.id, GenNotice::Outdated);
        }
        if let Some(id) = self.candidate().map(|candidate| candidate.id) {
            self.superseded(id, turn);
            self.stop_candidate(id, turn);
        }
    }
}
