mod advance;
mod artifacts;
mod build_ended;
#[cfg(test)]
pub(super) mod canonical;
mod drain;
mod generation;
mod lifecycle;
mod notify;
mod query;
mod quit;
mod recovery;
mod recovery_state;
mod reload_signals;
mod requests;
mod signals;
mod state;
mod teardown;
mod watchdog;

pub use state::Machine;

use super::{Action, Cause, Effect, Event, GenEvent, GenId, Notice, Request, Time};

/// The machine's response to an event: what to do and what to report, each in this order.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// To be performed in order.
    pub effects: Vec<Effect>,
    /// To be shown in order.
    pub notices: Vec<Notice>,
}

impl Machine {
    /// What follows from `event`, which happened at `now`. `now` never goes back.
    pub fn handle(&mut self, now: Time, event: Event) -> Response {
        let mut out = Response::default();
        if self.quit.is_some_and(|quit| quit.finished) {
            return out;
        }
        match event {
            Event::Begin => self.schedule(Action::Build, Cause::Begin),
            Event::Changed(action) => self.changed(action),
            Event::ConfigChanged { signal } => self.config_changed(signal, &mut out),
            Event::Requested(request) => self.requested(now, request, &mut out),
            Event::Generation(id, event) => self.generation(now, id, event, &mut out),
            Event::Tick => self.tick(now, &mut out),
        }
        self.advance(now, &mut out);
        out
    }

    fn requested(&mut self, now: Time, request: Request, out: &mut Response) {
        match request {
            Request::Reload => self.reload(),
            Request::Pause => self.pause(out),
            Request::Resume => self.resume(out),
            Request::Undo => self.undo(out),
            Request::KillDraining => self.kill_draining(now, out),
            Request::Quit if self.quit.is_none() => self.begin_quit(now, out),
            // A closed terminal asks more than once. Only `QuitNow` insists.
            Request::Quit => {}
            Request::QuitNow => self.quit_now(now, out),
        }
    }

    fn generation(&mut self, now: Time, id: GenId, event: GenEvent, out: &mut Response) {
        match event {
            GenEvent::BuildEnded(outcome) => self.build_ended(now, id, outcome, out),
            GenEvent::StartFailed => self.start_failed(now, id, out),
            GenEvent::Listening => self.listening(id),
            GenEvent::IsServer => self.recognised_as_server(id),
            GenEvent::Ready => self.ready(now, id, out),
            GenEvent::Switched => self.switched(now, id, out),
            GenEvent::SwitchFailed => self.switch_failed(now, id, out),
            GenEvent::Quiescent => {
                self.drain(id, out, |drain, policy| drain.quiescent(now, policy));
            }
            GenEvent::StopSignalChecked { handled } => {
                self.drain(id, out, |drain, _| drain.stop_signal_checked(handled));
            }
            GenEvent::Idle => self.drain(id, out, |drain, _| drain.idle()),
            GenEvent::Exited { ended, survivors } => self.exited(now, id, ended, survivors, out),
            GenEvent::Gone => self.gone(now, id, out),
            GenEvent::ExtendTimeout { by } => self.extend_timeout(now, id, by, out),
            GenEvent::StoredFds => self.stored_fds(id, out),
            GenEvent::Watchdog(message) => self.watchdog(now, id, message, out),
            GenEvent::ReloadSignalSent { signal, handled } => {
                self.reload_signal_sent(id, signal, handled, out);
            }
        }
    }

    fn tick(&mut self, now: Time, out: &mut Response) {
        self.ready_timeout(now, out);
        self.watchdogs(now, out);
        self.drain_timeouts(now, out);
        if let Some(quit) = self.quit.as_mut().filter(|quit| now >= quit.until) {
            quit.clean = false;
            quit.finished = true;
            out.effects.push(Effect::Finish { clean: false });
        }
    }
}

impl Response {
    fn effect(&mut self, id: GenId, effect: super::GenEffect) {
        self.effects.push(Effect::Generation(id, effect));
    }

    fn notice(&mut self, id: GenId, notice: super::GenNotice) {
        self.notices.push(Notice::Generation(id, notice));
    }
}
