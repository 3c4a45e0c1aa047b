//! Who inherits whose children: always the system's first process, and nobody is told.

use std::io;

use nix::sys::signal::Signal;

/// Whether a process can be made to inherit the orphans among its descendants. Not here: what leaves
/// its process group and loses its parent is out of reach.
pub const SUBREAPER: bool = false;

/// Nothing to ask for.
///
/// # Errors
/// None here.
pub fn become_subreaper() -> io::Result<()> {
    Ok(())
}

/// Nothing to ask for: the end of the control socket has to do.
///
/// # Errors
/// None here.
pub fn signal_at_parents_end(_signal: Signal) -> io::Result<()> {
    Ok(())
}

/// A process is shown under the name of its file.
pub fn name_process(_name: &std::ffi::CStr) {}

/// Whether this process has no thread but the calling one: assumed, the guardian starts none.
pub fn single_threaded() -> bool {
    true
}

/// The highest signal number.
pub fn highest_signal() -> i32 {
    31
}

/// Who sent a signal: of no use where nobody knows who descends from whom.
pub fn sender(_info: &libc::siginfo_t) -> Option<i32> {
    None
}
