//! Listening sockets: groups, slots, steering, relay.
//!
//! For every address there is a *group*: one listening socket (*slot*) for each generation, all kept open by a
//! duplicate of ours. The group is *steered*: one slot gets the new connections. [`Sockets::switch`] steers every
//! group to another generation, at once for each; from its return on every new connection is that
//! generation's.
//!
//! - TCP: the slots are one `SO_REUSEPORT` group, and a small program in the kernel chooses by index (`steer.rs` writes
//!   it, `roster.rs` knows the indices, `steered.rs` performs it).
//! - Unix: every slot has a name of its own beside the path, and the path is a hard link to one of them (`renamed.rs`).
//! - [`Sharing::Shared`]: one socket for all generations, for systems without such calls (`shared.rs`).
//!
//! What holds, whatever the program does with its socket:
//!
//! - From [`Sockets::open`] to the drop of [`Sockets`] somebody listens on every address.
//! - A slot is closed only when no connection can land in it or because of it in another one that does not
//!   serve, unless it is carried from there, and when nothing waits in it any more (`Roster::may_leave`,
//!   `Group::close_what_may`).
//! - `O_NONBLOCK` and timeouts of a socket that a program holds are never touched: they are the program's too.

mod address;
mod adopter;
mod answerer;
mod apply;
mod attend;
mod bind;
mod drain;
mod duty;
mod endpoint;
mod forward;
mod forwarder;
pub mod intercept;
mod limits;
mod listening;
mod open_error;
mod opened;
mod owner;
pub mod pending;
mod route;
mod scan;
mod shared;
mod sockets;
mod stream;
mod table;
mod unix_path;

pub use address::{Address, ListenSpec, ParseListenError};
pub use adopter::{Adopter, Joined, Neighbours, Opened};
pub use answerer::{Answerer, Heard};
pub use drain::DrainMonitor;
pub use endpoint::{Endpoint, Transport};
pub use listening::{Listening, Passed};
pub use open_error::{Occupant, OpenError};
pub use route::Route;
pub use sockets::{Sharing, Sockets};
pub use stream::Stream;

#[cfg(test)]
mod tests;
