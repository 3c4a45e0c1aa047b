//! What tasks report, as events.

use crate::reload::{Event, GenEvent, GenId};
use crate::socket::intercept::InterceptEvent;
use crate::ui::{Level, Report};

use super::inbox::Input;
use super::state::Driver;

impl Driver {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.handle(event),
            Input::Built { id, built } => self.built(id, built),
            Input::Inputs(inputs) => self.watch_inputs(*inputs),
            Input::DrainNotifications { id, done: _done } => self.drain_notifications(id),
            Input::Intercepted { id, event } => self.intercepted(id, event),
            Input::CommandEnded { line } => self.command_ended(&line),
            Input::Planned { number, planned } => self.planned(number, planned),
        }
    }

    fn intercepted(&mut self, id: GenId, event: InterceptEvent) {
        let warn = |text, hint: &str| self.feed.message(Level::Warning, text, Some(hint.into()));
        match event {
            InterceptEvent::Listens { address, first } => {
                self.feed.report(Report::Listening {
                    name: String::new(),
                    address: address.to_string(),
                    by: Some(id),
                    first,
                });
                self.handle(Event::Generation(id, GenEvent::Listening));
            }
            InterceptEvent::Refused => {
                self.reported.explained.insert(id);
            }
            InterceptEvent::InUse(error) => {
                self.feed.error(format!("gen {id}: {error}"), error.hint());
            }
            InterceptEvent::Listed { address, listed } => {
                self.reported.explained.insert(id);
                self.feed.error(
                    format!("gen {id} opens `{address}`, which conflicts with `--listen {listed}`"),
                    Some(format!("remove `--listen`, or use `--listen {address}`")),
                );
            }
            InterceptEvent::NotIntercepted(why) => {
                let text = format!("gen {id}: its sockets can't be adopted: {why}");
                warn(text, why.hint());
            }
            InterceptEvent::NotAdopted { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                let text = format!("gen {id}: its socket{at} can't be adopted: {error}");
                warn(text, "use `--listen`, so that hotrun opens the socket");
            }
        }
    }
}
