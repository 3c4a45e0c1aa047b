//! When gunicorn can be stopped.

use std::fs;

use super::{PATIENCE, until};

/// Waits until its workers have installed their signal handlers.
///
/// A worker that is asked between its `fork` and that moment puts the signal into its copy of its master's queue, which
/// nobody ever looks at, and stays: gunicorn 20.1, `Arbiter.signal`; without hotrun 1 of 20 that were stopped after
/// their first answer had such a worker. Of the signals that are caught then, the master does not catch `ABRT`.
#[track_caller]
pub(crate) fn workers_hear(master: u64, workers: usize) {
    until("the workers have handlers", PATIENCE * 2, || {
        let path = format!("/proc/{master}/task/{master}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        let hearing = children.split_whitespace().filter(|pid| hears_abort(pid));
        (hearing.count() >= workers).then_some(())
    });
}

fn hears_abort(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (nix::libc::SIGABRT - 1)) != 0)
}
