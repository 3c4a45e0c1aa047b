//! Starts, signals, monitors and reaps process trees.
//!
//! A program is never a direct child of hotrun. Each program runs under its own small **guardian**, which is hotrun in
//! a hidden mode. A single subreaper could not tell which tree an orphan belongs to, and the parent-death signal
//! (`PR_SET_PDEATHSIG`) reaches only direct children. A guardian's tree simply consists of its descendants, including
//! double-forked daemons. The guardian outlives hotrun just long enough to kill the tree.
//!
//! ```text
//! hotrun ──socket── guardian ──fork, exec── program ── its children
//!    ╰──── signal, stop, kill ───▶      started, refused, exited, gone ────▶ hotrun
//! ```
//!
//! This design gives the following guarantees:
//!
//! - *No process survives hotrun.* When hotrun exits, for whatever reason, the control socket closes, and the guardian
//!   kills its tree. If the guardian is killed, hotrun inherits the tree, because hotrun is also a subreaper
//!   ([`become_subreaper`]), and kills it. If both are killed at the same time, the kernel kills the program's first
//!   process, but not its descendants.
//! - *No descriptor leaks.* Sockets are sent over the control socket. The guardian closes every descriptor above 2 that
//!   it was started with, and the program gets only 0, 1, 2 and the descriptors in its [`Spec`].
//! - *A stop signal arrives once.* If a process catches the signal, its descendants do not get it, because the process
//!   is responsible for notifying them. Otherwise, its children also get the signal, so it reaches the server inside
//!   `sh -c 'a; b'`. The readers of pipes, such as `cat` in `server | cat`, usually end with their input. Any that are
//!   still running a second after everything else has ended get the signal.
//!
//! Systems other than Linux have neither subreapers nor `/proc`. There, the tree is the program's process group, and
//! hotrun cannot reach processes that leave the group.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::reload::Ended;

mod control;
mod disposition;
pub mod guardian;
pub mod notify;
mod orphans;
pub mod output;
mod pty;
pub mod shell;
pub mod signals;
mod spawn;
mod start_request;
mod wire;

pub use control::{Control, FirstExit, ProgramEvents};
pub use nix::sys::signal::Signal;
pub use orphans::{become_subreaper, kill_helpers, reap_ended};
pub use pty::Pty;
pub use spawn::{Process, Spawner};
pub use start_request::Spec;
pub use wire::{ProgramEvent, Refusal, StartStep};

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        // The process was stopped or continued, which `waitpid` reports only on request.
        (None, None) => Ended::Code(status.into_raw()),
    }
}
