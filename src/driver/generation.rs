//! A generation that was started and is not gone.

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

/// What the driver has of a running generation. Dropping it kills the process tree and aborts the tasks.
pub(super) struct Running {
    pub(super) control: Control,
    /// `None` after its notify socket has failed.
    pub(super) notify: Option<Notify>,
    /// The fingerprint of its artifact, if known.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) unready_reason: LastUnreadyReason,
    pub(super) terminal: Option<Terminal>,
    /// The number of its connections when they were last counted.
    pub(super) connections: Option<usize>,
    /// The task that waits until the generation is ready, or, while it drains, quiescent or idle.
    pub(super) waiting: JoinSet<()>,
}

/// The notify socket, and what the program has sent to it.
pub(super) struct Notify {
    pub(super) socket: NotifySocket,
    pub(super) state: watch::Sender<NotifyState>,
    /// Since when the program reloads its configuration: from `RELOADING=1` to `READY=1`.
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

/// The pseudo-terminal of a program.
pub(super) struct Terminal {
    pub(super) pty: Arc<Pty>,
    typed: mpsc::UnboundedSender<Vec<u8>>,
    _writer: JoinSet<()>,
}

impl Running {
    /// Spawns the task that waits, in place of the one before.
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

    /// Types these bytes. They wait in a queue until the program reads them.
    pub(super) fn type_in(&self, bytes: Vec<u8>) {
        // The receiver ends with the program.
        let _ = self.typed.send(bytes);
    }
}

/// The next notification that a generation has sent. Cancel safe.
pub(super) async fn next_notification(
    generations: &BTreeMap<GenId, Running>,
) -> (GenId, io::Result<Result<Message, Rejected>>) {
    poll_fn(|cx| {
        for (
            id,
            Running {
                control, notify, ..
            },
        ) in generations
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
