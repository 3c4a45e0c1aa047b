//! The thread that owns all sockets.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::apply::Applier;
use super::opened::Sharing;
use super::table::{Input, Table};

/// A message in the inbox: an input, or a request that sends its result to the waiting thread.
enum Message {
    Input(Input),
    Request(Box<dyn FnOnce(&mut Owner) + Send>),
}

/// The table and its sockets. Only the owner's thread can access them.
pub(super) struct Owner {
    pub(super) table: Table,
    pub(super) applier: Applier,
    /// Whether the table has handled an input since it was last tidied up.
    untidy: bool,
    closed: bool,
}

/// A handle for sending messages to the owner from any thread.
#[derive(Clone)]
pub(super) struct Inbox(Sender<Message>);

impl Owner {
    /// Starts the thread. It ends when [`Self::close`] is called.
    pub(super) fn start(sharing: Sharing) -> io::Result<Inbox> {
        let (sender, inbox) = mpsc::channel();
        let inputs = sender.clone();
        let report = move |input| drop(inputs.send(Message::Input(input)));
        let mut owner = Self {
            table: Table::new(),
            applier: Applier::new(sharing, Arc::new(report)),
            untidy: false,
            closed: false,
        };
        let thread = thread::Builder::new().name("sockets".to_owned());
        thread.spawn(move || owner.run(&inbox))?;
        Ok(Inbox(sender))
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        while !self.closed {
            let message = match self.table.deadline() {
                Some(deadline) => inbox.recv_timeout(deadline.since(self.applier.now())).ok(),
                None => inbox.recv().ok(),
            };
            // A bug in hotrun must not close all sockets.
            let _ = catch_unwind(AssertUnwindSafe(|| self.act(message)));
        }
    }

    /// Handles a message. `None` means that the deadline has passed. Failed ops are retried later.
    fn act(&mut self, message: Option<Message>) {
        match message {
            None => drop(self.handle(Input::Tick)),
            Some(Message::Input(input)) => drop(self.handle(input)),
            Some(Message::Request(request)) => request(self),
        }
        if self.untidy {
            let _ = self.tidy();
        }
    }

    /// Has the table handle an input. The table is tidied up after the reply has been sent, or now if the result
    /// depends on it.
    pub(super) fn handle(&mut self, input: Input) -> io::Result<()> {
        if input != Input::Tick {
            tracing::debug!("sockets: {input:?}");
        }
        let starts_forwarders = input.starts_forwarders();
        self.untidy = true;
        let result = self
            .table
            .handle(self.applier.now(), input, &mut self.applier);
        // A socket that a failed input did not take would keep its address.
        self.applier.incoming = None;
        let result = match starts_forwarders {
            true => result.and(self.tidy()),
            false => result,
        };
        result.inspect_err(|error| tracing::debug!("sockets: failed: {error}"))
    }

    fn tidy(&mut self) -> io::Result<()> {
        self.untidy = false;
        self.table.tidy(self.applier.now(), &mut self.applier)
    }

    /// Closes everything and ends the thread.
    pub(super) fn close(&mut self) {
        let _ = self.handle(Input::Close);
        self.closed = true;
    }
}

impl Inbox {
    /// Runs a request on the owner's thread, and waits for the result. This takes microseconds, because slow work is
    /// done elsewhere. Fails with [`io::ErrorKind::NotConnected`] once the sockets are closed.
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

    /// Has the table handle an input, and waits for the result.
    pub(super) fn handle(&self, input: Input) -> io::Result<()> {
        self.ask(|owner| owner.handle(input))?
    }

    /// Sends an input without waiting for it to be handled.
    pub(super) fn send(&self, input: Input) {
        let _ = self.0.send(Message::Input(input));
    }
}
