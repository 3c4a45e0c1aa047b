//! Waits until gunicorn can be stopped.

use std::fs;

use super::{TIMEOUT, until};

/// Waits until gunicorn's workers have installed their signal handlers.
///
/// A worker that gets a signal before it has installed its handlers puts the signal into its copy of the master's
/// queue, which nothing reads, and keeps running (gunicorn 20.1, `Arbiter.signal`). Without hotrun, this happened to 1
/// of 20 servers that were stopped after their first response. A worker that catches `ABRT` has installed its handlers,
/// because the master does not catch `ABRT`.
#[track_caller]
pub(crate) fn wait_for_handlers(master: u64, workers: usize) {
    until(
        "the workers have installed their signal handlers",
        TIMEOUT * 2,
        || {
            let path = format!("/proc/{master}/task/{master}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            let ready = children.split_whitespace().filter(|pid| catches_abort(pid));
            (ready.count() >= workers).then_some(())
        },
    );
}

fn catches_abort(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (nix::libc::SIGABRT - 1)) != 0)
}
