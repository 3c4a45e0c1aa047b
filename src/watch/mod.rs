//! Which changes matter.
//!
//! ```text
//! the system's events ──> Filter ──> Debounce ──> Snapshot ──> Message::Changed
//!   (os::changes)         ignored?   quiet for   another        (to the driver)
//!                                    a moment?   content?
//! ```
//!
//! Events say only *where* something may have happened. What did happen is read from the file system once it
//! is quiet there: so it does not matter by which steps an editor saves, and a file that is gone again
//! by then was never there.
//!
//! Directories are watched one by one and never inside an ignored one: a watch costs memory in the
//! kernel, their number is limited, and a build writes thousands of files.

mod debounce;
mod filter;
mod git;
mod input_set;
mod message;
mod poll;
mod polled;
mod rule;
mod snapshot;
mod spec;
mod system;
mod temporary;
mod tree;
mod update;
mod watcher;
mod worker;

pub use filter::Filter;
pub use input_set::InputSet;
pub use message::{Message, StartError, Trouble};
pub use poll::Poll;
pub use rule::{Rule, RuleAction, WrongGlob, last};
pub use spec::WatchSpec;
pub use update::WatchUpdate;
pub use watcher::Watch;
