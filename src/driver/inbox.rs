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
    /// The build of a generation has ended. An error is reported, unless the build has shown why or was cancelled.
    Built {
        id: GenId,
        built: Result<Box<Built>, Option<Failure>>,
    },
    /// A build has shown what the program is built from.
    Inputs(Box<Inputs>),
    /// A process of a program has ended. The sender waits until everything that it had sent before has been handled.
    DrainNotifications {
        id: GenId,
        /// Dropped then.
        done: oneshot::Sender<()>,
    },
    /// A program has opened a socket, or failed to.
    Intercepted { id: GenId, event: InterceptEvent },
    /// The command of a rule, a shell line, has ended.
    CommandEnded { line: String },
    /// Cargo's configuration or toolchain was read again.
    Planned {
        /// Sequence number of the request.
        number: u32,
        planned: Result<Plan, Failure>,
    },
}

/// What a successful build made.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) launch: Launch,
    pub(super) fingerprint: Option<Fingerprint>,
    /// A generation that already runs the same.
    pub(super) like: Option<GenId>,
}

/// What a build says about its inputs.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) id: GenId,
    /// When the build began.
    pub(super) began: SystemTime,
    /// Exactly these files, or, if it failed or its inputs are unknown, anything in these places.
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
        // The receiver is gone only when hotrun ends.
        let _ = self.0.send(input);
    }
}
