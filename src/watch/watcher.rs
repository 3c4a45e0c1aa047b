use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use super::message::{Input, Message, WatchUpdate};
use super::spec::{Poll, WatchSpec};
use super::worker::Worker;
use crate::error::Failure;
use crate::os::fs_event::{self, Source};

/// A watch. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    inputs: mpsc::Sender<Input>,
}

impl Watch {
    /// Starts to watch in a thread of its own, and returns before it has read anything. [`Message::Watching`] arrives
    /// at `messages` before any change.
    ///
    /// # Errors
    ///
    /// A pattern is invalid, or no thread can be started.
    pub fn start(spec: &WatchSpec, messages: UnboundedSender<Message>) -> Result<Self, Failure> {
        let spec = spec.clone().normalised();
        let (inputs, received) = mpsc::channel();
        let source = match spec.poll {
            Poll::IfNeeded => source(inputs.clone(), &messages),
            Poll::Always | Poll::Every(_) => None,
        };
        let worker = Worker::new(spec, source, received, messages)?;
        let thread = thread::Builder::new().name("watch".to_owned());
        thread.spawn(move || worker.run()).map_err(|error| {
            Failure::environment(format!("cannot start a thread to watch files: {error}"))
        })?;
        Ok(Self { inputs })
    }

    /// A build begins now. A file that changes from here on and does not count may turn out to be an input of it.
    pub fn build_begins(&self) {
        self.send(Input::Build(SystemTime::now()));
    }

    /// Changes what is watched. A file that did not count until now, and has changed since the build began, is reported
    /// as changed.
    pub fn update(&self, update: WatchUpdate) {
        self.send(Input::Update(update));
    }

    fn send(&self, input: Input) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(input);
    }
}

/// Without a source, everything is polled.
fn source(inputs: mpsc::Sender<Input>, messages: &UnboundedSender<Message>) -> Option<Source> {
    let handler = move |event| {
        // An error means that the worker has ended.
        let _ = inputs.send(Input::Fs(event));
    };
    let report = |error: notify::Error| {
        // `EMFILE` has no kind of its own in the standard library.
        let is_limit = matches!(&error.kind, notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE));
        // An error means that the caller has dropped its receiver.
        let _ = messages.send(Message::no_events(&fs_event::reason(&error), is_limit));
    };
    fs_event::source(handler).map_err(report).ok()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.send(Input::Stop);
    }
}
