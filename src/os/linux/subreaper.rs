//! Which process inherits orphans, and how a process learns that its parent has ended (`prctl(2)`).

use std::io;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Whether a process can inherit the orphans among its descendants.
pub const SUBREAPER: bool = true;

/// Makes every descendant whose parent ends a child of this process (`PR_SET_CHILD_SUBREAPER`), unless a nearer ancestor
/// is a subreaper too.
///
/// # Errors
/// None on any kernel since 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Sends this signal to the calling process when the *thread* that started it ends (`PR_SET_PDEATHSIG`;
/// `reparent_leader` in `kernel/exit.c`), even if the parent process lives on. The receiver has to check whether its parent
/// has changed.
pub fn signal_at_parents_end(signal: Signal) -> io::Result<()> {
    Ok(prctl::set_pdeathsig(signal)?)
}

/// Sets the name that `ps` and `top` show; the kernel cuts it to 15 bytes.
pub fn name_process(name: &std::ffi::CStr) {
    let _ = prctl::set_name(name);
}

/// Whether this process has no thread other than the calling one.
pub fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}
