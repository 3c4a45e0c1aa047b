//! Listening sockets: which generation gets new connections, and when a socket can be closed.
//!
//! Every address has a *group* of *listeners*, usually one for each generation, which hotrun keeps open through
//! duplicates. The group is *steered*: one generation's listeners get the new connections. [`Sockets::switch_beside`]
//! makes another generation the target of every group in which that generation listens. Once the call returns, every new
//! connection to these addresses goes to that generation, or to one of those that stay live beside it.
//! [`Sockets::share`] sends it a percentage of them instead. The generations that get connections are the group's *pool*.
//!
//! - TCP: the listeners are members of one `SO_REUSEPORT` group, and a small program in the kernel returns the index of
//!   the member that gets a new connection.
//! - Unix: every listener has its own name next to the path, and the path is a hard link to one of them.
//! - [`Sharing::Shared`]: all listeners are duplicates of one socket, for systems without steering.
//!
//! ```text
//! driver, interceptors, probes ──> Sockets, Adopter, Route ─┐ request, reply
//! forwarders, hang-up tasks, scans ─────────────────────────┤ input
//!                                                           v
//!                                         thread ──TableInput──> table (pure)
//!                                                <──────Op──────
//!                                   apply: open, listen, attach, close, forward, scan
//! ```
//!
//! - `table` makes the decisions. It is pure, and its tests explore the states that a few generations and listeners can
//!   reach, using a model of the kernel.
//! - `thread` owns the table and the sockets, so they need no lock. It never blocks: other threads and tasks scan the
//!   machine's sockets, and accept and forward connections. It replies to a request before it tidies up.
//! - `apply` performs the ops on real sockets (`opened`). It starts a [`Forwarder`](crate::unclaimed::Forwarder) for
//!   each listener from which no program accepts. Unix connections stay in their queues, because a forwarded one would
//!   have hotrun's identity.
//!
//! This module does not know why a generation comes or goes, what happens to a connection that hotrun accepts, or which
//! calls a program makes.
//!
//! hotrun keeps these promises. `table/tests` checks the first two.
//!
//! - From [`Sockets::open`] until [`Sockets`] is dropped, some process is listening on every `--listen` address, except
//!   for a moment after a program has shut down the only listener there.
//! - hotrun closes a released TCP listener only when no connection is waiting in it or on its way into it, and when every
//!   new connection will still land in a listener that serves or forwards it. `table/closing` lists all conditions. An
//!   address that has been given up is closed with its connections.
//! - hotrun never changes `O_NONBLOCK` or the timeouts of a socket that a program holds, because they apply to the
//!   program as well.

mod address;
mod adopter;
mod apply;
mod endpoint;
mod open;
mod opened;
mod own_path;
mod sockets;
mod table;
mod thread;
mod unix_path;

pub use address::{Address, ListenSpec, Listening};
pub use adopter::Adopter;
pub use endpoint::{Endpoint, Transport};
pub use open::{OpenError, listen};
pub use opened::{MonitoredListener, Sharing};
pub use own_path::OwnPath;
pub use sockets::{Connection, Passed, Route, Sockets};
pub use table::{AddressEvent, LONGEST_HANDSHAKE};
pub use thread::{GenSockets, Joined, Neighbours, ReachedGroup};

#[cfg(test)]
mod tests;
