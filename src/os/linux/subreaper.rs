//! Who inherits whose children, and who is told of whose end.

use std::io;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Whether a process can be made to inherit the orphans among its descendants.
pub const SUBREAPER: bool = true;

/// From now on every descendant whose parent ends becomes a child of this process
/// (`PR_SET_CHILD_SUBREAPER`, `prctl(2)`), unless a nearer ancestor asked for the same.
///
/// # Errors
/// What `prctl(2)` reports; no kernel since 3.4 does.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Sends this signal to the calling process when the *thread* that started it ends
/// (`PR_SET_PDEATHSIG`; `kernel/exit.c`, `reparent_leader`): so also when the process lives on. Whoever gets the signal
/// has to look whether its parent has changed.
///
/// # Errors
/// What `prctl(2)` reports.
pub fn signal_at_parents_end(signal: Signal) -> io::Result<()> {
    Ok(prctl::set_pdeathsig(signal)?)
}

/// The name that `ps` and `top` show; cut after 15 bytes.
pub fn name_process(name: &std::ffi::CStr) {
    let _ = prctl::set_name(name);
}

/// Whether this process has no thread but the calling one.
pub fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The highest signal number.
pub fn highest_signal() -> i32 {
    libc::SIGRTMAX()
}

/// Who sent a signal, if a process did: only then is there a number that is one (`sigaction(2)`, "The `siginfo_t`
/// argument").
pub fn sender(info: &libc::siginfo_t) -> Option<i32> {
    let sent = [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL];
    if !sent.contains(&info.si_code) {
        return None;
    }
    // SAFETY: for these codes the kernel has filled in the fields of `kill`, of which this is one.
    let pid = unsafe { info.si_pid() };
    (pid > 0).then_some(pid)
}
