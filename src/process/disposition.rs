//! Determines whether a process tree handles a signal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use crate::os::process_tree;
use crate::os::signals::Disposition;
use crate::os::socket_holders::sockets_of;

struct TreeMember {
    pid: i32,
    parent: i32,
    holds_socket: bool,
    catches: bool,
}

/// See [`Control::handles`](super::Control::handles).
pub(super) fn handles(pids: &[i32], signal: i32) -> bool {
    let members = pids.iter().filter_map(|pid| member(*pid, signal));
    decide(&members.collect::<Vec<_>>())
}

fn member(pid: i32, signal: i32) -> Option<TreeMember> {
    let status = process_tree::status(pid).filter(|status| !status.ended)?;
    let catches = status.disposition(signal) == Disposition::Caught
        && !process_tree::executable(pid).is_some_and(|file| is_runtime(&file));
    let (holds_socket, catches) = match sockets_of(pid) {
        // Standard input, output and error do not count: even if they are sockets, this says nothing about the process.
        Ok(held) => (held.keys().any(|fd| *fd > 2), catches),
        // A process that hotrun cannot inspect, for example because `sudo` started it, may be a server without a handler,
        // so the caller must wait until no request is in flight.
        Err(_) => (true, false),
    };
    Some(TreeMember {
        pid,
        parent: status.parent,
        holds_socket,
        catches,
    })
}

/// Whether the process probably ends when its input ends, like `cat` in `server | cat`: its input is a pipe, it holds
/// no socket, and it does not handle the signal, which would end it while the server is still writing to the pipe.
pub(super) fn is_reader(pid: i32, signal: i32) -> bool {
    let reads = |member: TreeMember| !member.holds_socket && !member.catches;
    process_tree::reads_pipe(pid) && member(pid, signal).is_some_and(reads)
}

/// See [`Control::reload_config`](super::Control::reload_config).
pub(super) fn catches(pids: &[i32], signal: i32) -> bool {
    let alive = |pid: &i32| process_tree::status(*pid).filter(|status| !status.ended);
    let mut statuses = pids.iter().filter_map(alive);
    statuses.any(|status| is_caught(status.disposition(signal)))
}

/// Whether the signal has a handler, either the program's own or its runtime's.
pub(super) fn is_caught(disposition: Disposition) -> bool {
    match disposition {
        Disposition::Caught | Disposition::CaughtByRuntime => true,
        Disposition::Default | Disposition::Ignored => false,
    }
}

/// Runtimes that always catch `TERM`, for example to restore the terminal (node), to run exit hooks (java) or to postpone
/// the signal during critical sections (php, `Zend/zend_signal.c`). If the program itself has no handler, they end while
/// requests are in flight. Programs with and without a handler look the same from outside, so they count as not handling
/// the signal, and the caller waits longer for the requests in flight, which is right for both.
const RUNTIMES: &[&str] = &[
    "beam.smp", "bun", "deno", "dotnet", "java", "node", "nodejs", "php", "ruby",
];

/// Whether this executable is one of the [`RUNTIMES`], possibly with a version in its name, such as `ruby3.1`.
fn is_runtime(executable: &Path) -> bool {
    let name = executable
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    // The kernel adds this suffix if a newer file was installed over the executable.
    let name = name.trim_end_matches(" (deleted)");
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    RUNTIMES.contains(&name)
}

fn decide(members: &[TreeMember]) -> bool {
    let parents: BTreeMap<i32, i32> = members.iter().map(|m| (m.pid, m.parent)).collect();
    let mut above_others = BTreeSet::new();
    for owner in members.iter().filter(|member| member.holds_socket) {
        let mut pid = owner.parent;
        // Stops at the root, or at a process that was already visited.
        while let Some(parent) = parents.get(&pid).filter(|_| above_others.insert(pid)) {
            pid = *parent;
        }
    }
    let mut workers = members
        .iter()
        .filter(|member| member.holds_socket && !above_others.contains(&member.pid))
        .peekable();
    if workers.peek().is_none() {
        return members.iter().any(|member| member.catches);
    }
    workers.all(|member| member.catches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUGHT: bool = true;
    const DEFAULT: bool = false;

    /// Asserts the decision for a tree of these processes. Each is given as its pid, its parent's pid, whether it holds
    /// a socket, and whether it catches the signal.
    fn check(members: &[(i32, i32, bool, bool)], expected: bool) {
        let member = |&(pid, parent, holds_socket, catches): &_| TreeMember {
            pid,
            parent,
            holds_socket,
            catches,
        };
        let members: Vec<TreeMember> = members.iter().map(member).collect();
        assert_eq!(decide(&members), expected);
    }

    #[test]
    fn runtimes_are_recognized_by_name() {
        for name in [
            "node",
            "/usr/bin/node",
            "nodejs",
            "ruby3.1",
            "php8.2",
            "/opt/jdk-17/bin/java",
            "node (deleted)",
        ] {
            assert!(is_runtime(Path::new(name)), "{name}");
        }
        for name in [
            "",
            "/",
            "python3.11",
            "nodemon",
            "php-fpm8.2",
            "server",
            "javac",
        ] {
            assert!(!is_runtime(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_single_server_must_catch_the_signal() {
        check(&[(2, 1, true, CAUGHT)], true);
        check(&[(2, 1, true, DEFAULT)], false);
    }

    #[test]
    fn a_shell_around_the_server_need_not_catch_the_signal() {
        check(&[(2, 1, false, DEFAULT), (3, 2, true, CAUGHT)], true);
        check(&[(2, 1, true, DEFAULT), (3, 2, true, CAUGHT)], true);
    }

    #[test]
    fn a_wrapper_that_catches_the_signal_is_not_enough() {
        let npm = (2, 1, true, CAUGHT);
        check(&[npm, (3, 2, false, DEFAULT), (4, 3, true, DEFAULT)], false);
        check(&[npm, (3, 2, false, DEFAULT), (4, 3, true, CAUGHT)], true);
    }

    #[test]
    fn a_process_that_cannot_be_inspected_is_assumed_not_to_handle_the_signal() {
        let (holds, catches) = (true, DEFAULT);
        check(&[(2, 1, false, CAUGHT), (3, 2, holds, catches)], false);
        check(&[(2, 1, true, CAUGHT), (3, 1, holds, catches)], false);
        // A process that cannot be inspected does not matter if it is an ancestor of a server that can be inspected.
        check(&[(2, 1, holds, catches), (3, 2, true, CAUGHT)], true);
    }

    #[test]
    fn a_helper_without_sockets_need_not_catch_the_signal() {
        check(&[(2, 1, true, CAUGHT), (3, 2, false, DEFAULT)], true);
    }

    #[test]
    fn every_worker_must_catch_the_signal() {
        let master = (2, 1, true, CAUGHT);
        check(&[master, (3, 2, true, CAUGHT), (4, 2, true, CAUGHT)], true);
        check(
            &[master, (3, 2, true, CAUGHT), (4, 2, true, DEFAULT)],
            false,
        );
    }

    #[test]
    fn without_sockets_one_process_that_catches_the_signal_is_enough() {
        check(&[(2, 1, false, DEFAULT), (3, 2, false, CAUGHT)], true);
        check(&[(2, 1, false, DEFAULT), (3, 2, false, DEFAULT)], false);
        check(&[], false);
    }

    #[test]
    fn a_cycle_in_the_snapshot_does_not_cause_an_endless_loop() {
        check(&[(2, 3, true, CAUGHT), (3, 2, true, CAUGHT)], true);
    }
}
