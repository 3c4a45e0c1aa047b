use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::os::process_tree;

/// Kills the helper processes of hotrun: `cargo` and `rustup`, which it runs for metadata, and which may take minutes.
/// Leaves the guardians alone: each ends itself, after its own tree.
pub fn kill_helpers() {
    let own = std::process::id().cast_signed();
    let hotrun = process_tree::executable(own);
    let is_helper = |child: &i32| process_tree::executable(*child) != hotrun;
    for child in process_tree::children(own).into_iter().filter(is_helper) {
        for pid in process_tree::descendants(child).into_iter().chain([child]) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
