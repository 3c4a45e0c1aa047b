//! Process trees: start, signal, monitor, reap.
//!
//! A program is never a direct child of hotrun. It runs under a small **guardian**: hotrun in a hidden mode, one for each
//! tree. A single subreaper could not tell which tree an orphan belongs to, and the signal at the parent's end reaches only
//! direct children. A guardian knows its tree, because its descendants are that tree, double-forked daemons included, and it
//! outlives hotrun just long enough to kill it.
//!
//! ```text
//! hotrun ──socket── guardian ──fork, exec── program ── its children
//!    ╰──── signal, stop, kill ───▶      started, refused, exited, gone ────▶ hotrun
//! ```
//!
//! What it guarantees, and how:
//!
//! - *No process survives hotrun.* When hotrun ends, however that happens, so does the control socket, and the guardian kills its
//!   tree. If the guardian is killed, hotrun inherits its tree, because it is a subreaper too ([`become_subreaper`]), and
//!   kills it. If both are killed at the same moment, the tree survives.
//! - *No descriptor leaks.* Sockets travel over the control socket. The guardian closes every other descriptor that it was
//!   started with, and the program gets 0, 1, 2 and those named in its [`Spec`].
//! - *A stop signal arrives once.* If a process catches it, its descendants do not get it, because the process notifies them as
//!   it likes. If it does not, it and its children get the signal, which thus reaches the server inside `sh -c 'a; b'`.
//!
//! Beyond Linux there is neither subreaper nor `/proc`: there the tree is the program's process group, and processes that leave
//! it are out of reach.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::reload::Ended;

mod control;
mod disposition;
pub mod guardian;
mod monitor;
pub mod notify;
mod orphans;
pub mod output;
mod pty;
pub mod shell;
pub mod signals;
mod spawn;
mod spec;
mod start_request;
mod wire;

pub use control::Control;
pub use monitor::Reports;
pub use nix::sys::signal::Signal;
pub use orphans::{become_subreaper, kill_helpers};
pub use pty::Pty;
pub use spawn::{Process, PtyProcess, Spawner};
pub use spec::{SpawnError, Spec};
pub use wire::{Refusal, Report, Step};

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        // Stopped or continued, which `waitpid` reports only on request.
        (None, None) => Ended::Code(status.into_raw()),
    }
}
