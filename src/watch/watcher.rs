use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use super::message::{Input, Message, WatchUpdate};
use super::spec::{Poll, WatchSpec};
use super::worker::Worker;
use crate::error::Failure;
use crate::os::fs_event::{self, Source};

/// A handle to the watch thread. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    inputs: mpsc::Sender<Input>,
}

impl Watch {
    /// Starts watching in a separate thread, and returns without waiting for it to read anything. `messages` receives
    /// [`Message::Watching`] before any change.
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

    /// Must be called when a build begins. A file that has not counted so far may turn out to be an input of this
    /// build. If it changes from now on, that change must not be missed.
    pub fn build_begins(&self) {
        self.send(Input::Build(SystemTime::now()));
    }

    /// Changes what is watched. A file that did not count before, and has changed since the build began, is reported as
    /// changed.
    pub fn update(&self, update: WatchUpdate) {
        self.send(Input::Update(update));
    }

    fn send(&self, input: Input) {
        // Fails if the thread has already ended.
        let _ = self.inputs.send(input);
    }
}

/// Opens the source of file events. Returns `None` if that fails, in which case everything is polled.
fn source(inputs: mpsc::Sender<Input>, messages: &UnboundedSender<Message>) -> Option<Source> {
    let handler = move |event| {
        // Fails if the worker has already ended.
        let _ = inputs.send(Input::Fs(event));
    };
    let report = |error: notify::Error| {
        // The standard library has no `ErrorKind` for `EMFILE`.
        let is_limit = matches!(&error.kind, notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE));
        // Fails if the caller has dropped its receiver.
        let _ = messages.send(Message::no_events(&fs_event::reason(&error), is_limit));
    };
    fs_event::source(handler).map_err(report).ok()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.send(Input::Stop);
    }
}
