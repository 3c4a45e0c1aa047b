//! What a program says on its notify socket (`sd_notify(3)`), and what is done about it.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::{mpsc, oneshot, watch};

use crate::process::Control;
use crate::process::notify::{FdStore, Message, NotifySocket, Rejected, Store, Watchdog};
use crate::ready::NotifyState;
use crate::reload::{Event, GenEvent, GenId, WatchdogMessage};
use crate::ui::{Level, Report};

use super::Driver;
use super::feed::Feed;
use super::inbox::{Inbox, Input};
use super::reloading::Reloading;

/// A request to hear out what was sent until now; dropped when that is done.
pub(super) type HearOut = oneshot::Sender<()>;

/// How long to hear out a program that has ended. What it sent is there already; only who is in its tree sends more.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// Waits until all has been heard that was sent until now: what a program stores at its end comes before that end.
pub(super) async fn hear_out(listener: &mpsc::UnboundedSender<HearOut>) {
    let (sender, done) = oneshot::channel();
    if listener.send(sender).is_ok() {
        let _ = tokio::time::timeout(HEARD_OUT, done).await;
    }
}

/// Listens to one generation.
pub(super) struct Listener {
    pub(super) id: GenId,
    pub(super) socket: NotifySocket,
    pub(super) control: Control,
    pub(super) heard: watch::Sender<NotifyState>,
    pub(super) requests: mpsc::UnboundedReceiver<HearOut>,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
    pub(super) reloading: Reloading,
    pub(super) status: String,
}

impl Listener {
    /// One message after the other: the next is taken when all has been done about the one before. So the descriptor
    /// of a `BARRIER=1`, closed as it is taken, is closed when all before it is done.
    pub(super) async fn run(mut self) {
        let Err(error) = self.listen().await;
        let id = self.id;
        self.feed.error(
            format!("gen {id}: reading its notify socket: {error}"),
            None,
        );
    }

    async fn listen(&mut self) -> io::Result<Infallible> {
        loop {
            let control = self.control.clone();
            tokio::select! {
                taken = self.socket.recv(|| control.pids()) => self.take(taken?).await,
                Some(request) = self.requests.recv() => {
                    while let Some(taken) = self.socket.try_recv(|| control.pids())? {
                        self.take(taken).await;
                    }
                    drop(request);
                }
            }
        }
    }

    async fn take(&mut self, taken: Result<Message, Rejected>) {
        let id = self.id;
        match taken {
            Ok(message) => {
                self.tell(&message);
                let ready = message.assignments.ready;
                self.heard.send_modify(|heard| *heard = heard.after(ready));
                let (sender, done) = oneshot::channel();
                let said = Said {
                    id,
                    message,
                    _done: sender,
                };
                self.inbox.input(Input::Said(Box::new(said)));
                let _ = done.await;
            }
            Err(refused) => {
                self.warn(format!("gen {id}: {refused} was ignored"));
            }
        }
    }

    /// What is for the screen alone. It never waits for that: what it says is not worth a program that waits.
    fn tell(&mut self, message: &Message) {
        let (id, said) = (self.id, &message.assignments);
        self.reloading.follow(id, said, &self.feed);
        if let Some(status) = said.status.clone().filter(|new| *new != self.status) {
            self.status.clone_from(&status);
            self.feed.offer(Report::Status { id, text: status });
        }
        if said.stopping {
            let text = format!("gen {id} is about to end");
            self.feed.offer(Feed::text(Level::Detail, text));
        }
        if let Some(errno) = said.errno {
            let text = Errno::from_raw(errno).desc();
            self.warn(format!(
                "gen {id} says that it failed: {text} (errno {errno})"
            ));
        }
        if message.surplus > 0 {
            let count = message.surplus;
            self.warn(format!(
                "gen {id} sent {count} descriptors without saying what for; they were closed"
            ));
        }
    }

    fn warn(&self, text: String) {
        self.feed.offer(Feed::text(Level::Warning, text));
    }
}

/// A message, and who waits until all is done about it.
#[derive(Debug)]
pub(super) struct Said {
    id: GenId,
    message: Message,
    _done: oneshot::Sender<()>,
}

impl Driver {
    /// A program has said something of itself.
    pub(super) fn said(&mut self, said: Said) {
        let Said { id, message, _done } = said;
        // It may be gone by now; what it stored is kept all the same.
        if let Some(store) = message.assignments.store {
            self.store_for(id, store, message.descriptors);
        }
        if let Some(pid) = message.assignments.main_pid {
            self.name_main(id, pid);
        }
        if let Some(by) = message.assignments.extend_timeout {
            self.handle(Event::Generation(id, GenEvent::ExtendTimeout { by }));
        }
        let period = message
            .assignments
            .watchdog_period
            .map(WatchdogMessage::Period);
        let sign = message.assignments.watchdog.map(|watchdog| match watchdog {
            Watchdog::Alive => WatchdogMessage::Ping,
            Watchdog::Trigger => WatchdogMessage::Trigger,
        });
        for sign in period.into_iter().chain(sign) {
            self.handle(Event::Generation(id, GenEvent::Watchdog(sign)));
        }
    }

    fn store_for(&mut self, id: GenId, store: Store, fds: Vec<OwnedFd>) {
        match store {
            Store::Keep { name, poll } => {
                let fds = self.without_listeners(id, fds);
                let kept = self.store.store(&name, poll, fds);
                if kept.refused > 0 {
                    let (count, most) = (kept.refused, FdStore::capacity());
                    self.feed.message(
                        Level::Warning,
                        format!(
                            "gen {id} stores more than {most} descriptors: {count} were closed"
                        ),
                        Some("`FDSTOREREMOVE=1` with `FDNAME` takes out what is not needed".into()),
                    );
                }
                if kept.new > 0 {
                    let count = self.store.len();
                    let text = format!("gen {id} has stored `{name}`; {count} kept");
                    self.feed.offer(Feed::text(Level::Detail, text));
                    self.handle(Event::Generation(id, GenEvent::StoredFds));
                }
            }
            Store::Remove { name } => {
                let count = self.store.remove(&name);
                let text = format!("gen {id} has `{name}` removed: {count} closed");
                self.feed.offer(Feed::text(Level::Detail, text));
            }
        }
    }

    /// What the program listens on is hotrun's too, and is shut down when the generation is gone: the next one would be
    /// passed it, open none, and nobody would serve. The address stays open without that.
    fn without_listeners(&mut self, id: GenId, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        let listens = |fd: &OwnedFd| self.sockets.has(fd);
        let (listeners, fds): (Vec<_>, Vec<_>) = fds.into_iter().partition(listens);
        if !listeners.is_empty() && !std::mem::replace(&mut self.told_of_listeners, true) {
            let text = format!(
                "gen {id} stores a socket that it listens on; hotrun keeps the address open itself, and did not store it"
            );
            let hint = "as at the first start, open it, or take the one of `--listen`";
            self.feed.message(Level::Warning, text, Some(hint.into()));
        }
        fds
    }

    fn name_main(&mut self, id: GenId, pid: i32) {
        let Some(running) = self.generations.get(&id) else {
            return;
        };
        if running.control.set_main(pid) {
            self.feed.tell(Report::MainProcess { id, pid });
        } else {
            let text = format!("gen {id} names process {pid} its main one, which is not of it");
            self.feed.offer(Feed::text(Level::Warning, text));
        }
    }
}
