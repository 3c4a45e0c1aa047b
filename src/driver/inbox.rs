use std::time::SystemTime;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::artifact::Fingerprint;
use crate::build::{BuildInputs, Launch, Plan, WatchRoots};
use crate::error::Failure;
use crate::process::notify::Message;
use crate::reload::{BuildOutcome, Event, GenEvent, GenId};
use crate::socket::intercept::InterceptEvent;

/// What a task reports to the driver.
#[derive(Debug)]
pub(super) enum Input {
    /// An event for the machine.
    Event(Event),
    /// A build's process succeeded.
    Built {
        /// The generation.
        id: GenId,
        /// What it made.
        built: Result<Box<Built>, Failure>,
    },
    /// After a deadline: the notifications that programs had sent have been handled.
    Drained,
    /// The command of a rule has ended.
    CommandEnded {
        /// The shell line.
        line: String,
    },
    /// What a build says about its inputs.
    Learnt(Lesson),
    /// A program has opened a socket, or failed to.
    Intercepted {
        /// The generation.
        id: GenId,
        /// What happened.
        event: InterceptEvent,
    },
    /// A program has sent a notification.
    Notified(Box<Notification>),
    /// Cargo's configuration or toolchain was read again.
    Planned {
        /// Sequence number of this request.
        number: u32,
        /// The new plan.
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

/// A message to a notify socket.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) id: GenId,
    pub(super) message: Message,
    /// Dropped when the message has been handled.
    pub(super) done: oneshot::Sender<()>,
}

/// What a build says about its inputs.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) id: GenId,
    /// When the build began.
    pub(super) began: SystemTime,
    pub(super) inferred: Inferred,
}

#[derive(Debug)]
pub(super) enum Inferred {
    /// The build succeeded, and read exactly these files.
    Exact(BuildInputs),
    /// The build failed, or its inputs are unknown: the next build may need anything in here.
    Anything(WatchRoots),
}

/// Where tasks report to.
#[derive(Clone, Debug)]
pub(super) struct Inbox(UnboundedSender<Input>);

pub(super) fn channel() -> (Inbox, UnboundedReceiver<Input>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Inbox(sender), receiver)
}

impl Inbox {
    pub(super) fn event(&self, event: Event) {
        self.input(Input::Event(event));
    }

    pub(super) fn generation(&self, id: GenId, event: GenEvent) {
        self.event(Event::Generation(id, event));
    }

    pub(super) fn build_ended(&self, id: GenId, outcome: BuildOutcome) {
        self.generation(id, GenEvent::BuildEnded(outcome));
    }

    pub(super) fn input(&self, input: Input) {
        // The receiver is gone only when hotrun ends.
        let _ = self.0.send(input);
    }
}
