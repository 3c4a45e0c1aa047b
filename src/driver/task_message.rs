use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::artifact::Fingerprint;
use crate::build::{BuildInputs, Launch, Plan, WatchRoots};
use crate::error::Failure;
use crate::reload::{Event, GenEvent, GenId};
use crate::socket::AddressEvent;
use crate::socket::intercept::InterceptEvent;

/// A message from a task to the driver.
#[derive(Debug)]
pub(super) enum TaskMessage {
    /// An event for the machine.
    Event(Event),
    /// A build has ended. `Err(None)` if the build's output explains the failure.
    Built {
        id: GenId,
        built: Result<Box<Built>, Option<Failure>>,
    },
    /// The inputs of a build are known.
    Inputs(Box<Inputs>),
    /// A program has exited, and its last notifications must be handled before the exit is reported.
    ReceiveNotifications {
        id: GenId,
        /// Dropped when the notifications have been handled.
        done: oneshot::Sender<()>,
    },
    /// A program has opened a socket, has failed to open one, or has one that hotrun cannot adopt.
    Intercepted { id: GenId, event: InterceptEvent },
    /// Something happened to an address that a program opened.
    Address {
        address: SocketAddr,
        event: AddressEvent,
    },
    /// A rule's command has ended.
    CommandEnded { line: String },
    /// Cargo's configuration was read and the toolchain determined again.
    Planned {
        /// The sequence number of the request.
        number: u32,
        planned: Result<Plan, Failure>,
    },
}

/// What a successful build produced.
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
    /// The files to watch. If the build failed or its inputs are unknown, the places in which every file is watched.
    pub(super) files: Result<BuildInputs, WatchRoots>,
    /// Files that have changed but that the build has not read.
    pub(super) unread: Vec<PathBuf>,
}

/// Sends messages to the driver.
#[derive(Clone, Debug)]
pub(super) struct TaskSender(pub(super) UnboundedSender<TaskMessage>);

impl TaskSender {
    pub(super) fn event(&self, id: GenId, event: GenEvent) {
        self.send(TaskMessage::Event(Event::Generation(id, event)));
    }

    pub(super) fn send(&self, message: TaskMessage) {
        // Cannot fail before hotrun exits, because the receiver lives until then.
        let _ = self.0.send(message);
    }
}
