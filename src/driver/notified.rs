//! What hotrun does about the notifications of programs.

use std::os::fd::OwnedFd;

use crate::process::notify::{FdStore, Store, Watchdog};
use crate::reload::{Event, GenEvent, GenId, WatchdogMessage};
use crate::ui::{Feed, Level, Report};

use super::inbox::Notification;
use super::state::Driver;

impl Driver {
    pub(super) fn notified(&mut self, notification: Notification) {
        let Notification {
            id,
            message,
            done: _done,
        } = notification;
        let assignments = message.assignments;
        // Descriptors are stored even if the generation is gone by now.
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
        let ping = assignments.watchdog.map(|watchdog| match watchdog {
            Watchdog::Alive => WatchdogMessage::Ping,
            Watchdog::Trigger => WatchdogMessage::Trigger,
        });
        for message in period.into_iter().chain(ping) {
            self.handle(Event::Generation(id, GenEvent::Watchdog(message)));
        }
    }

    fn store(&mut self, id: GenId, store: Store, fds: Vec<OwnedFd>) {
        match store {
            Store::Keep { name, poll } => {
                let fds = self.without_listeners(id, fds);
                let kept = self.fd_store.store(&name, poll, fds);
                if kept.refused > 0 {
                    let (count, most) = (kept.refused, FdStore::capacity());
                    let text = format!(
                        "gen {id} stores more than {most} descriptors; {count} were closed"
                    );
                    let hint = "`FDSTOREREMOVE=1` with `FDNAME` removes those that are not needed";
                    self.feed.message(Level::Warning, text, Some(hint.into()));
                }
                if kept.new > 0 {
                    let count = self.fd_store.len();
                    let text = format!("gen {id} stored `{name}`; {count} descriptors are stored");
                    self.feed.offer(Feed::text(Level::Detail, text));
                    self.handle(Event::Generation(id, GenEvent::StoredFds));
                }
            }
            Store::Remove { name } => {
                let count = self.fd_store.remove(&name);
                let text = format!("gen {id} removed `{name}`; {count} descriptors were closed");
                self.feed.offer(Feed::text(Level::Detail, text));
            }
        }
    }

    /// Removes the listeners. hotrun shares them and shuts them down when the generation is gone. The next generation would
    /// get a dead listener and open none itself. hotrun keeps the address open anyway.
    fn without_listeners(&mut self, id: GenId, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        let listens = |fd: &OwnedFd| self.sockets.has(fd);
        let (listeners, fds): (Vec<_>, Vec<_>) = fds.into_iter().partition(listens);
        if !listeners.is_empty() && !std::mem::replace(&mut self.reported.listeners, true) {
            let text = format!(
                "gen {id} stores a listener; hotrun keeps the address open itself, and did not store it"
            );
            let hint = "open the listener as at the first start, or use the one of `--listen`";
            self.feed.message(Level::Warning, text, Some(hint.into()));
        }
        fds
    }

    fn set_main_process(&mut self, id: GenId, pid: i32) {
        let Some(running) = self.generations.get(&id) else {
            return;
        };
        if running.control.set_main(pid) {
            self.feed.report(Report::MainProcess { id, pid });
        } else {
            let text =
                format!("gen {id} sent MAINPID={pid} for a process outside its tree; ignored");
            self.feed.offer(Feed::text(Level::Warning, text));
        }
    }
}
