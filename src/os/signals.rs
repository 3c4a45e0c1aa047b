//! Signal dispositions and the senders of signals, on every Unix.

use std::mem::MaybeUninit;
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// What a signal does to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel's default action, usually to end the process.
    Default,
    /// Nothing.
    Ignored,
    /// A handler runs, or the process reads the pending signal.
    Caught,
    /// The runtime of its language catches every signal, so nothing is known about the program itself.
    CaughtByRuntime,
}

/// Gives every signal its default disposition and blocks none.
///
/// Ignored signals and the mask survive exec (`signal(7)`): Rust's runtime ignores `PIPE`, `nohup` ignores `HUP`, a shell
/// ignores `INT` for background jobs. A program must inherit none of that.
pub fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: `SIG_DFL` runs no code of ours. Numbers that are refused (`KILL`, `STOP`, those that the C library keeps or
        // the system lacks) only fail.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Whether this process was started with the signal ignored, as `nohup` does with `HUP`.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action asks without changing anything, and `action` has room for the answer.
    unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call filled it in; had it failed, all zeros are a valid `sigaction` too.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}

/// The process that sent a signal with `kill(2)` or a similar call (`sigaction(2)`, "The `siginfo_t` argument"). `None` for
/// signals of the terminal and the kernel, for a sender outside of our pid namespace, and beyond Linux.
pub fn sender(info: &libc::siginfo_t) -> Option<i32> {
    #[cfg(target_os = "linux")]
    if [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL].contains(&info.si_code) {
        // SAFETY: for these codes the kernel has filled in the fields of `kill`, of which this is one.
        return Some(unsafe { info.si_pid() }).filter(|pid| *pid > 0);
    }
    let _ = info;
    None
}
