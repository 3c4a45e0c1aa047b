//! Whether somebody writes a file.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

/// Says which signal tells that a lease is broken (`include/uapi/asm-generic/fcntl.h`; the `libc` crate has no name for
/// it).
const F_SETSIG: libc::c_int = 10;

/// Whether somebody has this file open for writing, or has mapped it so. Not where the system does not say: of others'
/// files, and on some file systems.
///
/// Asked by a read lease, which the kernel does not give for such a file (`fcntl(2)`, `F_SETLEASE`). Whoever opens it
/// for writing while we have the lease waits for a moment, and we get a signal: one that is ignored by default, in the
/// place of `SIGIO`, which would end us.
pub fn is_being_written(path: &Path) -> bool {
    // To open a pipe or a device could block, or do something.
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let file = file.as_raw_fd();
    if !control(file, F_SETSIG, libc::SIGURG) {
        return false;
    }
    let leased = control(file, libc::F_SETLEASE, libc::F_RDLCK);
    let refused = !leased && nix::errno::Errno::last() == nix::errno::Errno::EAGAIN;
    if leased {
        control(file, libc::F_SETLEASE, libc::F_UNLCK);
    }
    refused
}

fn control(file: RawFd, what: libc::c_int, value: libc::c_int) -> bool {
    // SAFETY: both commands take a number, and touch no memory.
    unsafe { libc::fcntl(file, what, value) == 0 }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_is_written_as_long_as_it_is_open_for_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        assert!(is_being_written(&path));
        drop(file);
        // What another test starts has it until it executes something else.
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_being_written(&path) {
            assert!(Instant::now() < deadline, "for ever");
        }
        let _reader = File::open(&path).unwrap();
        assert!(!is_being_written(&path) && !is_being_written(dir.path()));
        assert!(!is_being_written(&dir.path().join("missing")));
    }
}
