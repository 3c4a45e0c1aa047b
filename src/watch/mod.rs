//! Watches files, and decides which changes matter.
//!
//! ```text
//! file events ──> Filter ──> Debounce ──> Snapshot ──> WatchMessage::Changed
//!   (notify)      counts?     quiet?      new contents?     (to the driver)
//! ```
//!
//! An event only shows *where* something may have happened. Once no more events arrive, hotrun examines the file system
//! to find out what has changed. So the individual steps in which an editor saves do not matter, and a temporary file
//! that is already gone is never reported.
//!
//! hotrun watches each directory individually, and does not watch ignored directories: a watch takes memory in the
//! kernel, the number of watches is limited, and a build writes thousands of files.
//!
//! # What counts as a change
//!
//! The rules in the order in which they apply, each with the function that decides. In this module, `worker.rs` calls
//! these functions: `WatchWorker::touched` for each event, and `WatchWorker::flush` for each batch.
//!
//! | rule | decided by |
//! | --- | --- |
//! | only events that can change contents: no reads, no changes of the file mode | `os::fs_event::translate` |
//! | a symbolic link is not followed; a new or replaced directory stands for its files | `WatchWorker::touched` |
//! | the last `--on` rule that matches the path wins, even over ignore files; `ignore` means that the file does not count | [`action_for`] |
//! | temporary files of editors and files of crashes do not count | `filter::is_temporary` |
//! | once a build has reported its inputs, only these count | `Filter::counts` |
//! | `--exts`, `--ignore`, ignore files, version control, cargo's output | `Filter::would_count` |
//! | roots that are files, and cargo's own files, count regardless of `--exts` | `Filter::counts` |
//! | a file that turns out to be an input counts if it has had an event since the build began | `WatchWorker::update` |
//! | a changed ignore file applies from the next batch on | `Filter::is_outdated_by` |
//! | a file counts when its writer has closed it | `Debounce::touch` |
//! | changes are reported together, once no more events arrive and git has finished | `Debounce::take` |
//! | the contents must have changed, or the metadata if the contents are not known | `Snapshot::update` |
//! | a `Cargo.lock` that cargo itself wrote during a build does not count | [`LockFileWindow::contains`] |
//! | files that a build or a command rewrites on every run do not count | [`SelfTrigger::judge`] |
//!
//! The driver asks about the last two before it acts on a batch.

mod debounce;
mod filter;
mod paths;
mod poll;
mod rule;
mod self_trigger;
mod snapshot;
mod spec;
mod tree;
mod worker;

pub use rule::{Rule, RuleAction, action_for};
pub use self_trigger::{Batch, LockFileWindow, Moment, SelfTrigger, Verdict};
pub use spec::{InputSet, Poll, WatchMessage, WatchSpec, WatchUpdate};

use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use crate::error::Failure;
use crate::os::fs_event::{self, EventSource};
use worker::{WatchInput, WatchWorker};

/// A handle to the watch thread. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    inputs: mpsc::Sender<WatchInput>,
}

impl Watch {
    /// Starts watching in a separate thread, and returns without waiting for it to read anything. `messages` receives
    /// [`WatchMessage::Watching`] before any change.
    ///
    /// # Errors
    ///
    /// A pattern is invalid, or no thread can be started.
    pub fn start(
        spec: &WatchSpec,
        messages: UnboundedSender<WatchMessage>,
    ) -> Result<Self, Failure> {
        let spec = spec.clone().normalised();
        let (inputs, received) = mpsc::channel();
        let source = match spec.poll {
            Poll::IfNeeded => source(inputs.clone(), &messages),
            Poll::Always | Poll::Every(_) => None,
        };
        let worker = WatchWorker::new(spec, source, received, messages)?;
        let thread = thread::Builder::new().name("watch".to_owned());
        thread.spawn(move || worker.run()).map_err(|error| {
            Failure::environment(format!("cannot start a thread to watch files: {error}"))
        })?;
        Ok(Self { inputs })
    }

    /// Must be called when a build begins. A file that has not counted so far may turn out to be an input of this
    /// build. If it changes from now on, that change must not be missed.
    pub fn build_begins(&self) {
        self.send(WatchInput::Build(SystemTime::now()));
    }

    /// Changes what is watched. A file that did not count before, and has changed since the build began, is reported as
    /// changed.
    pub fn update(&self, update: WatchUpdate) {
        self.send(WatchInput::Update(update));
    }

    fn send(&self, input: WatchInput) {
        // Fails if the thread has already ended.
        let _ = self.inputs.send(input);
    }
}

/// Opens the source of file events. Returns `None` if that fails, in which case everything is polled.
fn source(
    inputs: mpsc::Sender<WatchInput>,
    messages: &UnboundedSender<WatchMessage>,
) -> Option<EventSource> {
    let handler = move |event| {
        // Fails if the worker has already ended.
        let _ = inputs.send(WatchInput::Fs(event));
    };
    let report = |error: notify::Error| {
        // The standard library has no `ErrorKind` for `EMFILE`.
        let is_limit = matches!(&error.kind, notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE));
        // Fails if the caller has dropped its receiver.
        let _ = messages.send(WatchMessage::no_events(&fs_event::reason(&error), is_limit));
    };
    fs_event::source(handler).map_err(report).ok()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.send(WatchInput::Stop);
    }
}
