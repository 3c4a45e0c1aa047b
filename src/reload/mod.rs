//! The pure core: every decision about generations.
//!
//! [`Machine`] is a state machine without I/O and without a clock. The driver hands it an
//! [`Event`] with the time at which it happened, performs the [`Effect`]s that come back, and gives
//! the [`Notice`]s to the user interface. [`Machine::deadline`] names the next moment at which the
//! machine wants to be woken with [`Event::Tick`].
//!
//! Nothing here knows of files, processes, sockets or terminals: a generation is a number, a failure
//! is a value. That is why the whole of it can be explored exhaustively (see `tests/`).

mod effect;
mod event;
mod id;
mod machine;
mod notice;
mod phase;
mod policy;

pub use effect::{Effect, GenEffect};
pub use event::{Action, BuildOutcome, Event, GenEvent, Request, WatchdogMessage};
pub use id::{ArtifactId, GenId};
pub use machine::{Machine, Response};
pub use notice::{Cause, Failure, GenNotice, Notice, Stopped};
pub use phase::{Ended, Phase};
pub use policy::{Mode, Policy, Time, WhenBusy};

#[cfg(test)]
mod tests;
