//! Signals and changed files, as events.

use std::fs::File;
use std::path::PathBuf;

use crate::build::{self, Plan};
use crate::process::Signal;
use crate::process::signals::Asked as Signalled;
use crate::reload::{Action, Event, Request};
use crate::ui::{Level, Report};
use crate::watch::Message;

use super::{Driver, setup};

impl Driver {
    pub(super) fn signalled(&mut self, signal: Signalled) {
        match signal {
            // Ctrl-C is the user's own way to quit, not something that befell hotrun.
            Signalled::Interrupt => self.signal = None,
            Signalled::Terminate => self.signal = Some(Signal::TERM.number()),
            Signalled::Hangup if has_terminal() => return self.reload(),
            Signalled::Hangup => self.signal = Some(Signal::HUP.number()),
            Signalled::User => return self.reload(),
        }
        self.handle(Event::Requested(Request::Quit));
    }

    fn reload(&mut self) {
        self.handle(Event::Requested(Request::Reload));
    }

    pub(super) fn watched(&mut self, message: Message) {
        match message {
            Message::Watching { dirs, .. } => {
                self.feed.tell(Report::Watching { directories: dirs });
                // Not before: a change that nobody sees must not come after what the first build reads.
                if !std::mem::replace(&mut self.begun, true) {
                    self.handle(Event::Begin);
                }
            }
            Message::Changed(paths) => self.changed(paths),
            Message::Trouble(trouble) => {
                let hint = trouble.hint().map(str::to_owned);
                self.feed.message(Level::Warning, trouble.to_string(), hint);
            }
        }
    }

    fn changed(&mut self, paths: Vec<PathBuf>) {
        if let Plan::Cargo(plan) = &self.plan
            && plan.is_outdated_by(&paths)
        {
            self.plan_anew();
        }
        self.feed.tell(Report::Changed { paths });
        self.handle(Event::Changed(Action::Build));
    }

    /// Cargo's configuration or the toolchain changed: what is known of them is asked again.
    fn plan_anew(&mut self) {
        match build::recognise(&setup::asked(&self.config)) {
            Ok(plan) => self.plan = plan,
            // The build that follows says it better, in cargo's own words.
            Err(error) => self
                .feed
                .message(Level::Warning, error.to_string(), error.hint()),
        }
    }
}

/// Whether there is a terminal that controls hotrun (`tty(4)`: opening it fails without one, and once it is closed).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
