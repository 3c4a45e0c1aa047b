use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use super::system::System;
use super::worker::{Input, Worker};
use super::{Filter, Message, Poll, StartError, Trouble, WatchSpec, WatchUpdate};
use crate::os::changes::Watcher;

/// A watch. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    inputs: mpsc::Sender<Input>,
}

impl Watch {
    /// Begins to watch, in a thread of its own: first [`Message::Watching`] or a trouble arrives at
    /// `messages`, then changes. Returns before anything is read.
    ///
    /// # Errors
    ///
    /// A pattern is wrong, or the system gives no thread.
    pub fn start(spec: &WatchSpec, messages: UnboundedSender<Message>) -> Result<Self, StartError> {
        let spec = spec.normalised();
        let filter = Filter::new(&spec)?;
        let (inputs, received) = mpsc::channel();
        let system = match spec.poll {
            Poll::IfNeeded => system(inputs.clone(), &messages),
            Poll::Always | Poll::Every(_) => None,
        };
        let worker = Worker::new(spec, filter, system, messages);
        let thread = thread::Builder::new().name("watch".to_owned());
        thread
            .spawn(move || worker.run(&received))
            .map_err(StartError::Thread)?;
        Ok(Self { inputs })
    }

    /// A build begins now. What changes from here on, and does not count, may have to count by what it teaches.
    pub fn build_begins(&self) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(Input::Build(SystemTime::now()));
    }

    /// Takes over what a build has taught. What changed since that build began, and did not count until now, is
    /// told as a change.
    pub fn update(&self, revision: WatchUpdate) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(Input::Update(revision));
    }
}

/// Without one everything is looked at again and again: that is slow, but nothing is missed.
fn system(
    inputs: mpsc::Sender<Input>,
    messages: &UnboundedSender<Message>,
) -> Option<Box<dyn System>> {
    let handler = move |told| {
        // The worker has ended: nobody is interested any more.
        let _ = inputs.send(Input::Told(told));
    };
    match Watcher::new(handler) {
        Ok(watcher) => Some(Box::new(watcher)),
        Err(error) => {
            let trouble = Trouble::NoWatch {
                limited: is_limit(&error),
                reason: error.to_string(),
            };
            // The receiver is the caller's.
            let _ = messages.send(Message::Trouble(trouble));
            None
        }
    }
}

/// `EMFILE` has no kind of its own in the standard library.
fn is_limit(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(Input::Stop);
    }
}
