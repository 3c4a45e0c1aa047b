//! Watches files, and decides which changes matter.
//!
//! ```text
//! file events ──> Filter ──> Debounce ──> Snapshot ──> Message::Changed
//!   (notify)      counts?     quiet?      other contents?   (to the driver)
//! ```
//!
//! An event only says *where* something may have happened. When no more events arrive, hotrun looks at the file system
//! to find out what changed. So it does not matter in which steps an editor saves, and a temporary file that is gone by
//! then is never reported.
//!
//! hotrun watches each directory on its own, and none inside an ignored one: a watch costs memory in the kernel, the
//! number of watches is limited, and a build writes thousands of files.

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

pub use message::{Message, WatchUpdate};
pub use rule::{Rule, RuleAction, action_for};
pub use self_trigger::{Batch, LockFileWindow, Moment, SelfTrigger, Verdict};
pub use spec::{InputSet, Poll, WatchSpec};
pub use watcher::Watch;
