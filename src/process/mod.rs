//! Process trees: spawn, signal, reap, account.
//!
//! A program never runs as a child of hotrun itself, but under a small **guardian**: hotrun in a hidden
//! mode, one for each tree. A single subreaper could not tell whose orphan it gets, and a signal at the
//! parent's end reaches direct children alone; a guardian knows its tree, because all that descends
//! from it is that tree, double-forked daemons included, and it outlives hotrun by just the moment
//! that it takes to kill it.
//!
//! ```text
//! hotrun ──socket── guardian ──fork, exec── program ── whatever it starts
//!    ╰──── signal, stop, kill ───▶      started, refused, exited, gone ────▶ hotrun
//! ```
//!
//! The promises, and what keeps each:
//!
//! - *No process survives hotrun.* The guardian sees the control socket's end when hotrun ends, in
//!   whatever way, and kills its tree. Should the guardian be killed, its tree falls to hotrun, which
//!   is a subreaper too ([`become_subreaper`]) and kills it. Only if both are killed at one moment is
//!   nobody left to do it.
//! - *No descriptor leaks.* Sockets travel over the control socket; the guardian closes whatever
//!   else it was started with, and the program gets 0, 1, 2 and what is named in its [`Spec`].
//! - *A stop signal comes once.* A process that catches it gets it and its descendants do not, for
//!   it will tell them as it likes; one that does not catch it gets it and so do its children, which
//!   is how the server inside `sh -c 'a; b'` hears of it.
//!
//! Beyond Linux there is neither subreaper nor `/proc`: there the tree is the program's process group,
//! and what leaves that group is out of reach.

mod control;
mod disposition;
mod environment;
pub mod guardian;
mod monitor;
pub mod notify;
mod orphans;
pub mod output;
mod pty;
mod report;
pub mod signals;
mod spawn;
mod spec;
mod start_request;
mod wire;

pub use control::Control;
pub use monitor::Reports;
pub use nix::sys::signal::Signal;
pub use orphans::become_subreaper;
pub use pty::Pty;
pub use report::{Refusal, Report, Step};
pub use spawn::{Process, PtyProcess, Spawner, spawn, spawn_on_pty};
pub use spec::{SpawnError, Spec};
