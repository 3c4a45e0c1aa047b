//! How many descriptors a process may have open.

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// More than hotrun ever has open. Where there is no limit, a larger one only costs those who close all that may be open.
const ENOUGH: rlim_t = 65_536;

/// As many as the table of this process has room for from the beginning, in 33 KiB: some for each of hundreds of sockets
/// that a program opens.
const ROOM: rlim_t = 4096;

/// The limit with which this process was started, if it has another one now.
static BEFORE: OnceLock<rlim_t> = OnceLock::new();

/// How many this process may have open once [`raise`] was called.
///
/// # Errors
/// What `getrlimit(2)` reports.
pub fn allowed() -> io::Result<rlim_t> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard.min(ENOUGH).max(soft))
}

/// Lets this process have as many open as it may allow itself. What it starts has to be told the limit as it was, for
/// `select(2)` fails beyond 1024: see [`original`] and [`set`].
///
/// # Errors
/// What `setrlimit(2)` reports. Then nothing is changed.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let more = allowed()?;
    if more > soft {
        setrlimit(Resource::RLIMIT_NOFILE, more, hard)?;
        let _ = BEFORE.set(soft);
    }
    Ok(())
}

/// Lets the table of what is open be large from the beginning. To be called before there is a second thread: when a table
/// that threads share has to grow, whoever opens something waits for a grace period of RCU (`expand_fdtable` in `fs/file.c`
/// calls `synchronize_rcu`), some 10 ms, and a program whose `listen` is answered waits with it.
///
/// # Errors
/// What the system says. Then it grows when it has to.
pub fn grow_table() -> io::Result<()> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let last = i32::try_from(soft.min(ROOM).saturating_sub(1)).map_err(io::Error::other)?;
    let any = File::open("/dev/null")?;
    let highest = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(last))?;
    Ok(nix::unistd::close(highest)?)
}

/// The limit that those have to get who are started, if it is another one than ours.
#[must_use]
pub fn original() -> Option<u64> {
    BEFORE.get().copied()
}

/// Sets the limit of this process to this. Touches no memory that others may hold locked, so it may be called behind a fork.
///
/// # Errors
/// What `setrlimit(2)` reports.
pub fn set(most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard.min(most), hard)?)
}
