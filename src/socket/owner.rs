//! The one thread that owns all sockets.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use super::apply::{Applier, Report};
use super::limits::Limits;
use super::scan::Scanned;
use super::table::{GroupId, Input, Sight, Table};
use crate::reload::Time;

/// What is in the inbox.
enum Message {
    Report(Report),
    /// Acts, and replies to whichever thread waits for it.
    Request(Box<dyn FnOnce(&mut Owner) + Send>),
}

/// The table and its sockets. Only its own thread has it.
pub(super) struct Owner {
    pub(super) table: Table,
    pub(super) applier: Applier,
    started: Instant,
    /// Whether the table has acted on an input and was not tidied up since.
    untidy: bool,
    closed: bool,
}

/// A way to the owner. Every thread may have one.
#[derive(Clone)]
pub(super) struct Inbox(Sender<Message>);

impl Owner {
    /// Starts the thread, which ends with [`Self::close`].
    ///
    /// # Errors
    /// If it can't be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn start() -> io::Result<Inbox> {
        let (sender, inbox) = mpsc::channel();
        let reports = sender.clone();
        let report = move |report| drop(reports.send(Message::Report(report)));
        let mut owner = Self {
            table: Table::new(),
            applier: Applier::new(Limits::new(), Arc::new(report)),
            started: Instant::now(),
            untidy: false,
            closed: false,
        };
        let thread = thread::Builder::new().name("sockets".to_owned());
        thread.spawn(move || owner.run(&inbox))?;
        Ok(Inbox(sender))
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        while !self.closed {
            let message = self.next(inbox);
            // A fault of ours must not take all sockets along.
            let _ = catch_unwind(AssertUnwindSafe(|| self.act(message)));
        }
    }

    /// The next message; none if something is due before.
    fn next(&self, inbox: &Receiver<Message>) -> Option<Message> {
        let Some(deadline) = self.table.deadline() else {
            return inbox.recv().ok();
        };
        inbox.recv_timeout(deadline.since(self.now())).ok()
    }

    fn act(&mut self, message: Option<Message>) {
        let result = match message {
            None => self.handle(Input::Tick),
            Some(Message::Report(Report::Input(input))) => self.handle(input),
            Some(Message::Report(Report::Scanned(group, scanned))) => self.scanned(group, &scanned),
            Some(Message::Request(request)) => {
                request(self);
                Ok(())
            }
        };
        // What failed is tried again.
        let _ = result;
        if self.untidy {
            let _ = self.tidy();
        }
    }

    fn now(&self) -> Time {
        self.time(Instant::now())
    }

    fn time(&self, at: Instant) -> Time {
        Time::after_start(at.saturating_duration_since(self.started))
    }

    /// Has the table act on an input. It is tidied up once the reply is sent, or now if the result depends on that.
    ///
    /// # Errors
    /// See [`Table::handle`] and [`Table::tidy`].
    pub(super) fn handle(&mut self, input: Input) -> io::Result<()> {
        let starts_forwarders = input.starts_forwarders();
        self.untidy = true;
        let result = self.table.handle(self.now(), input, &mut self.applier);
        match starts_forwarders {
            true => result.and(self.tidy()),
            false => result,
        }
    }

    fn tidy(&mut self) -> io::Result<()> {
        self.untidy = false;
        self.table.tidy(self.now(), &mut self.applier)
    }

    /// A socket that one of ours was opened for during the scan is no stranger.
    fn scanned(&mut self, group: GroupId, scanned: &Scanned) -> io::Result<()> {
        let ours = self.applier.inodes();
        let sight = Sight {
            since: self.time(scanned.since),
            stranger: scanned.strangers.iter().any(|one| !ours.contains(one)),
            half_open: scanned.half_open,
        };
        self.handle(Input::Scanned { group, sight })
    }

    /// Closes everything, and ends the thread.
    pub(super) fn close(&mut self) {
        let _ = self.handle(Input::Close);
        self.closed = true;
    }
}

impl Inbox {
    /// Has the owner do something, and waits for the result. That takes microseconds: whatever is slow is done elsewhere.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] once the sockets are closed.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Owner) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (reply, replied) = mpsc::sync_channel(1);
        let request = move |owner: &mut Owner| drop(reply.send(request(owner)));
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        let sent = self.0.send(Message::Request(Box::new(request)));
        sent.map_err(|_| closed())?;
        replied.recv().map_err(|_| closed())
    }

    /// Has the table act on an input, and waits for the result.
    ///
    /// # Errors
    /// See [`Table::handle`].
    pub(super) fn handle(&self, input: Input) -> io::Result<()> {
        self.ask(|owner| owner.handle(input))?
    }

    /// Sends an input, and does not wait.
    pub(super) fn send(&self, input: Input) {
        let _ = self.0.send(Message::Report(Report::Input(input)));
    }
}
