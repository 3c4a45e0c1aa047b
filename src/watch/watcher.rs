use std::sync::mpsc;
use std::thread;

use notify::{Config, RecommendedWatcher, Watcher};
use tokio::sync::mpsc::UnboundedSender;

use super::worker::{Input, Worker};
use super::{Filter, Message, Revision, StartError, WatchSpec};

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
    /// A pattern is wrong, or the system gives no watch or no thread.
    pub fn start(spec: &WatchSpec, messages: UnboundedSender<Message>) -> Result<Self, StartError> {
        let spec = spec.normalised();
        let filter = Filter::new(&spec)?;
        let (inputs, received) = mpsc::channel();
        let events = inputs.clone();
        let config = Config::default().with_follow_symlinks(false);
        let handler = move |event| {
            // The worker has ended: nobody is interested any more.
            let _ = events.send(Input::Event(event));
        };
        let watcher =
            RecommendedWatcher::new(handler, config).map_err(|error| StartError::Backend {
                reason: error.to_string(),
            })?;
        let worker = Worker::new(spec, filter, Box::new(watcher), messages);
        let thread = thread::Builder::new().name("watch".to_owned());
        thread
            .spawn(move || worker.run(&received))
            .map_err(StartError::Thread)?;
        Ok(Self { inputs })
    }

    /// Takes over what a build has taught. What changed since that build began, and did not count until now, is
    /// told as a change.
    pub fn revise(&self, revision: Revision) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(Input::Revise(revision));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.inputs.send(Input::Stop);
    }
}
