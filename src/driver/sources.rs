//! Signals and changed files, as events.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;
use tokio::sync::mpsc::UnboundedSender;

use crate::build::{self, Asked, Plan};
use crate::error::Failure;
use crate::process::Signal;
use crate::process::signals::Asked as Signalled;
use crate::reload::{Action, Event, Request};
use crate::ui::{Level, Report};
use crate::watch::{Message, Watch, WatchSpec};

use super::Driver;

/// Starts to watch.
pub(super) fn watch(spec: &WatchSpec, messages: UnboundedSender<Message>) -> Result<Watch> {
    Watch::start(spec, messages).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        Failure::environment(error.to_string()).hints(hint).into()
    })
}

impl Driver {
    pub(super) fn signalled(&mut self, signal: Signalled) {
        let (signal, request) = match signal {
            Signalled::Interrupt => (Signal::INT, Request::Quit),
            Signalled::Terminate => (Signal::TERM, Request::Quit),
            Signalled::Hangup if has_terminal() => (Signal::HUP, Request::Reload),
            Signalled::Hangup => (Signal::HUP, Request::Quit),
            Signalled::User => return self.handle(Event::Requested(Request::Reload)),
        };
        if request != Request::Reload {
            self.signal = Some(signal.number());
        }
        self.handle(Event::Requested(request));
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
        let asked = Asked {
            command: &self.config.argv,
            build: self.config.build.as_deref(),
            workdir: &self.config.workdir,
            color: self.config.ui.colour,
        };
        match build::recognise(&asked) {
            Ok(plan) => self.plan = plan,
            // The build that follows says it better, in cargo's own words.
            Err(error) => self.feed.message(Level::Warning, error.to_string(), error.hint()),
        }
    }
}

/// Whether the terminal that hotrun was started from is still there (`tty(4)`: opening it fails without one).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
