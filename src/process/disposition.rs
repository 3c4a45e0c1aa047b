//! Who in a tree would handle a signal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use crate::os::process_tree::{self, Reaction};

struct Member {
    pid: i32,
    parent: i32,
    holds_socket: bool,
    reaction: Reaction,
}

/// See [`Control::handles`](super::Control::handles).
pub(super) fn handles(pids: &[i32], signal: i32) -> bool {
    let member = |pid: &i32| {
        // What waits to be taken in has nothing in hand, and may not be looked into.
        let status = process_tree::status(*pid).filter(|status| !status.ended)?;
        let reaction = match process_tree::executable(*pid).is_some_and(|file| is_runtime(&file)) {
            true => Reaction::Default,
            false => status.reaction(signal),
        };
        let (holds_socket, reaction) = weigh(process_tree::holds_socket(*pid), reaction);
        Some(Member {
            pid: *pid,
            parent: status.parent,
            holds_socket,
            reaction,
        })
    };
    decide(&pids.iter().filter_map(member).collect::<Vec<_>>())
}

/// See [`Control::configure`](super::Control::configure).
pub(super) fn catches(pids: &[i32], signal: i32) -> bool {
    let status = |pid: &i32| process_tree::status(*pid).filter(|status| !status.ended);
    let reactions = pids.iter().filter_map(status);
    reactions
        .map(|status| status.reaction(signal))
        .any(|reaction| matches!(reaction, Reaction::Caught | Reaction::Blanket))
}

/// Runtimes that catch `TERM` themselves, whether the program has a handler or not: to put the terminal in order (node)
/// or to run what is to be run at exit (java), and then end with all that is in hand. From outside nobody can tell,
/// so the caller waits until nothing is in hand, which is right for either kind.
const RUNTIMES: &[&str] = &[
    "beam.smp", "bun", "deno", "dotnet", "java", "node", "nodejs", "ruby",
];

/// Also with a version behind the name, as in `ruby3.1`.
fn is_runtime(executable: &Path) -> bool {
    let name = executable
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    // A newer one was installed over it.
    let name = name.trim_end_matches(" (deleted)");
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    RUNTIMES.contains(&name)
}

/// Who may not be looked into (what `sudo` started) could be the server, and one of whose handler nothing
/// is known: the caller then waits until nothing is in hand, which is right for either kind.
fn weigh(holds_socket: Option<bool>, reaction: Reaction) -> (bool, Reaction) {
    match holds_socket {
        Some(holds) => (holds, reaction),
        None => (true, Reaction::Default),
    }
}

fn decide(members: &[Member]) -> bool {
    let parents: BTreeMap<i32, i32> = members.iter().map(|m| (m.pid, m.parent)).collect();
    let mut above_others = BTreeSet::new();
    for owner in members.iter().filter(|member| member.holds_socket) {
        let mut pid = owner.parent;
        // Stops at the root, and where somebody has already been on the way up.
        while let Some(parent) = parents.get(&pid).filter(|_| above_others.insert(pid)) {
            pid = *parent;
        }
    }
    let mut workers = members
        .iter()
        .filter(|member| member.holds_socket && !above_others.contains(&member.pid))
        .peekable();
    let caught = |member: &Member| member.reaction == Reaction::Caught;
    if workers.peek().is_none() {
        return members.iter().any(caught);
    }
    workers.all(caught)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUGHT: Reaction = Reaction::Caught;
    const DEFAULT: Reaction = Reaction::Default;

    /// Each line: pid, parent, whether it holds a socket, what it does.
    fn check(members: &[(i32, i32, bool, Reaction)], expected: bool) {
        let member = |&(pid, parent, holds_socket, reaction): &_| Member {
            pid,
            parent,
            holds_socket,
            reaction,
        };
        let members: Vec<Member> = members.iter().map(member).collect();
        assert_eq!(decide(&members), expected);
    }

    #[test]
    fn runtimes_are_known_by_their_names() {
        for name in [
            "node",
            "/usr/bin/node",
            "nodejs",
            "ruby3.1",
            "/opt/jdk-17/bin/java",
            "node (deleted)",
        ] {
            assert!(is_runtime(Path::new(name)), "{name}");
        }
        for name in ["", "/", "python3.11", "nodemon", "server", "javac"] {
            assert!(!is_runtime(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_server_decides_for_itself() {
        check(&[(2, 1, true, CAUGHT)], true);
        check(&[(2, 1, true, DEFAULT)], false);
        check(&[(2, 1, true, Reaction::Ignored)], false);
        check(&[(2, 1, true, Reaction::Blanket)], false);
    }

    #[test]
    fn a_shell_around_it_does_not_matter() {
        check(&[(2, 1, false, DEFAULT), (3, 2, true, CAUGHT)], true);
        check(&[(2, 1, true, DEFAULT), (3, 2, true, CAUGHT)], true);
    }

    #[test]
    fn a_wrapper_that_passes_it_on_does_not_handle_it() {
        let npm = (2, 1, true, CAUGHT);
        check(&[npm, (3, 2, false, DEFAULT), (4, 3, true, DEFAULT)], false);
        check(&[npm, (3, 2, false, DEFAULT), (4, 3, true, CAUGHT)], true);
    }

    #[test]
    fn who_may_not_be_looked_into_does_not_handle_it() {
        let (holds, reaction) = weigh(None, CAUGHT);
        check(&[(2, 1, false, CAUGHT), (3, 2, holds, reaction)], false);
        check(&[(2, 1, true, CAUGHT), (3, 1, holds, reaction)], false);
        // Nor does it matter above a server that can be seen.
        check(&[(2, 1, holds, reaction), (3, 2, true, CAUGHT)], true);
    }

    #[test]
    fn a_helper_without_sockets_does_not_matter() {
        check(&[(2, 1, true, CAUGHT), (3, 2, false, DEFAULT)], true);
    }

    #[test]
    fn every_worker_has_to_handle_it() {
        let master = (2, 1, true, CAUGHT);
        check(&[master, (3, 2, true, CAUGHT), (4, 2, true, CAUGHT)], true);
        check(
            &[master, (3, 2, true, CAUGHT), (4, 2, true, DEFAULT)],
            false,
        );
    }

    #[test]
    fn without_sockets_one_is_enough() {
        check(&[(2, 1, false, DEFAULT), (3, 2, false, CAUGHT)], true);
        check(&[(2, 1, false, DEFAULT), (3, 2, false, DEFAULT)], false);
        check(&[], false);
    }

    #[test]
    fn a_circle_seen_in_a_snapshot_ends() {
        check(&[(2, 3, true, CAUGHT), (3, 2, true, CAUGHT)], true);
    }
}
