//! Intercepting the `bind` and `listen` calls of a program before they happen, and replying to them.
//!
//! A seccomp filter, installed between fork and exec, makes the kernel stop a thread at these two calls and ask the holder
//! of the filter's *listener* what to do (`seccomp_unotify(2)`, `SECCOMP_RET_USER_NOTIF`). The filter applies to the program
//! and all its descendants, through every exec, and cannot be removed.
//!
//! ```text
//! hotrun ── channel() ──▶ guardian ──▶ child: Filter::install, exec
//!    ╰── InterceptedCalls::accept ◀── the listener, by SCM_RIGHTS ──╯
//! ```
//!
//! Consequences:
//!
//! - When the last copy of the listener is closed, as it is when hotrun ends, these calls fail with `ENOSYS` in every
//!   process with the filter. The guardian kills them all at that point; only processes that lose their guardian at the same
//!   moment can observe it.
//! - Without `CAP_SYS_ADMIN` the kernel requires `no_new_privs` (`prctl(2)`): setuid programs then run without the
//!   privileges of their file.
//! - A signal that arrives before the call is received interrupts it: the call starts again if the handler has
//!   `SA_RESTART`, otherwise the program gets an `EINTR` that `bind(2)` does not document. This window is some microseconds.
//! - A process and its ancestors share one listener: a program that wants its own (a container runtime) gets `EBUSY`, as
//!   hotrun does inside of one.
//! - 32-bit and x32 programs are not seen (see `filter.rs`), nor are calls through an `io_uring`.
//! - It is not a security boundary: after [`Reply::Continue`] the kernel reads the arguments again, and another thread may
//!   have changed them.

mod calls;
mod filter;
mod install;
mod probe;
mod reach;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

pub use crate::os::intercept::{Call, Next, Reply, Syscall, TestRefusal, Unavailable};
pub use calls::InterceptedCalls;
pub use install::Filter;
pub use probe::{probe, unavailable};
pub(super) use reach::pidfd_open;
pub use reach::{descriptor_of, read_memory};

/// Whether this kernel can lose a reply, so that the caller repeats its call. Fixed in 6.18, 6.12.53 and 6.6.112; see
/// [`InterceptedCalls::reply`].
pub fn may_lose_replies() -> bool {
    static LOST: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| loses_replies(&release()));
    *LOST
}

/// The release of the running kernel, such as `6.12.53-generic`.
fn release() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// The numbers that a release begins with, three at most.
fn version(release: &str) -> Vec<u32> {
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.map_while(|number| number.parse().ok());
    numbers.take(3).collect()
}

fn loses_replies(release: &str) -> bool {
    match version(release)[..] {
        [6, 12, patch] => patch < 53,
        [6, 6, patch] => patch < 112,
        [major, minor, ..] => (major, minor) < (6, 18),
        [] | [_] => true,
    }
}

/// A channel for the listener: one end for [`InterceptedCalls::accept`], the other for [`Filter::install`].
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = UnixStream::pair()?;
    Ok((here.into(), there.into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn kernels_that_lose_replies_are_known() {
        let loses = super::loses_replies;
        assert!(loses("5.19.0-generic") && loses("6.6.111") && loses("6.12.52") && loses("6.17.9"));
        assert!(
            !loses("6.18.44-fc") && !loses("6.12.53-rt") && !loses("6.6.112") && !loses("7.0.0")
        );
    }
}
