//! Intercepts a program's `bind`, `listen` and `connect` calls before the kernel performs them, and replies to them. If
//! required, also intercepts the calls that write files.
//!
//! A seccomp filter, installed between fork and exec, makes the kernel stop a thread at these calls and ask the holder
//! of the filter's *listener* what to do (`seccomp_unotify(2)`, `SECCOMP_RET_USER_NOTIF`). The filter applies to
//! the program and all its descendants, survives every exec, and cannot be removed.
//!
//! ```text
//! hotrun ── channel() ──▶ guardian ──▶ child: install, exec
//!    │                        ╰── a copy ◀───────╯
//!    ╰── InterceptedCalls::accept ◀── the listener, by SCM_RIGHTS
//! ```
//!
//! Consequences:
//!
//! - Once the last copy of the listener is closed, these calls fail with `ENOSYS` in every process with the filter. The
//!   guardian therefore keeps a copy: when hotrun exits, they wait until the guardian kills all of these processes.
//! - Without `CAP_SYS_ADMIN`, the kernel requires `no_new_privs` (`prctl(2)`): setuid programs then run without the
//!   privileges of their owner.
//! - A signal that arrives before hotrun has received the call interrupts the call, which is restarted if the handler
//!   has `SA_RESTART`; otherwise the program gets an `EINTR` that `bind(2)` does not document. This window lasts a few
//!   microseconds. Programs open files more often, so these calls are intercepted only if necessary.
//! - A process that has inherited a filter with a listener cannot create a second listener: a program that wants its
//!   own (a container runtime) gets `EBUSY`, as does hotrun inside such a program.
//! - The calls of 32-bit and x32 programs are not intercepted (see `filter.rs`), nor are calls through an `io_uring`.
//! - Interception is not a security boundary: after [`Reply::Continue`] the kernel reads the arguments again, and
//!   another thread may have changed them in the meantime.

mod calls;
mod filter;
mod ignore_shutdown;
mod probe;
mod reach;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

pub use crate::os::intercept::{Call, FileArgument, Next, Reply, Syscall, Unavailable};
pub use calls::InterceptedCalls;
pub use filter::install;
pub use ignore_shutdown::ignore_shutdown;
pub use probe::{may_lose_replies, probe, unavailable};
pub use reach::{descriptor_of, file_of, pidfds, read_memory};

/// Creates a channel for the listener: one end for [`InterceptedCalls::accept`], the other for [`install`].
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = UnixStream::pair()?;
    Ok((here.into(), there.into()))
}
