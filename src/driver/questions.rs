//! What is asked of cargo and rustup beside the builds.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::os::process_tree;

/// Nobody wants the answer any more to what cargo or rustup was asked, which may take for ever. Guardians are left alone:
/// they end by themselves, and see to their own first.
pub fn leave_nobody() {
    let own = std::process::id().cast_signed();
    let us = process_tree::executable(own);
    let asked = |child: &i32| process_tree::executable(*child) != us;
    for child in process_tree::children(own).into_iter().filter(asked) {
        for pid in process_tree::descendants(child).into_iter().chain([child]) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
