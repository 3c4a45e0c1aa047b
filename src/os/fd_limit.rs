//! How many descriptors a process may have open (`RLIMIT_NOFILE`, `getrlimit(2)`).

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// More than hotrun ever opens. A higher limit would slow down programs that close every possible descriptor.
const ENOUGH: rlim_t = 65_536;

/// The initial size of the descriptor table, which takes 33 KiB: a few descriptors for each of hundreds of sockets of a
/// program.
const TABLE_SIZE: rlim_t = 4096;

/// The limit that this process was started with, if [`raise`] has changed it.
static ORIGINAL: OnceLock<rlim_t> = OnceLock::new();

/// The limit after [`raise`].
pub fn allowed() -> io::Result<rlim_t> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard.min(ENOUGH).max(soft))
}

/// Raises the limit of this process as far as it may. Programs must get the [`original`] limit back ([`set`]), because
/// `select(2)` fails beyond 1024.
///
/// # Errors
/// As for `setrlimit(2)`; then nothing is changed.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let more = allowed()?;
    if more > soft {
        setrlimit(Resource::RLIMIT_NOFILE, more, hard)?;
        let _ = ORIGINAL.set(soft);
    }
    Ok(())
}

/// Makes the descriptor table large. Call it before there is a second thread: when a shared table has to grow, the thread
/// that opens something waits for an RCU grace period (`expand_fdtable` in `fs/file.c` calls `synchronize_rcu`) of some
/// 10 ms, and so does a program whose `listen` it handles.
///
/// # Errors
/// As for `fcntl(2)`; then the table grows when it has to.
pub fn grow_table() -> io::Result<()> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let last = i32::try_from(soft.min(TABLE_SIZE).saturating_sub(1)).map_err(io::Error::other)?;
    let any = File::open("/dev/null")?;
    let highest = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(last))?;
    Ok(nix::unistd::close(highest)?)
}

/// The limit that programs must get, if it differs from ours.
#[must_use]
pub fn original() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// Sets the limit of this process. Takes no lock, so a child may call it between fork and exec.
pub fn set(limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard.min(limit), hard)?)
}
