mod advance;
mod artifacts;
mod builds;
mod drain;
mod generation;
mod lifecycle;
mod notify;
mod quit;
mod recovery;
mod requests;
mod state;
mod teardown;
#[cfg(test)]
pub(super) mod tests;

pub use state::Machine;

use super::{
    Action, Cause, Effect, Event, GenEffect, GenEvent, GenId, GenNotice, Notice, Request, Time,
};

/// The machine's response to an event: what to do and what to report.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The effects, to be performed in this order.
    pub effects: Vec<Effect>,
    /// The notices, to be shown in this order.
    pub notices: Vec<Notice>,
}

/// The effects and notices that one call of [`Machine::handle`] has collected so far.
struct Step {
    now: Time,
    effects: Vec<Effect>,
    notices: Vec<Notice>,
}

impl Step {
    fn effect(&mut self, id: GenId, effect: GenEffect) {
        self.effects.push(Effect::Generation(id, effect));
    }

    fn notice(&mut self, id: GenId, notice: GenNotice) {
        self.notices.push(Notice::Generation(id, notice));
    }
}

impl Machine {
    /// Handles `event`, which happened at `now`, and returns what follows. `now` must never go backwards.
    pub fn handle(&mut self, now: Time, event: Event) -> Response {
        if self.quit.is_some_and(|quit| quit.finished) {
            return Response::default();
        }
        let mut step = Step {
            now,
            effects: Vec::new(),
            notices: Vec::new(),
        };
        match event {
            Event::Begin => self.schedule(Action::Build, Cause::Begin),
            Event::Changed(action) => self.changed(action),
            Event::ConfigChanged { signal } => self.config_changed(signal, &mut step),
            Event::Requested(request) => self.requested(request, &mut step),
            Event::Generation(id, event) => self.generation(id, event, &mut step),
            Event::Tick => {
                self.ready_timeout(&mut step);
                self.watchdogs(&mut step);
                self.drain_all(&mut step, |drain, policy| drain.tick(now, policy));
            }
        }
        self.advance(&mut step);
        Response {
            effects: step.effects,
            notices: step.notices,
        }
    }

    fn requested(&mut self, request: Request, step: &mut Step) {
        match request {
            Request::Reload => self.reload(),
            Request::Pause => self.pause(step),
            Request::Resume => self.resume(step),
            Request::Undo => self.undo(step),
            Request::KillDraining => self.kill_draining(step),
            Request::Quit => self.begin_quit(step),
            Request::QuitNow => self.quit_now(step),
        }
    }

    fn generation(&mut self, id: GenId, event: GenEvent, step: &mut Step) {
        let now = step.now;
        match event {
            GenEvent::BuildEnded(outcome) => self.build_ended(id, outcome, step),
            GenEvent::StartFailed => self.start_failed(id, step),
            GenEvent::Listening => self.recognised_as_server(id, true),
            GenEvent::IsServer => self.recognised_as_server(id, false),
            GenEvent::Ready => self.ready(id, step),
            GenEvent::Switched => self.switched(id, step),
            GenEvent::SwitchFailed => self.switch_failed(id, step),
            GenEvent::Quiescent => {
                self.drain(id, step, |drain, policy| drain.quiescent(now, policy));
            }
            GenEvent::StopSignalChecked { handled } => {
                self.drain(id, step, |drain, _| drain.stop_signal_checked(handled));
            }
            GenEvent::Idle => self.drain(id, step, |drain, _| drain.idle()),
            GenEvent::Exited { ended, survivors } => self.exited(id, ended, survivors, step),
            GenEvent::Gone => self.gone(id, step),
            GenEvent::ExtendTimeout { by } => self.extend_timeout(id, by, step),
            GenEvent::StoredFds => self.stored_fds(id, step),
            GenEvent::Watchdog(message) => self.watchdog(id, message, step),
            GenEvent::ReloadSignalSent { signal, handled } => {
                self.reload_signal_sent(id, signal, handled, step);
            }
        }
    }
}
