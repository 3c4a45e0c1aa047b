//! Handles the notifications that programs send (`sd_notify(3)`).
//!
//! The driver handles each message before it receives the next one. So by the time it receives a `BARRIER=1`, which
//! closes the barrier's descriptor, it has handled all earlier messages. Nothing here waits for the screen, because the
//! program may be waiting for its barrier.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::process::notify::{self, Assignments, Notification, StoreRequest};
use crate::ready::NotifyState;
use crate::reload::{Event, GenEvent, GenId, WatchdogMessage};
use crate::ui::{Feed, Human, Level, Report};

use super::state::Driver;

/// The time limit for receiving all pending messages. Only a program that keeps sending exceeds it.
pub(super) const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

impl Driver {
    /// Receives the next notification from any generation. The newest generation comes first, because its readiness must
    /// not wait for an old one that keeps sending. Cancel safe.
    pub(super) async fn next_notification(
        &self,
    ) -> (GenId, io::Result<Result<Notification, String>>) {
        poll_fn(|cx| {
            for (id, running) in self.generations.iter().rev() {
                if let Some(notify) = &running.notify
                    && let Poll::Ready(received) =
                        notify.socket.poll_recv(cx, || running.control.pids())
                {
                    return Poll::Ready((*id, received));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Receives and handles all messages that this generation has sent so far, until `until` at the latest.
    pub(super) fn receive_notifications(&mut self, id: GenId, until: Instant) {
        while Instant::now() < until
            && let Some(running) = self.generations.get(&id)
            && let Some(notify) = &running.notify
            && let Some(received) = notify
                .socket
                .try_recv(|| running.control.pids())
                .transpose()
        {
            self.notified(id, received);
        }
    }

    pub(super) fn notified(
        &mut self,
        id: GenId,
        received: io::Result<Result<Notification, String>>,
    ) {
        match received {
            Ok(Ok(message)) => self.notification(id, message),
            Ok(Err(rejected)) => {
                self.offer(Level::Warning, format!("gen {id}: ignored {rejected}"));
            }
            Err(error) => {
                if let Some(running) = self.generations.get_mut(&id) {
                    running.notify = None;
                }
                let text = format!("gen {id}: cannot read its notify socket: {error}");
                self.feed.error(text, None);
            }
        }
    }

    fn notification(&mut self, id: GenId, message: Notification) {
        self.show(id, &message);
        let assignments = message.assignments;
        if let Some(store) = assignments.store {
            self.store(id, store, message.descriptors);
        }
        if let Some(pid) = assignments.main_pid {
            self.set_main_process(id, pid);
        }
        if let Some(by) = assignments.extend_timeout {
            self.handle(Event::Generation(id, GenEvent::ExtendTimeout { by }));
        }
        let period = assignments.watchdog_period.map(WatchdogMessage::Period);
        for message in period.into_iter().chain(assignments.watchdog) {
            self.handle(Event::Generation(id, GenEvent::Watchdog(message)));
        }
    }

    /// Shows the message to the user, and updates the state for the readiness check.
    fn show(&mut self, id: GenId, message: &Notification) {
        let assignments = &message.assignments;
        let running = self.generations.get_mut(&id);
        if let Some(notify) = running.and_then(|running| running.notify.as_mut()) {
            let new = match assignments.ready {
                true => NotifyState::Ready,
                false => NotifyState::NotReady,
            };
            notify.state.send_modify(|state| *state = new.max(*state));
            let reload = show_reload(&mut notify.reloading, assignments);
            let status = assignments.status.clone();
            if let Some(text) = status.filter(|new| *new != notify.status) {
                notify.status.clone_from(&text);
                self.feed.offer(Report::Status(id, text));
            }
            if let Some(text) = reload {
                self.offer(Level::Info, format!("gen {id} {text}"));
            }
        }
        if assignments.stopping {
            self.offer(Level::Detail, format!("gen {id} is about to exit"));
        }
        if let Some(errno) = assignments.errno {
            let text = Errno::from_raw(errno).desc();
            let text = format!("gen {id} reports an error: {text} (errno {errno})");
            self.offer(Level::Warning, text);
        }
        if message.surplus > 0 {
            let count = message.surplus;
            let text = format!(
                "gen {id} sent descriptors without `FDSTORE=1`; {} closed",
                were(count)
            );
            self.offer(Level::Warning, text);
        }
    }

    fn offer(&self, level: Level, text: String) {
        self.feed.offer(Feed::text(level, text));
    }

    fn store(&mut self, id: GenId, store: StoreRequest, fds: Vec<OwnedFd>) {
        match store {
            StoreRequest::Add { .. } if fds.is_empty() => {
                let text = format!("gen {id} sent `FDSTORE=1`, but no descriptor arrived");
                let hint = "if it sent one, hotrun has too many open files (`ulimit -n`)";
                self.feed.message(Level::Warning, text, Some(hint.into()));
            }
            StoreRequest::Add { name, poll } => {
                let fds = self.without_listeners(id, fds);
                let stored = self.fd_store.store(&name, poll, fds);
                if stored.refused > 0 {
                    let (refused, most) = (were(stored.refused), notify::CAPACITY);
                    let text = format!(
                        "gen {id} tried to store more than {most} descriptors; {refused} closed"
                    );
                    let hint = "remove unneeded ones with `FDSTOREREMOVE=1` and `FDNAME`";
                    self.feed.message(Level::Warning, text, Some(hint.into()));
                }
                if stored.new > 0 {
                    let count = self.fd_store.all().len();
                    let text = format!("gen {id} stored `{name}`; descriptors stored: {count}");
                    self.offer(Level::Detail, text);
                }
                if stored.changeable > 0 {
                    self.handle(Event::Generation(id, GenEvent::StoredFds));
                }
            }
            StoreRequest::Remove { name } => {
                let count = self.fd_store.remove(&name);
                let text = format!("gen {id} removed `{name}`; {} closed", were(count));
                self.offer(Level::Detail, text);
            }
        }
    }

    /// Drops the listeners that hotrun manages. hotrun shuts them down when the generation is gone, so the next generation
    /// would get a dead listener. hotrun keeps the address open itself.
    fn without_listeners(&mut self, id: GenId, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        let listens = |fd: &OwnedFd| self.sockets.has(fd);
        let (listeners, fds): (Vec<_>, Vec<_>) = fds.into_iter().partition(listens);
        if !listeners.is_empty() && self.reported.once.insert("stored listener") {
            let text = format!(
                "gen {id} tried to store a listener; it was not stored, because hotrun keeps the address open itself"
            );
            let hint =
                "open the listener again on every start, or use the one that `--listen` passes";
            self.feed.message(Level::Warning, text, Some(hint.into()));
        }
        fds
    }

    fn set_main_process(&mut self, id: GenId, pid: i32) {
        let running = self.generations.get(&id);
        if running.is_some_and(|running| running.control.set_main(pid)) {
            return self.feed.report(Report::MainProcess(id, pid));
        }
        let text = format!("gen {id} sent MAINPID={pid} for a process outside its tree; ignored");
        self.offer(Level::Warning, text);
    }
}

/// The subject and verb of a sentence about this many descriptors.
fn were(count: usize) -> String {
    match count {
        1 => "1 descriptor was".into(),
        _ => format!("{count} descriptors were"),
    }
}

/// Describes the beginning or the end of a configuration reload.
fn show_reload(reloading: &mut Option<Instant>, assignments: &Assignments) -> Option<String> {
    if assignments.reloading {
        *reloading = Some(Instant::now());
        return Some("is reloading its configuration".into());
    }
    let since = reloading.take_if(|_| assignments.ready)?;
    Some(format!(
        "reloaded its configuration in {}",
        Human(since.elapsed())
    ))
}
