use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::artifact::Fingerprint;
use crate::build::{BuildInputs, Launch, Plan, WatchRoots};
use crate::error::Failure;
use crate::reload::{Event, GenEvent, GenId};
use crate::socket::intercept::InterceptEvent;

/// What a task reports to the driver.
#[derive(Debug)]
pub(super) enum Input {
    /// An event for the machine.
    Event(Event),
    /// A build has ended. `Err(None)` if its output shows why it failed.
    Built {
        id: GenId,
        built: Result<Box<Built>, Option<Failure>>,
    },
    /// The inputs of a build are known.
    Inputs(Box<Inputs>),
    /// A program has ended, and its last notifications must be handled before that is reported.
    DrainNotifications {
        id: GenId,
        /// Dropped when they have been handled.
        done: oneshot::Sender<()>,
    },
    /// A program has opened a socket, or failed to.
    Intercepted { id: GenId, event: InterceptEvent },
    /// The command of a rule has ended.
    CommandEnded { line: String },
    /// Cargo's configuration or toolchain was read again.
    Planned {
        /// The sequence number of the request.
        number: u32,
        planned: Result<Plan, Failure>,
    },
}

/// What a successful build made.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) launch: Launch,
    pub(super) fingerprint: Option<Fingerprint>,
    /// A running generation with the same fingerprint.
    pub(super) like: Option<GenId>,
}

/// The inputs of a build.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) id: GenId,
    /// When the build began.
    pub(super) began: SystemTime,
    /// Exactly these files. If the build failed or its inputs are unknown, anything in these places.
    pub(super) files: Result<BuildInputs, WatchRoots>,
}

/// Where tasks report to.
#[derive(Clone, Debug)]
pub(super) struct Inbox(pub(super) UnboundedSender<Input>);

impl Inbox {
    pub(super) fn event(&self, id: GenId, event: GenEvent) {
        self.send(Input::Event(Event::Generation(id, event)));
    }

    pub(super) fn send(&self, input: Input) {
        // The receiver lives until hotrun ends.
        let _ = self.0.send(input);
    }
}
