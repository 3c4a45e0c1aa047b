//! Reads the notify socket of a generation (`sd_notify(3)`).

use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};

use crate::process::Control;
use crate::process::notify::{Assignments, Message, NotifySocket, Rejected};
use crate::ready::NotifyState;
use crate::reload::GenId;
use crate::ui::{Feed, Human, Level, Report};

use super::inbox::{Inbox, Input, Notification};

/// A request to handle everything that was sent until now. It is dropped when that is done.
pub(super) type DrainRequest = oneshot::Sender<()>;

/// How long to wait for that. The messages are in the socket already; only processes of the same tree send more.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until everything that was sent until now has been handled: what a program stores at its end counts as sent before
/// the end.
pub(super) async fn drain(listener: &mpsc::UnboundedSender<DrainRequest>) {
    let (sender, done) = oneshot::channel();
    if listener.send(sender).is_ok() {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, done).await;
    }
}

/// Reads the notify socket of one generation.
pub(super) struct Listener {
    id: GenId,
    socket: NotifySocket,
    control: Control,
    heard: watch::Sender<NotifyState>,
    requests: mpsc::UnboundedReceiver<DrainRequest>,
    inbox: Inbox,
    feed: Feed,
    /// Since when the program reloads its configuration: from `RELOADING=1` to `READY=1`.
    reloading: Option<Instant>,
    status: String,
}

impl Listener {
    pub(super) fn new(
        id: GenId,
        socket: NotifySocket,
        control: Control,
        (heard, requests): (
            watch::Sender<NotifyState>,
            mpsc::UnboundedReceiver<DrainRequest>,
        ),
        (inbox, feed): (Inbox, Feed),
    ) -> Self {
        Self {
            id,
            socket,
            control,
            heard,
            requests,
            inbox,
            feed,
            reloading: None,
            status: String::new(),
        }
    }

    /// Receives a message only when the one before has been handled. So the descriptor of a `BARRIER=1`, which is closed on
    /// receipt, is closed when everything before it has been handled.
    pub(super) async fn run(mut self) {
        let Err(error) = self.listen().await;
        let text = format!("gen {}: cannot read its notify socket: {error}", self.id);
        self.feed.error(text, None);
    }

    async fn listen(&mut self) -> io::Result<Infallible> {
        loop {
            let control = self.control.clone();
            tokio::select! {
                received = self.socket.recv(|| control.pids()) => self.take(received?).await,
                Some(request) = self.requests.recv() => {
                    while let Some(received) = self.socket.try_recv(|| control.pids())? {
                        self.take(received).await;
                    }
                    drop(request);
                }
            }
        }
    }

    async fn take(&mut self, received: Result<Message, Rejected>) {
        let id = self.id;
        match received {
            Ok(message) => {
                self.show(&message);
                let ready = message.assignments.ready;
                self.heard.send_modify(|heard| *heard = heard.after(ready));
                let (sender, done) = oneshot::channel();
                let notification = Notification {
                    id,
                    message,
                    done: sender,
                };
                self.inbox.input(Input::Notified(Box::new(notification)));
                let _ = done.await;
            }
            Err(rejected) => self.warn(format!("gen {id}: ignored {rejected}")),
        }
    }

    /// Shows what concerns only the user. Never waits for the screen, because the program may wait for the next receipt.
    fn show(&mut self, message: &Message) {
        let (id, assignments) = (self.id, &message.assignments);
        self.show_reload(assignments);
        if let Some(status) = assignments.status.clone().filter(|new| *new != self.status) {
            self.status.clone_from(&status);
            self.feed.offer(Report::Status { id, text: status });
        }
        if assignments.stopping {
            let text = format!("gen {id} is about to exit");
            self.feed.offer(Feed::text(Level::Detail, text));
        }
        if let Some(errno) = assignments.errno {
            let text = Errno::from_raw(errno).desc();
            self.warn(format!("gen {id} reports an error: {text} (errno {errno})"));
        }
        if message.surplus > 0 {
            let count = message.surplus;
            self.warn(format!(
                "gen {id} sent {count} descriptors without `FDSTORE=1`; they were closed"
            ));
        }
    }

    fn show_reload(&mut self, assignments: &Assignments) {
        let id = self.id;
        let text = if assignments.reloading {
            self.reloading = Some(reload_start(assignments.monotonic));
            format!("gen {id} reloads its configuration")
        } else if let Some(since) = self.reloading.take_if(|_| assignments.ready) {
            format!("gen {id} has reloaded in {}", Human(since.elapsed()))
        } else {
            return;
        };
        self.feed.offer(Feed::text(Level::Info, text));
    }

    fn warn(&self, text: String) {
        self.feed.offer(Feed::text(Level::Warning, text));
    }
}

/// When the reload began, as `MONOTONIC_USEC` says: before the message was received. A time in the future or long ago is
/// wrong.
fn reload_start(monotonic: Option<Duration>) -> Instant {
    const OLDEST: Duration = Duration::from_secs(60);
    let now = Instant::now();
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    let ago = clock.ok().zip(monotonic);
    let ago = ago.and_then(|(clock, began)| clock.checked_sub(began));
    let ago = ago.filter(|ago| *ago < OLDEST).unwrap_or_default();
    now.checked_sub(ago).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_cannot_begin_in_the_future_or_long_ago() {
        let clock = || Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let second = Duration::from_secs(1);
        let early = reload_start(Some(clock().saturating_sub(second)));
        assert!(early.elapsed() >= second, "{:?}", early.elapsed());
        for wrong in [None, Some(clock() + 100 * second), Some(Duration::ZERO)] {
            let before = Instant::now();
            let uptime = clock() < 60 * second;
            assert!(reload_start(wrong) >= before || uptime, "{wrong:?}");
        }
    }
}
