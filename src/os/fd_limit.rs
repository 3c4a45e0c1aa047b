//! The limit on open file descriptors (`RLIMIT_NOFILE`, `getrlimit(2)`).

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// A number of descriptors. The type differs between systems.
pub type Limit = rlim_t;

/// More descriptors than hotrun ever opens. A higher limit would slow down helper programs that close every possible
/// descriptor.
const ENOUGH: Limit = 65_536;

/// The initial size of the descriptor table: enough for several descriptors per socket of a program with hundreds of
/// sockets. The table takes 33 KiB.
const TABLE_SIZE: Limit = 4096;

/// The limit that this process started with, if [`raise`] has changed it.
static ORIGINAL: OnceLock<Limit> = OnceLock::new();

/// Returns the limit that [`raise`] sets.
pub fn allowed() -> io::Result<Limit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard.min(ENOUGH).max(soft))
}

/// Raises this process's limit to [`allowed`]. Programs must be started with the [`original`] limit (see [`set`]),
/// because `select(2)` cannot handle descriptors of 1024 and above.
///
/// Also enlarges the descriptor table. Call this before starting a second thread: when a table shared by threads has to
/// grow, the thread that opens a descriptor waits about 10 ms for an RCU grace period (`expand_fdtable` in `fs/file.c`
/// calls `synchronize_rcu`). A program whose `listen` call that thread is handling would wait as well.
///
/// # Errors
/// The limit is unchanged, or the table still grows on demand.
pub fn raise() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let more = allowed()?;
    if more > soft {
        setrlimit(Resource::RLIMIT_NOFILE, more, hard)?;
        let _ = ORIGINAL.set(soft);
    }
    let last = i32::try_from(more.min(TABLE_SIZE).saturating_sub(1)).map_err(io::Error::other)?;
    let any = File::open("/dev/null")?;
    let highest = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(last))?;
    Ok(nix::unistd::close(highest)?)
}

/// Returns the limit that programs must be started with, if it differs from ours.
pub fn original() -> Option<Limit> {
    ORIGINAL.get().copied()
}

/// Sets this process's limit, at most to the hard limit. Takes no lock, so a child may call it between fork and exec.
pub fn set(limit: Limit) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard.min(limit), hard)?)
}
