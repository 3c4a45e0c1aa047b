//! Seeing the `bind` and `listen` of a program before they happen, and answering them.
//!
//! A filter, installed between fork and exec, makes the kernel stop a thread at these two calls and ask whoever
//! holds the *listener* what to do (`seccomp_unotify(2)`, `SECCOMP_RET_USER_NOTIF`). The filter stays with the
//! program and all that descends from it, through exec and whatever else, for good.
//!
//! ```text
//! hotrun ── channel() ──▶ guardian ──▶ child: Trap::install, exec
//!    ╰───── Calls::accept ◀── the listener, by SCM_RIGHTS ──╯
//! ```
//!
//! What comes with it:
//!
//! - When the last copy of the listener is closed, as it is when hotrun ends, these calls fail with `ENOSYS` in
//!   all that was started. The guardian kills it all then; only what got away from the guardian, by its death at
//!   the same moment, is left with that.
//! - Without `CAP_SYS_ADMIN` the kernel wants `no_new_privs` first (`prctl(2)`): setuid programs then run without
//!   the privileges of their file.
//! - 32-bit and x32 programs are not seen (see `filter.rs`), nor is what goes through an `io_uring`.
//! - It is no security boundary: what is answered with [`Answer::Continue`] is read by the kernel a second time,
//!   and another thread may have changed it meanwhile.

mod calls;
mod filter;
mod install;
mod probe;
mod reach;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

pub use crate::os::trapped::{Answer, Call, Next, Refuse, Unavailable, What};
pub use calls::Calls;
pub use install::Trap;
pub use probe::probe;
pub use reach::{descriptor_of, read_memory};

/// The way that the listener takes: one end for [`Calls::accept`], the other for [`Trap::install`].
///
/// # Errors
/// What `socketpair(2)` reports.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = UnixStream::pair()?;
    Ok((here.into(), there.into()))
}
