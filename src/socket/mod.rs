//! Listening sockets: which generation gets new connections, and when a socket may be closed.
//!
//! Every address has a *group*: one *listener* for each generation, kept open by a duplicate that hotrun holds. The group
//! is *steered*: one listener gets the new connections. [`Sockets::switch`] steers every group to another generation.
//! Once it returns, every new connection goes to that generation.
//!
//! - TCP: the listeners are members of one `SO_REUSEPORT` group, and a small program in the kernel returns the index of the
//!   member that gets a connection.
//! - Unix: every listener has a name of its own beside the path, and the path is a hard link to one of them.
//! - [`Sharing::Shared`]: all listeners are duplicates of one socket, for systems without such calls.
//!
//! ```text
//! driver, interceptors, probes ──> Sockets, Adopter, Route ─┐ request, reply
//! forwarders, hang-up tasks, scans ─────────────────────────┤ input
//!                                                           v
//!                                   owner (one thread) ──Input──> table (pure)
//!                                                      <───Op────
//!                                   apply: open, listen, attach, close, forward, scan
//! ```
//!
//! - `table` decides. It is pure, and its tests walk through the states of small worlds, against a model of the kernel.
//! - `owner` is the one thread that has the table and the sockets, without a lock. It never waits: other threads and tasks
//!   walk over the sockets of the machine, and accept and forward connections. It replies to a request before it tidies up.
//! - `apply` performs the ops on real sockets (`opened`). `forwarder` accepts connections that no program takes, and
//!   `forward` handles one of them: it waits, gets a response ([`pending`]), or is forwarded.
//! - `drain` finds out whether a generation has finished; `scan` asks the kernel about all sockets.
//! - [`intercept`] replies to `bind` and `listen` of programs.
//!
//! These hold whatever a program does with its socket, and are checked by name in `table/tests`:
//!
//! - From [`Sockets::open`] to the drop of [`Sockets`] some process listens on every address.
//! - A listener is closed only when no connection waits in it or is on its way into it, and the index that it leaves sends
//!   none astray.
//! - `O_NONBLOCK` and timeouts of a socket that a program holds are never touched: they are the program's too.

mod address;
mod adopter;
mod apply;
mod drain;
mod endpoint;
mod forward;
mod forwarder;
pub mod intercept;
mod open;
mod opened;
mod owner;
pub mod pending;
mod route;
mod scan;
mod sockets;
mod table;
mod unix_path;

pub use address::{Address, ListenSpec, Listening, ParseListenError};
pub use adopter::{Adopter, Joined, Neighbours, Opened};
pub use drain::DrainMonitor;
pub use endpoint::{Endpoint, Transport};
pub use forward::{Respond, Response, Stream};
pub use open::OpenError;
pub use opened::Sharing;
pub use route::Route;
pub use sockets::{Passed, Sockets};

#[cfg(test)]
mod tests;
