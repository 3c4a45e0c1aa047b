//! Reads the process tree, and how processes handle signals, from `/proc`.
//!
//! Every result is a snapshot: processes fork and exit while it is taken, so callers must repeat the query.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::os::signals::Disposition;

/// Whether this system shows the process tree.
pub const KNOWN: bool = cfg!(target_os = "linux");

/// The relevant fields of `/proc/PID/status` (`proc_pid_status(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The parent's pid.
    pub parent: i32,
    /// Whether the process is stopped, for example by `SIGSTOP` or for reading from the terminal in the background.
    pub stopped: bool,
    /// Whether a debugger traces the process.
    pub traced: bool,
    /// Whether the process has exited but has not been reaped yet.
    pub ended: bool,
    threads: u32,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl ProcessStatus {
    /// Returns what this signal would do to the process.
    pub fn disposition(&self, signal: i32) -> Disposition {
        let has = |mask: u64| signal > 0 && signal <= 64 && mask >> (signal - 1) & 1 == 1;
        if has(self.caught) && catches_everything(self.caught) {
            Disposition::CaughtByRuntime
        } else if has(self.caught) {
            Disposition::Caught
        } else if has(self.ignored) {
            Disposition::Ignored
        } else if has(self.blocked) && self.waits_for_signals() {
            Disposition::Caught
        } else {
            Disposition::Default
        }
    }

    /// Whether the process reads its blocked signals. A signal that is blocked but not caught stays pending until it is
    /// read from a signalfd or another thread takes it with `sigwait`, which is how event loops in C handle their stop
    /// signal. (A main thread that itself sleeps in `sigwait` is not recognized, because the kernel unblocks the signal
    /// during the call; `do_sigtimedwait`, `kernel/signal.c`.) But `vfork` and `posix_spawn` block every signal until
    /// the exec, so a process with one thread and every signal blocked is about to exec.
    fn waits_for_signals(&self) -> bool {
        let everything = self.blocked >> (libc::SIGSEGV - 1) & 1 == 1;
        !everything || self.threads > 1
    }
}

/// Recognizes Go's runtime, which installs a handler for every signal that it can (`runtime/signal_unix.go`,
/// `initsig`). Unless the program has asked for the signal, that handler ends the process. Nothing else catches these
/// four together: coprocessor fault, CPU limit, power failure, bad system call (`signal(7)`).
fn catches_everything(caught: u64) -> bool {
    const RARE: u64 = 1 << 15 | 1 << 23 | 1 << 29 | 1 << 30;
    caught & RARE == RARE
}

/// Returns the status of this process or thread, unless it is gone.
pub fn status(pid: i32) -> Option<ProcessStatus> {
    parse_status(&read_lossy(&format!("/proc/{pid}/status"))?)
}

/// Returns one status field of this process or thread.
pub(super) fn status_field(pid: i32, name: &str) -> Option<String> {
    let text = read_lossy(&format!("/proc/{pid}/status"))?;
    field(&text, name).map(str::to_owned)
}

/// Reads a file that contains a program's name, which need not be UTF-8.
fn read_lossy(path: &str) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()
}

fn parse_status(text: &str) -> Option<ProcessStatus> {
    let field = |name| field(text, name);
    let mask = |name| u64::from_str_radix(field(name)?, 16).ok();
    let state = field("State:")?;
    Some(ProcessStatus {
        parent: field("PPid:")?.parse().ok()?,
        stopped: state == "T",
        traced: field("TracerPid:").is_some_and(|tracer| tracer != "0"),
        ended: matches!(state, "Z" | "X"),
        threads: field("Threads:")?.parse().ok()?,
        blocked: mask("SigBlk:")?,
        ignored: mask("SigIgn:")?,
        caught: mask("SigCgt:")?,
    })
}

/// Whether this process has exited, reaped or not.
pub fn has_ended(pid: i32) -> bool {
    match status(pid) {
        Some(status) => status.ended,
        None => kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH),
    }
}

/// Whether the standard input of this process is a pipe (`proc_pid_fd(5)`).
pub fn reads_pipe(pid: i32) -> bool {
    let input = fs::read_link(format!("/proc/{pid}/fd/0"));
    input.is_ok_and(|input| input.to_string_lossy().starts_with("pipe:"))
}

