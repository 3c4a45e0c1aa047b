//! Signal dispositions and signal senders, on every Unix.

use std::mem::MaybeUninit;
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// How a process responds to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel takes the default action, which usually ends the process.
    Default,
    /// The signal has no effect.
    Ignored,
    /// A handler runs, or the process reads the pending signal.
    Caught,
    /// The language runtime catches every signal, so it is unknown whether the program itself handles this one.
    CaughtByRuntime,
}

/// Resets every signal to its default disposition and unblocks all signals.
///
/// Ignored signals and the signal mask survive exec (`signal(7)`): Rust's runtime ignores `PIPE`, `nohup` ignores
/// `HUP`, and a shell ignores `INT` for background jobs. A program must not inherit any of these.
pub fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: `SIG_DFL` runs none of our code. For numbers that cannot be set (`KILL`, `STOP`, those that the C
        // library reserves or the system lacks) the call just fails.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Whether this process ignores the signal, as it does `HUP` if started by `nohup`.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only queries the current one, and `action` has room for the result.
    unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has filled in `action`; if it failed, all zeros are a valid `sigaction` as well.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}

/// Returns the process that sent a signal with `kill(2)` or a similar call (`sigaction(2)`, "The `siginfo_t`
/// argument"). Returns `None` for signals from the terminal or the kernel, for a sender outside our pid namespace, and
/// on systems other than Linux.
pub fn sender(info: &libc::siginfo_t) -> Option<i32> {
    #[cfg(target_os = "linux")]
    if [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL].contains(&info.si_code) {
        // SAFETY: for these codes the kernel has filled in the fields for `kill`, which include the pid.
        return Some(unsafe { info.si_pid() }).filter(|pid| *pid > 0);
    }
    let _ = info;
    None
}
