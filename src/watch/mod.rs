//! Watches files, and decides which changes matter.
//!
//! ```text
//! file events ──> Filter ──> Debounce ──> Snapshot ──> WatchMessage::Changed
//!   (notify)      counts?     quiet?      new contents?     (to the driver)
//! ```
//!
//! An event only shows *where* something may have happened. Once no more events arrive, hotrun examines the file system
//! to find out what has changed. So the individual steps of an editor's save do not matter, and a temporary file that
//! is already gone is never reported.
//!
//! hotrun watches each directory individually, and does not watch ignored directories: a watch takes memory in the
//! kernel, the number of watches is limited, and a build writes thousands of files.
//!
//! # What counts as a change
//!
//! A file *counts* if hotrun reports changes to it. These are the rules in the order in which they apply, each with the
//! function that decides. `WatchWorker::touched` calls these functions for each event, and `WatchWorker::flush` calls
//! them for each batch.
//!
//! | rule | decided by |
//! | --- | --- |
//! | reads and changes of the file mode do not count | `os::fs_event::translate` |
//! | for a new or replaced directory, each of its files is checked | `WatchWorker::dir_appeared` |
//! | a symbolic link in a watched directory counts, and its target is watched, too | `WatchWorker::follow` |
//! | the last matching `--on` rule decides: `ignore` excludes a file, any other action includes it | [`action_for`] |
//! | temporary files of editors, and files that a crash leaves behind, do not count | `filter::is_temporary` |
//! | once a build has reported its inputs, no other files count | `Filter::counts` |
//! | `--exts`, `--ignore`, ignore files, version control and `__pycache__` directories and cargo's output restrict what counts | `Filter::would_count` |
//! | a root that is a file counts regardless of `--exts`, and so do cargo's own files | `Filter::counts` |
//! | a file that turns out to be an input of the build counts if it has had an event since the build began | `WatchWorker::update` |
//! | a changed ignore file applies to the batch that contains it | `Filter::is_outdated_by` |
//! | a file that is being written waits until its writer has closed it | `Debounce::touch` |
//! | the batch waits until no more events arrive and git has finished | `Debounce::take` |
//! | the contents must have changed or, if they are unknown, the metadata | `Snapshot::update` |
//! | a change is reported with the child of ours whose process tree holds the file open for writing, or has just written it | `HeldFiles::writer` |
//! | a `Cargo.lock` that cargo itself wrote during a build does not count | [`LockFileWindow::contains`] |
//! | a change that the program made does not count | `Driver::is_own` |
//! | a file that a build was seen writing counts only the first time | [`SelfTrigger::caught`] |
//! | a file that a build or a command rewrites on every run does not count | [`SelfTrigger::judge`] |
//!
//! The changes of sources (`@NAME`, see [`source_path`]) join the batch, and only the last rule applies to them, and
//! `--on` rules. A source must be quiet for longer.
//!
//! The driver applies the last four rules before it acts on a batch (`driver/changes`).

mod debounce;
mod filter;
mod held;
mod own_writes;
mod paths;
mod poll;
mod rule;
mod self_trigger;
mod snapshot;
mod spec;
mod tree;
mod worker;

pub use own_writes::{Suspicion, WriteCalls};
pub use rule::{ChangeRule, RuleAction, action_for, is_source, source_path};
pub use self_trigger::{LockFileWindow, SelfTrigger, Verdict};
pub use spec::{Change, InputSet, Poll, WatchMessage, WatchSpec, WatchUpdate};

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use crate::error::Failure;
use crate::os::fs_event;
use worker::{WatchInput, WatchWorker};

/// A handle to the watch thread. Dropping it ends the watch.
#[derive(Debug)]
pub struct FileWatch {
    inputs: mpsc::Sender<WatchInput>,
    /// The programs' intercepted calls.
    pub calls: WriteCalls,
}

impl FileWatch {
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
        let (inputs, received) = mpsc::channel();
        let events = inputs.clone();
        // Sending fails if the worker or the caller has already ended.
        let handler = move |event| drop(events.send(WatchInput::Fs(event)));
        let report = |error| {
            drop(messages.send(WatchMessage::no_events(&fs_event::reason(&error))));
        };
        // Without a source of events, everything is polled.
        let source = match spec.poll {
            Poll::IfNeeded => fs_event::source(handler).map_err(report).ok(),
            Poll::Always | Poll::Every(_) => None,
        };
        let calls = WriteCalls::default();
        let worker = WatchWorker::new(spec.clone(), source, received, messages, calls.clone())?;
        let thread = thread::Builder::new().name("watch".to_owned());
        thread.spawn(move || worker.run()).map_err(|error| {
            Failure::environment(format!("cannot start a thread to watch files: {error}"))
        })?;
        Ok(Self { inputs, calls })
    }

    /// Call this when a build begins. A file whose changes have been ignored so far may turn out to be an input of this
    /// build; if it changes from now on, that change must not be missed.
    pub fn build_begins(&self) {
        self.send(WatchInput::Build(SystemTime::now()));
    }

    /// Changes what is watched. A file that counts only from now on is reported as changed if it has changed since the
    /// build began.
    pub fn update(&self, update: WatchUpdate) {
        self.send(WatchInput::Update(update));
    }

    /// Call this if a source has changed. The change is reported in the next batch.
    pub fn source_changed(&self, name: &str) {
        self.send(WatchInput::Source(source_path(name)));
    }

    /// Call this if a build has not read a changed file. Any event for the file counts as a change from now on.
    pub fn unread(&self, path: PathBuf) {
        self.send(WatchInput::Unread(path));
    }

    fn send(&self, input: WatchInput) {
        // Fails if the thread has already ended.
        let _ = self.inputs.send(input);
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.send(WatchInput::Stop);
    }
}
