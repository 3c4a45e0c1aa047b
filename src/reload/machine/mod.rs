mod advance;
mod artifacts;
mod build_end;
mod drain;
mod fresh;
mod generation;
mod instances;
mod lifecycle;
mod memory;
mod notify;
mod own_paths;
mod quit;
mod recovery;
mod requests;
mod share;
mod state;
mod teardown;
#[cfg(test)]
pub(super) mod tests;

pub use instances::Instances;
pub use state::Machine;

use generation::Generation;

use super::{
    Action, Cause, Effect, Event, GenEffect, GenEvent, GenId, GenNotice, Notice, Request, Time,
};

/// The machine's reaction to an event: what to do and what to report.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The effects, to be performed in this order.
    pub effects: Vec<Effect>,
    /// The notices, to be shown in this order.
    pub notices: Vec<Notice>,
}

/// One call of [`Machine::handle`], with the effects and notices that it has collected so far.
struct Turn {
    now: Time,
    reaction: Reaction,
}

impl Turn {
    fn effect(&mut self, id: GenId, effect: GenEffect) {
        self.reaction.effects.push(Effect::Generation(id, effect));
    }

    fn notice(&mut self, id: GenId, notice: GenNotice) {
        self.reaction.notices.push(Notice::Generation(id, notice));
    }
}

impl Machine {
    /// Handles `event`, which happened at `now`, and returns what follows. `now` must never go backwards.
    pub fn handle(&mut self, now: Time, event: Event) -> Reaction {
        if self.quit.is_some_and(|quit| quit.finished) {
            return Reaction::default();
        }
        let reaction = Reaction::default();
        let mut turn = Turn { now, reaction };
        let (live, quitting) = (self.live().is_some(), self.quit.is_some());
        match event {
            // Nothing new begins.
            Event::Begin | Event::Changed(_) | Event::ConfigChanged { .. } if quitting => {}
            Event::ChangeSeen => self.change_seen = true,
            Event::ChangesSettled => self.change_seen = false,
            Event::Begin => self.schedule(Action::Build, Cause::Begin),
            Event::Changed(action) => self.changed(action),
            Event::ConfigChanged { signal } => self.config_changed(signal, &mut turn),
            Event::Requested(request) => self.requested(request, &mut turn),
            Event::MemoryMeasured { available, needed } => {
                self.memory_measured(available, needed, &mut turn);
            }
            Event::Generation(id, event) => match event {
                GenEvent::BuildEnded(outcome) => self.build_ended(id, outcome, &mut turn),
                GenEvent::ReportsWrites => self.reports_writes(id),
                GenEvent::StartFailed => self.start_failed(id, &mut turn),
                GenEvent::Listening => self.recognised_as_server(id, true),
                GenEvent::IsServer => self.recognised_as_server(id, false),
                GenEvent::ListensOnPath => self.listens_on_path(id),
                GenEvent::Ready => self.ready(id, &mut turn),
                GenEvent::WarmUpFailed => self.warm_up_failed(id, &mut turn),
                GenEvent::LacksAddresses { otherwise_ready } => {
                    self.lacks_addresses(id, otherwise_ready);
                }
                GenEvent::Switched => self.switched(id, &mut turn),
                GenEvent::SwitchFailed => self.switch_failed(id, &mut turn),
                GenEvent::ShareFailed => self.share_failed(id, &mut turn),
                GenEvent::ShareChecked { passed } => self.share_checked(id, passed, &mut turn),
                GenEvent::Quiescent => self.with_drain(id, &mut turn, |drain, policy| {
                    drain.quiescent(live, now, policy)
                }),
                GenEvent::HandlesStopSignal => self.with_drain(id, &mut turn, |drain, policy| {
                    drain.handles_stop_signal(live, now, policy)
                }),
                GenEvent::Idle => self.with_drain(id, &mut turn, |drain, _| drain.idle()),
                GenEvent::Exited { ended, survivors } => {
                    self.exited(id, ended, survivors, &mut turn);
                }
                GenEvent::Gone { in_use } => self.gone(id, in_use, &mut turn),
                GenEvent::ExtendTimeout { by } => self.extend_timeout(id, by, &mut turn),
                GenEvent::StoredFds => self.stored_fds(id, &mut turn),
                GenEvent::Watchdog(message) => self.watchdog(id, message, &mut turn),
                GenEvent::Liveness { alive } => self.liveness(id, alive, &mut turn),
                GenEvent::ReloadSignalSent { signal, handled } => {
                    self.reload_signal_sent(id, signal, handled, &mut turn);
                }
            },
            Event::Tick => self.tick(live, &mut turn),
        }
        self.advance(&mut turn);
        self.keep_own_paths(&mut turn);
        turn.reaction
    }

    fn tick(&mut self, live: bool, turn: &mut Turn) {
        let now = turn.now;
        self.keep_timeout(turn);
        self.ready_timeout(turn);
        self.watchdogs(turn);
        self.share_on_time(turn);
        self.with_all_drains(turn, |drain, policy| drain.tick(live, now, policy));
    }

    fn requested(&mut self, request: Request, turn: &mut Turn) {
        match request {
            // Nothing new begins.
            Request::Reload
            | Request::Pause
            | Request::Resume
            | Request::Undo
            | Request::ShareMore
            | Request::ShareLess
            | Request::ShareAll
                if self.quit.is_some() => {}
            Request::Reload => self.reload(),
            Request::Pause => self.pause(turn),
            Request::Resume => self.resume(turn),
            Request::Undo => self.undo(turn),
            Request::ShareMore => self.change_share(true, turn),
            Request::ShareLess => self.change_share(false, turn),
            Request::ShareAll => self.share_all(turn),
            Request::KillDraining if !self.generations.iter().any(Generation::is_draining) => {
                turn.reaction.notices.push(Notice::NothingToKill);
            }
            Request::KillDraining => match self.kept() {
                Some(id) => self.retire(id, turn),
                None => self.kill_draining(turn),
            },
            Request::Quit => self.begin_quit(turn),
            Request::QuitNow => self.quit_now(turn),
        }
    }
}
