//! What programs do with the sockets that they open themselves.

use crate::reload::{Event, GenEvent, GenId};
use crate::socket::intercept::InterceptEvent;
use crate::ui::{Level, Report};

use super::state::Driver;

impl Driver {
    /// A program has opened a socket, or could not.
    pub(super) fn intercepted(&mut self, id: GenId, event: InterceptEvent) {
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
            InterceptEvent::NotIntercepted(why) => self.feed.message(
                Level::Warning,
                format!("gen {id}: its sockets can't be adopted: {why}"),
                Some(why.hint().into()),
            ),
            InterceptEvent::NotAdopted { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                self.feed.message(
                    Level::Warning,
                    format!("gen {id}: its socket{at} can't be adopted: {error}"),
                    Some("use `--listen`, so that hotrun opens the socket".into()),
                );
            }
        }
    }
}
