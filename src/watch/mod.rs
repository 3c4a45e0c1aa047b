//! Which changes matter.
//!
//! ```text
//! file events ──> Filter ──> Debounce ──> Snapshot ──> Message::Changed
//!   (notify)      counts?     quiet?      other contents?   (to the driver)
//! ```
//!
//! An event only says *where* something may have happened. Once it is quiet, the file system says what has: so it does
//! not matter in which steps an editor saves, and a temporary file that is gone by then never existed.
//!
//! Directories are watched one by one, and never inside an ignored one: a watch costs memory in the kernel, the number
//! of watches is limited, and a build writes thousands of files.

mod debounce;
mod filter;
mod git;
mod input_set;
mod message;
mod paths;
mod poll;
mod rule;
mod self_trigger;
mod snapshot;
mod spec;
mod temporary;
mod tree;
mod update;
mod watcher;
mod worker;

pub use filter::Filter;
pub use input_set::InputSet;
pub use message::{Message, StartError, Trouble};
pub use poll::Poll;
pub use rule::{InvalidGlob, Rule, RuleAction, action_for};
pub use self_trigger::{Batch, LockFileWindow, Moment, SelfTrigger, Verdict};
pub use spec::WatchSpec;
pub use update::WatchUpdate;
pub use watcher::Watch;
