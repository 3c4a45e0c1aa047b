//! A generation that runs.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::artifact::Fingerprint;
use crate::os::terminal::Size;
use crate::process::{Control, Pty};
use crate::ready::LastUnreadyReason;

use super::notify::DrainRequest;

/// The standard streams of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stdio {
    /// Two pipes, and no input.
    Pipes,
    /// A pseudo-terminal.
    Pty {
        size: Size,
        /// Whether the program gets what the user types.
        reads: bool,
    },
}

/// A generation that was started and is not gone.
pub(super) struct Running {
    pub(super) control: Control,
    /// To the task that reads its notify socket.
    pub(super) listener: mpsc::UnboundedSender<DrainRequest>,
    /// Of the artifact that it was started from, if known.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) unready_reason: LastUnreadyReason,
    pub(super) pty: Option<Arc<Pty>>,
    /// Takes the input for the program, if it gets any.
    pub(super) typing: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// The number of its connections when they were last counted.
    pub(super) connections: Option<usize>,
    /// Tasks that end with the generation.
    tasks: Vec<AbortHandle>,
    /// The task that waits for its readiness.
    pub(super) readiness: Option<AbortHandle>,
    /// The task that waits until it is quiescent or idle.
    draining: Option<AbortHandle>,
}

impl Running {
    pub(super) fn new(control: Control, listener: mpsc::UnboundedSender<DrainRequest>) -> Self {
        Self {
            control,
            listener,
            fingerprint: None,
            unready_reason: LastUnreadyReason::default(),
            pty: None,
            typing: None,
            connections: None,
            tasks: Vec::new(),
            readiness: None,
            draining: None,
        }
    }

    /// Returns where to send the input for the program. Input that the program does not read waits here.
    pub(super) fn type_into(&mut self, pty: Arc<Pty>) -> mpsc::UnboundedSender<Vec<u8>> {
        let (sender, mut typed) = mpsc::unbounded_channel::<Vec<u8>>();
        self.spawn(async move {
            while let Some(bytes) = typed.recv().await {
                if pty.write(&bytes).await.is_err() {
                    return;
                }
            }
        });
        sender
    }

    /// Spawns a task that ends with the generation at the latest.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// The generation is being stopped: its readiness no longer matters, and the stop would be the reason if it is missing.
    pub(super) fn forget_readiness(&mut self) {
        if let Some(readiness) = self.readiness.take() {
            readiness.abort();
        }
    }

    /// Spawns a task that waits for something of a draining generation, and replaces the one before.
    pub(super) fn drain(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.stop_draining();
        self.draining = Some(tokio::spawn(task).abort_handle());
    }

    /// The generation is live, possibly again.
    pub(super) fn stop_draining(&mut self) {
        if let Some(draining) = self.draining.take() {
            draining.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.forget_readiness();
        self.stop_draining();
        for task in &self.tasks {
            task.abort();
        }
    }
}
