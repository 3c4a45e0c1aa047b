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

mod debounce;
mod filter;
mod message;
mod paths;
mod poll;
mod rule;
mod self_trigger;
mod snapshot;
mod spec;
mod tree;
mod watcher;
mod worker;

pub use message::{WatchMessage, WatchUpdate};
pub use rule::{Rule, RuleAction, action_for};
pub use self_trigger::{Batch, LockFileWindow, Moment, SelfTrigger, Verdict};
pub use spec::{InputSet, Poll, WatchSpec};
pub use watcher::Watch;
