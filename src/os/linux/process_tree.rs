//! What `/proc` tells of processes: who descends from whom, and what a signal would do to them.
//!
//! Everything here is a snapshot: a process may fork or end while it is taken. Callers repeat.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Whether this system lets us see a process tree.
pub const KNOWN: bool = true;

/// What a signal would do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// What the kernel does by itself, mostly to end it.
    Default,
    /// Nothing.
    Ignored,
    /// A handler runs, or the process takes the signal from where it is pending.
    Caught,
    /// The runtime of its language catches everything, so nothing can be said of the program.
    Blanket,
}

/// What `/proc/PID/status` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its parent.
    pub parent: i32,
    /// Whether it is stopped, by `STOP` or by reading from the terminal in the background.
    pub stopped: bool,
    /// Whether it has ended, and waits to be taken in by its parent.
    pub ended: bool,
    threads: u32,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Status {
    /// What this signal would do to it.
    pub fn reaction(&self, signal: i32) -> Reaction {
        let has = |mask: u64| signal > 0 && signal <= 64 && mask >> (signal - 1) & 1 == 1;
        if has(self.caught) && catches_everything(self.caught) {
            Reaction::Blanket
        } else if has(self.caught) {
            Reaction::Caught
        } else if has(self.ignored) {
            Reaction::Ignored
        } else if has(self.blocked) && self.waits_for_signals() {
            Reaction::Caught
        } else {
            Reaction::Default
        }
    }

    /// Blocked and not caught, a signal stays pending until somebody takes it from a signalfd, or
    /// another thread by `sigwait`: that is how event loops in C handle their stop signal. (A main
    /// thread that itself sleeps in `sigwait` is not seen: while it does, the kernel takes the signal out
    /// of the mask; `do_sigtimedwait`, `kernel/signal.c`.) But whoever calls `vfork` or `posix_spawn`
    /// blocks everything until the exec: with one thread, that is what it looks like.
    fn waits_for_signals(&self) -> bool {
        let everything = self.blocked >> (libc::SIGSEGV - 1) & 1 == 1;
        !everything || self.threads > 1
    }
}

/// Go's runtime installs a handler for every signal that it can (`runtime/signal_unix.go`,
/// `initsig`), and ends the process in it unless the program asked for the signal. These four are
/// what nothing else catches together: coprocessor fault, CPU limit, power failure, bad call.
fn catches_everything(caught: u64) -> bool {
    [libc::SIGSTKFLT, libc::SIGXCPU, libc::SIGPWR, libc::SIGSYS]
        .iter()
        .all(|signal| caught >> (signal - 1) & 1 == 1)
}

/// What is known of this process, unless it is gone.
pub fn status(pid: i32) -> Option<Status> {
    // Bytes, because the name in it may be anything.
    let text = fs::read(format!("/proc/{pid}/status")).ok()?;
    parse_status(&String::from_utf8_lossy(&text))
}

fn parse_status(text: &str) -> Option<Status> {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line[name.len()..].split_whitespace().next()
    };
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    Some(Status {
        parent: field("PPid:")?.parse().ok()?,
        stopped: field("State:")? == "T",
        ended: matches!(field("State:")?, "Z" | "X"),
        threads: field("Threads:")?.parse().ok()?,
        blocked: mask("SigBlk:")?,
        ignored: mask("SigIgn:")?,
        caught: mask("SigCgt:")?,
    })
}

/// When this process was started, in clock ticks since the system's start: with its number it names
/// a process for good, though numbers are used again.
pub fn started(pid: i32) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// A field of `/proc/PID/stat`, numbered as in `proc_pid_stat(5)`, from the third on.
fn stat_field(pid: i32, number: usize) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may itself contain spaces and parentheses.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let rest = &text[text.rfind(')')? + 1..];
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// The children of this process, those of all its threads.
pub fn children(pid: i32) -> Vec<i32> {
    if has_children_files() {
        listed_children(pid)
    } else {
        by_parent().remove(&pid).unwrap_or_default()
    }
}

/// All that descends from this process, parents before their children, itself not included.
pub fn descendants(root: i32) -> Vec<i32> {
    if has_children_files() {
        spread(root, listed_children)
    } else {
        let mut all = by_parent();
        spread(root, |pid| all.remove(&pid).unwrap_or_default())
    }
}

fn spread(root: i32, mut children: impl FnMut(i32) -> Vec<i32>) -> Vec<i32> {
    let mut found = children(root);
    let mut next = 0;
    while next < found.len() {
        let more = children(found[next]);
        // A process that changes its parent while we look must not be visited twice, or for ever.
        let new: Vec<i32> = more
            .into_iter()
            .filter(|pid| !found.contains(pid))
            .collect();
        found.extend(new);
        next += 1;
    }
    found
}

/// `CONFIG_PROC_CHILDREN` is not in every kernel (`proc_pid_task_children`, `proc(5)`).
fn has_children_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| fs::exists("/proc/thread-self/children").unwrap_or(false))
}

fn listed_children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    found
}

/// Every process by its parent, from one pass over all of them.
fn by_parent() -> BTreeMap<i32, Vec<i32>> {
    let mut all = BTreeMap::<i32, Vec<i32>>::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return all;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(parent) = stat_field(pid, 4).and_then(|parent| parent.parse().ok()) {
            all.entry(parent).or_default().push(pid);
        }
    }
    all
}

