//! The pure core, which makes every decision about generations.
//!
//! [`Machine`] is a state machine without I/O and without a clock. The driver hands it an [`Event`] with the time at
//! which it happened, performs the returned [`Effect`]s, and passes the [`Notice`]s to the user interface.
//! [`Machine::deadline`] is the next time at which the machine needs an [`Event::Tick`]. [`Instances`] contains a machine
//! for each instance of the program; usually, there is one.
//!
//! Nothing here knows about files, processes, sockets or terminals: a generation is a number, and a failure is a value.
//! That is why the whole machine can be explored exhaustively (see `tests/`).
//!
//! | to change | look at |
//! | --- | --- |
//! | what a change, a key or a signal does | `machine/requests.rs`, `machine/quit.rs` |
//! | when a build or a generation starts, and what must end first | `machine/advance.rs` |
//! | what follows from the result of a build | `machine/build_end.rs` |
//! | readiness, the switch, failures before it | `machine/lifecycle.rs` |
//! | how a generation is drained, stopped or killed, and when it is gone | `machine/teardown.rs`, `machine/drain.rs` |
//! | the time limits | `policy.rs`, and the constants at the head of the files |
//! | what happens if memory is short | `machine/memory.rs` |
//! | when new connections wait for a newer generation | `machine/fresh.rs` |
//! | which share of the new connections a new generation gets first | `machine/share.rs` |
//! | what happens after a crash | `machine/recovery.rs` |
//! | when the paths of a program's own unix sockets are restored | `machine/own_paths.rs` |
//! | several instances of the program | `machine/instances.rs` |
//! | what a program may ask for (`sd_notify`), its watchdog | `machine/notify.rs` |

mod effect;
mod event;
mod id;
mod machine;
pub mod notation;
mod notice;
mod policy;
mod share_steps;

pub use effect::{Effect, GenEffect};
pub use event::{Action, BuildOutcome, Ended, Event, GenEvent, Request, WatchdogMessage};
pub use id::{ArtifactId, GenId, Phase};
pub use machine::{Instances, Machine, Reaction};
pub use notice::{Cause, GenFailure, GenNotice, Notice, Stopped};
pub use policy::{Fresh, Mode, Policy, Time, WhenBusy};
pub use share_steps::ShareSteps;

#[cfg(test)]
pub(crate) mod tests;