/// Returns the start time of a process, in clock ticks since boot. Together with the pid, it identifies a process,
/// even though pids are reused.
pub fn started(pid: i32) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// Returns a field of `/proc/PID/stat`, numbered as in `proc_pid_stat(5)`. The number must be at least 3.
fn stat_field(pid: i32, number: usize) -> Option<String> {
    let text = read_lossy(&format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses, which may itself contain spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// Returns the children of all threads of a process.
pub fn children(pid: i32) -> Vec<i32> {
    if has_children_files() {
        listed_children(pid)
    } else {
        by_parent().remove(&pid).unwrap_or_default()
    }
}

/// Returns all descendants of `root`, not including `root` itself, with parents before their children.
pub fn descendants(root: i32) -> Vec<i32> {
    if has_children_files() {
        walk(listed_children(root), listed_children)
    } else {
        let mut all = by_parent();
        let mut children = |pid| all.remove(&pid).unwrap_or_default();
        walk(children(root), children)
    }
}

/// Adds the descendants of all processes in `found`, parents before their children.
pub fn walk(mut found: Vec<i32>, mut children: impl FnMut(i32) -> Vec<i32>) -> Vec<i32> {
    let mut next = 0;
    while next < found.len() {
        let mut more = children(found[next]);
        // Without this filter, a process whose parent changes during the walk could be visited more than once, or even
        // endlessly.
        more.retain(|pid| !found.contains(pid));
        found.extend(more);
        next += 1;
    }
    found
}

/// Whether the kernel lists children in `/proc` (`proc_pid_task_children(5)`). Not every kernel is built with
/// `CONFIG_PROC_CHILDREN`.
fn has_children_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| fs::exists("/proc/thread-self/children").unwrap_or(false))
}

fn listed_children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let mut found = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = text.split_whitespace();
        found.extend(pids.filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}

/// Groups all processes by parent, in one pass over `/proc`.
fn by_parent() -> BTreeMap<i32, Vec<i32>> {
    let mut all = BTreeMap::<i32, Vec<i32>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let parent = pid.and_then(|pid| stat_field(pid, 4)?.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent) {
            all.entry(parent).or_default().push(pid);
        }
    }
    all
}

/// Returns the process's executable (`proc_pid_exe(5)`), if we have permission to read it.
pub fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    const PYTHON: &str = "Name:\tpy) x\nState:\tS (sleeping)\nPPid:\t17\nThreads:\t1\nSigBlk:\t0000000000000000\n\
                          SigIgn:\t0000000001001000\nSigCgt:\t0000000000004002\n";

    #[test]
    fn dispositions_are_read_from_the_masks() {
        let status = parse_status(PYTHON).unwrap();
        assert_eq!((status.parent, status.stopped), (17, false));
        assert!(!status.ended);
        assert_eq!(status.disposition(libc::SIGTERM), Disposition::Caught);
        assert_eq!(status.disposition(libc::SIGINT), Disposition::Caught);
        assert_eq!(status.disposition(libc::SIGPIPE), Disposition::Ignored);
        assert_eq!(status.disposition(libc::SIGHUP), Disposition::Default);
        assert_eq!(status.disposition(0), Disposition::Default);
        assert_eq!(status.disposition(65), Disposition::Default);
    }

    #[test]
    fn a_blocked_signal_counts_as_caught() {
        let text = PYTHON.replace("SigBlk:\t0000000000000000", "SigBlk:\t0000000000000101");
        let status = parse_status(&text).unwrap();
        assert_eq!(status.disposition(libc::SIGHUP), Disposition::Caught);
        assert_eq!(status.disposition(libc::SIGINT), Disposition::Caught);
        assert_eq!(status.disposition(libc::SIGUSR1), Disposition::Default);
    }

    #[test]
    fn a_process_that_is_about_to_exec_does_not_wait_for_signals() {
        let text = PYTHON.replace("SigBlk:\t0000000000000000", "SigBlk:\tfffffffe7ffbfeff");
        let status = parse_status(&text).unwrap();
        assert_eq!(status.disposition(libc::SIGHUP), Disposition::Default);
        let status = parse_status(&text.replace("Threads:\t1", "Threads:\t2")).unwrap();
        assert_eq!(status.disposition(libc::SIGHUP), Disposition::Caught);
        assert_eq!(status.disposition(libc::SIGKILL), Disposition::Default);
    }

    #[test]
    fn go_runtime_handlers_are_recognized() {
        let text = PYTHON.replace("SigCgt:\t0000000000004002", "SigCgt:\tfffffffd7fc1feff");
        let status = parse_status(&text).unwrap();
        assert_eq!(
            status.disposition(libc::SIGTERM),
            Disposition::CaughtByRuntime
        );
        assert_eq!(status.disposition(libc::SIGKILL), Disposition::Default);
    }

    #[test]
    fn children_files_and_a_scan_of_proc_agree() {
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
    fn a_zombie_counts_as_ended() {
        let text = PYTHON.replace("S (sleeping)", "Z (zombie)");
        assert!(parse_status(&text).unwrap().ended);
    }

    #[test]
    fn a_process_counts_as_ended_before_it_is_reaped() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !has_ended(pid) {
            assert!(
                Instant::now() < deadline,
                "the child must become a zombie in time"
            );
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(has_ended(pid) && !has_ended(std::process::id().cast_signed()));
    }

    #[test]
    fn the_start_time_of_a_process_does_not_change() {
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
                let _ = status.as_ref().map(|status| status.disposition(signal));
            }
        });
    }
}