/// Whether the process holds a socket other than as its standard input, output and error. `None`
/// when we may not look, as into what `sudo` started (`ptrace(2)`, "Ptrace access mode checking").
pub fn holds_socket(pid: i32) -> Option<bool> {
    let fds = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(fds) => fds,
        Err(error) => return unless_denied(&error),
    };
    let mut holds = Some(false);
    for fd in fds.flatten().filter(is_beyond_standard) {
        match fs::read_link(fd.path()) {
            Ok(target) if names_socket(&target) => return Some(true),
            Ok(_) => {}
            Err(error) => holds = holds.and(unless_denied(&error)),
        }
    }
    holds
}

/// What has been closed or has ended since we looked holds nothing.
fn unless_denied(error: &io::Error) -> Option<bool> {
    (error.kind() != io::ErrorKind::PermissionDenied).then_some(false)
}

fn is_beyond_standard(fd: &fs::DirEntry) -> bool {
    let name = fd.file_name();
    let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
    number.is_some_and(|number| number > 2)
}

fn names_socket(target: &Path) -> bool {
    let target = target.as_os_str().as_encoded_bytes();
    target.starts_with(b"socket:")
}

/// The file that the process executes (`proc_pid_exe(5)`), if we may know it.
pub fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const PYTHON: &str = "Name:\tpy) x\nState:\tS (sleeping)\nPPid:\t17\nThreads:\t1\nSigBlk:\t0000000000000000\n\
                          SigIgn:\t0000000001001000\nSigCgt:\t0000000000004002\n";

    #[test]
    fn reactions_are_read_from_the_masks() {
        let status = parse_status(PYTHON).unwrap();
        assert_eq!((status.parent, status.stopped), (17, false));
        assert!(!status.ended);
        assert_eq!(status.reaction(libc::SIGTERM), Reaction::Caught);
        assert_eq!(status.reaction(libc::SIGINT), Reaction::Caught);
        assert_eq!(status.reaction(libc::SIGPIPE), Reaction::Ignored);
        assert_eq!(status.reaction(libc::SIGHUP), Reaction::Default);
        assert_eq!(status.reaction(0), Reaction::Default);
        assert_eq!(status.reaction(65), Reaction::Default);
    }

    #[test]
    fn a_blocked_signal_is_one_that_somebody_waits_for() {
        let text = PYTHON.replace("SigBlk:\t0000000000000000", "SigBlk:\t0000000000000101");
        let status = parse_status(&text).unwrap();
        assert_eq!(status.reaction(libc::SIGHUP), Reaction::Caught);
        assert_eq!(status.reaction(libc::SIGINT), Reaction::Caught);
        assert_eq!(status.reaction(libc::SIGUSR1), Reaction::Default);
    }

    #[test]
    fn who_is_just_starting_another_waits_for_nothing() {
        let text = PYTHON.replace("SigBlk:\t0000000000000000", "SigBlk:\tfffffffe7ffbfeff");
        let status = parse_status(&text).unwrap();
        assert_eq!(status.reaction(libc::SIGHUP), Reaction::Default);
        let status = parse_status(&text.replace("Threads:\t1", "Threads:\t2")).unwrap();
        assert_eq!(status.reaction(libc::SIGHUP), Reaction::Caught);
        assert_eq!(status.reaction(libc::SIGKILL), Reaction::Default);
    }

    #[test]
    fn the_mask_of_go_says_nothing_of_the_program() {
        let text = PYTHON.replace("SigCgt:\t0000000000004002", "SigCgt:\tfffffffd7fc1feff");
        let status = parse_status(&text).unwrap();
        assert_eq!(status.reaction(libc::SIGTERM), Reaction::Blanket);
        assert_eq!(status.reaction(libc::SIGKILL), Reaction::Default);
    }

    #[test]
    fn both_ways_to_find_children_agree() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 100 & echo; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let listed = listed_children(pid);
        let scanned = by_parent().remove(&pid).unwrap_or_default();
        let deep = descendants(i32::try_from(std::process::id()).unwrap());
        for pid in &listed {
            let pid = nix::unistd::Pid::from_raw(*pid);
            nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed, scanned);
        assert!(deep.contains(&pid) && deep.contains(&listed[0]), "{deep:?}");
    }

    #[test]
    fn who_has_ended_shows_until_it_is_taken_in() {
        let text = PYTHON.replace("S (sleeping)", "Z (zombie)");
        assert!(parse_status(&text).unwrap().ended);
    }

    #[test]
    fn what_we_may_not_look_into_is_unknown() {
        use nix::unistd::{Uid, geteuid, setfsuid};
        let stranger = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/1").unwrap());
        if !geteuid().is_root() && geteuid().as_raw() == stranger {
            return;
        }
        // For this thread alone; whoever is not root is a stranger to the first process anyway.
        let looked = std::thread::spawn(|| {
            setfsuid(Uid::from_raw(65534));
            holds_socket(1)
        });
        assert_eq!(looked.join().unwrap(), None);
    }

    #[test]
    fn a_socket_that_is_held_is_seen() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let _held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(holds_socket(pid), Some(true));
        assert_eq!(holds_socket(i32::MAX), Some(false));
    }

    #[test]
    fn a_process_is_named_by_its_start() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(started(pid).unwrap() > 0);
        assert_eq!(started(pid), started(pid));
        assert_eq!(status(i32::MAX), None);
    }

    #[test]
    fn fuzz_status() {
        let own = std::fs::read("/proc/self/status").unwrap();
        let words = ["SigCgt:\t", "\n", "State:\t", "ffffffffffffffff", "PPid:\t"];
        crate::fuzz::fuzz("/proc/PID/status", &[&own], &words, |input| {
            let status = parse_status(&String::from_utf8_lossy(input));
            for signal in [0, 1, 64, 65, i32::MAX, i32::MIN] {
                let _ = status.as_ref().map(|status| status.reaction(signal));
            }
        });
    }
}
