//! Uses leases to find out whether a file is open for writing.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use libc::{F_RDLCK, F_SETLEASE, SIGURG, c_int};
use nix::errno::Errno;

/// The command that selects the signal that reports a lease break (`include/uapi/asm-generic/fcntl.h`; `libc` does not
/// name it).
const F_SETSIG: c_int = 10;

/// Whether any process has this file open for writing or mapped writable. Returns `false` if unknown, as for other
/// users' files and on some file systems.
///
/// Asks for a read lease, which the kernel refuses for such a file (`F_SETLEASE`, `fcntl(2)`). A process that opens the
/// file for writing while we hold the lease waits briefly, and we get a signal: `SIGURG`, which is ignored by default,
/// instead of `SIGIO`, which would kill us.
pub fn is_being_written(path: &Path) -> bool {
    // Opening a pipe or a device could block or have side effects.
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let control = |command: c_int, value: c_int| {
        // SAFETY: both commands take an integer, and touch no memory.
        unsafe { libc::fcntl(file.as_raw_fd(), command, value) == 0 }
    };
    // Closing the file releases the lease.
    control(F_SETSIG, SIGURG) && !control(F_SETLEASE, F_RDLCK) && Errno::last() == Errno::EAGAIN
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_counts_as_being_written_while_it_is_open_for_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        assert!(is_being_written(&path));
        drop(file);
        // A child of another test may have inherited the descriptor, and keeps it until its exec.
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_being_written(&path) {
            assert!(Instant::now() < deadline, "the file must be closed in time");
        }
        let _reader = File::open(&path).unwrap();
        assert!(!is_being_written(&path) && !is_being_written(dir.path()));
        assert!(!is_being_written(&dir.path().join("missing")));
    }
}
