//! A running generation.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::artifact::Fingerprint;
use crate::process::notify::{Message, NotifySocket, Rejected};
use crate::process::{Control, Pty};
use crate::ready::{LastUnreadyReason, NotifyState};
use crate::reload::GenId;

/// A generation that was started and still has processes. Dropping it kills the process tree and aborts the tasks.
pub(super) struct Running {
    pub(super) control: Control,
    /// `None` after the notify socket has failed.
    pub(super) notify: Option<Notify>,
    /// The fingerprint of the artifact, if known.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) unready_reason: LastUnreadyReason,
    pub(super) terminal: Option<Terminal>,
    /// The number of connections that the last count found.
    pub(super) connections: Option<usize>,
    /// The task that waits until the generation is ready or, during the drain, quiescent or idle.
    pub(super) waiting: JoinSet<()>,
}

/// The notify socket, and what the program has sent to it.
pub(super) struct Notify {
    pub(super) socket: NotifySocket,
    pub(super) state: watch::Sender<NotifyState>,
    /// When the program began to reload its configuration. Set from `RELOADING=1` until `READY=1`.
    pub(super) reloading: Option<Instant>,
    pub(super) status: String,
}

impl Notify {
    pub(super) fn new(socket: NotifySocket) -> Self {
        Self {
            socket,
            state: watch::Sender::default(),
            reloading: None,
            status: String::new(),
        }
    }
}

/// The pseudoterminal of a program.
pub(super) struct Terminal {
    pub(super) pty: Arc<Pty>,
    typed: mpsc::UnboundedSender<Vec<u8>>,
    _writer: JoinSet<()>,
}

impl Running {
    /// Spawns the waiting task and aborts the previous one.
    pub(super) fn wait(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.waiting = JoinSet::new();
        self.waiting.spawn(task);
    }
}

impl Terminal {
    pub(super) fn new(pty: Arc<Pty>) -> Self {
        let (typed, mut waiting) = mpsc::unbounded_channel::<Vec<u8>>();
        let (mut writer, to) = (JoinSet::new(), pty.clone());
        writer.spawn(async move {
            while let Some(bytes) = waiting.recv().await {
                if to.write(&bytes).await.is_err() {
                    return;
                }
            }
        });
        Self {
            pty,
            typed,
            _writer: writer,
        }
    }

    /// Queues input for the program.
    pub(super) fn type_in(&self, bytes: Vec<u8>) {
        // Fails if the program has closed its terminal, because the writer has ended then.
        let _ = self.typed.send(bytes);
    }
}

/// Receives the next notification from any generation. The newest generation comes first, because its readiness must not
/// wait for an old one that keeps sending. Cancel safe.
pub(super) async fn next_notification(
    generations: &BTreeMap<GenId, Running>,
) -> (GenId, io::Result<Result<Message, Rejected>>) {
    poll_fn(|cx| {
        for (
            id,
            Running {
                control, notify, ..
            },
        ) in generations.iter().rev()
        {
            if let Some(notify) = notify
                && let Poll::Ready(received) = notify.socket.poll_recv(cx, || control.pids())
            {
                return Poll::Ready((*id, received));
            }
        }
        Poll::Pending
    })
    .await
}
