//! Seeing the `bind` and `listen` of a program before they happen, and answering them.
//!
//! A filter, installed between fork and exec, makes the kernel stop a thread at these two calls and ask whoever
//! holds the *listener* what to do (`seccomp_unotify(2)`, `SECCOMP_RET_USER_NOTIF`). The filter stays with the
//! program and all that descends from it, through exec and whatever else, for good.
//!
//! ```text
//! hotrun ── channel() ──▶ guardian ──▶ child: Filter::install, exec
//!    ╰───── InterceptedCalls::accept ◀── the listener, by SCM_RIGHTS ──╯
//! ```
//!
//! What comes with it:
//!
//! - When the last copy of the listener is closed, as it is when hotrun ends, these calls fail with `ENOSYS` in
//!   all that was started. The guardian kills it all then; only what got away from the guardian, by its death at
//!   the same moment, is left with that.
//! - Without `CAP_SYS_ADMIN` the kernel wants `no_new_privs` first (`prctl(2)`): setuid programs then run without
//!   the privileges of their file.
//! - A signal that comes before the call was taken out interrupts it: the call comes again if the handler has
//!   `SA_RESTART`, else the program gets an `EINTR` that `bind(2)` knows nothing of. That window is some microseconds long.
//! - There is one listener for a process and its ancestors: a program that wants one itself (a container runtime)
//!   gets `EBUSY`, as we do inside of one.
//! - 32-bit and x32 programs are not seen (see `filter.rs`), nor is what goes through an `io_uring`.
//! - It is no security boundary: what is answered with [`Reply::Continue`] is read by the kernel a second time,
//!   and another thread may have changed it meanwhile.

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

/// Whether this kernel loses an answer that comes while a signal wakes the caller, who then makes the same call once
/// more: mended in 6.18, 6.12.53 and 6.6.112 ("seccomp: Fix a race with `WAIT_KILLABLE_RECV` if the tracer replies too
/// fast").
pub fn may_lose_replies() -> bool {
    static LOST: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let name = nix::sys::utsname::uname();
        let release = name.map(|name| name.release().to_string_lossy().into_owned());
        release.is_ok_and(|release| loses_answers(&release))
    });
    *LOST
}

fn loses_answers(release: &str) -> bool {
    let numbers: Vec<u32> = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok())
        .take(3)
        .collect();
    match numbers[..] {
        [6, 12, patch] => patch < 53,
        [6, 6, patch] => patch < 112,
        [major, minor, ..] => (major, minor) < (6, 18),
        [] | [_] => true,
    }
}

/// The way that the listener takes: one end for [`InterceptedCalls::accept`], the other for [`Filter::install`].
///
/// # Errors
/// What `socketpair(2)` reports.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = UnixStream::pair()?;
    Ok((here.into(), there.into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernels_that_lose_answers_are_known() {
        let loses = super::loses_answers;
        assert!(loses("5.19.0-generic") && loses("6.6.111") && loses("6.12.52") && loses("6.17.9"));
        assert!(
            !loses("6.18.44-fc") && !loses("6.12.53-rt") && !loses("6.6.112") && !loses("7.0.0")
        );
    }
}
