//! Processes: no subreaper and no view of the process tree. A program is its process group.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

/// Whether a process can inherit the orphans among its descendants. Here a process that leaves its process group and loses
/// its parent is out of reach.
pub const SUBREAPER: bool = false;

pub fn become_subreaper() -> io::Result<()> {
    Ok(())
}

/// Does nothing: the end of the control socket has to suffice.
pub fn signal_at_parents_end(_signal: Signal) -> io::Result<()> {
    Ok(())
}

pub fn name_process(_name: &CStr) {}

/// Assumed: the guardian starts no thread.
pub fn single_threaded() -> bool {
    true
}

/// Descriptors are not leaked beyond this number, and the limit may be in the millions.
const LAST: RawFd = 4096;

/// Closes every descriptor from `first` up to a bound. Only for the start of a process.
pub fn close_from(first: RawFd) -> io::Result<()> {
    for fd in first..LAST {
        // SAFETY: closing what others own is ruled out by the contract; unused numbers give `EBADF`.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Sets `CLOEXEC` on every open descriptor from `first` up to a bound.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    for fd in first..LAST {
        // SAFETY: setting a flag of a descriptor touches no memory; unused numbers give `EBADF`.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

pub fn widen_pipe(_pipe: impl AsFd, _bytes: i32) {}

/// The regular files to which our own output goes: unknown.
pub fn output_files() -> Vec<PathBuf> {
    Vec::new()
}

/// Unknown, so never.
pub fn is_being_written(_: &Path) -> bool {
    false
}

/// The process tree, which is not visible.
pub mod process_tree {
    use std::path::PathBuf;

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use crate::os::signals::Disposition;

    /// Whether this system shows the process tree.
    pub const KNOWN: bool = false;

    /// What is known about a process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status {
        /// Its parent.
        pub parent: i32,
        /// Whether it is stopped.
        pub stopped: bool,
        /// Whether it has ended and is not reaped yet.
        pub ended: bool,
    }

    impl Status {
        pub fn disposition(&self, _signal: i32) -> Disposition {
            Disposition::Default
        }
    }

    pub fn status(_pid: i32) -> Option<Status> {
        None
    }

    /// Whether this process has ended and was reaped.
    pub fn has_ended(pid: i32) -> bool {
        kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
    }

    pub fn started(_pid: i32) -> Option<u64> {
        None
    }

    pub fn children(_pid: i32) -> Vec<i32> {
        Vec::new()
    }

    pub fn descendants(_root: i32) -> Vec<i32> {
        Vec::new()
    }

    pub fn holds_socket(_pid: i32) -> Option<bool> {
        None
    }

    pub fn executable(_pid: i32) -> Option<PathBuf> {
        None
    }
}

/// The end of processes that are not our children.
pub mod pidfd_set {
    use std::convert::Infallible;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    #[derive(Debug)]
    pub struct PidfdSet(Infallible);

    impl PidfdSet {
        pub fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub fn watch(&mut self, _pids: &[i32]) {
            match self.0 {}
        }
    }

    impl AsFd for PidfdSet {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}

/// The privilege to bind low ports.
pub mod privilege {
    pub fn first_unprivileged_port() -> u16 {
        1024
    }

    pub fn may_bind(_thread: i32) -> Option<bool> {
        None
    }
}

/// Which sockets a process waits on.
pub mod accepting {
    use crate::os::Accepting;

    /// `None`: unknown. The caller relies on the time that has passed.
    #[must_use]
    pub fn accepting(_pids: &[i32], _sockets: &[u64]) -> Option<Vec<Accepting>> {
        None
    }
}
