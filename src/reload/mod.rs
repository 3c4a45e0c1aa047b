//! The pure core: every decision about generations.
//!
//! [`Machine`] is a state machine without I/O and without a clock. The driver hands it an
//! [`Event`] with the time at which it happened, performs the returned [`Effect`]s, and passes the
//! [`Notice`]s to the user interface. [`Machine::deadline`] is the next moment at which the machine
//! wants an [`Event::Tick`].
//!
//! Nothing here knows about files, processes, sockets or terminals: a generation is a number, a failure is a value.
//! That is why the whole machine can be explored exhaustively (see `tests/`).

mod effect;
mod event;
mod id;
mod machine;
pub mod notation;
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
pub(crate) mod tests;
