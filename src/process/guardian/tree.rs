use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, getpgid, getpid};

use crate::os;
use crate::os::process_tree;
use crate::process::disposition::{is_caught, is_reader};

/// The maximum number of scans for processes that were forked during the previous scan.
const SCANS: usize = 16;
/// The first and the longest pause between two attempts to kill the remaining processes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// How long the readers of pipes may take to end once everything else has ended.
const READERS: Duration = Duration::from_secs(1);
/// How often to check whether the process group still exists, on systems that do not report its end.
const GROUP_CHECK: Duration = Duration::from_millis(50);

/// The pid and the start time of a process, which together identify it even if its pid is reused.
type PidIdentity = (i32, u64);

/// A process that a signal is sent to.
struct Recipient {
    identity: PidIdentity,
    stopped: bool,
    catches: bool,
}

/// The guardian's descendants. Decides which of them get a signal, and kills them without leaving any behind.
pub(super) struct ProcessTree {
    program: Pid,
    /// Whether the program's first process or its main process has ended.
    pub(super) program_ended: bool,
    /// Whether the whole tree is to be killed by [`ProcessTree::kill_if_ordered`].
    pub(super) killing: bool,
    stop: Option<i32>,
    /// The processes that have been sent the stop signal.
    stopped: HashSet<PidIdentity>,
    /// When the remaining readers of pipes get the stop signal.
    readers_due: Option<Instant>,
    pause: Duration,
    /// The pids of the program and of every process that was found while killing. A process group whose id is one of
    /// these was created inside the tree.
    seen: HashSet<i32>,
}

impl ProcessTree {
    pub(super) fn new(program: Pid) -> Self {
        Self {
            program,
            program_ended: false,
            killing: false,
            stop: None,
            stopped: HashSet::new(),
            readers_due: None,
            pause: PAUSES.0,
            seen: HashSet::from([program.as_raw()]),
        }
    }

    /// Sends the signal once to each of its recipients.
    pub(super) fn signal(&mut self, signal: i32) {
        self.send(signal, &mut HashSet::new());
    }

    /// Sends the signal only to processes that catch it, because it would kill a shell around the program.
    pub(super) fn reload_config(&self, signal: i32) {
        if !process_tree::KNOWN {
            kill_group(self.program, signal);
        }
        let recipients = self.recipients(signal, &HashSet::new()).into_iter();
        for recipient in recipients.filter(|recipient| recipient.catches) {
            kill(recipient.identity.0, signal);
        }
    }

    /// Like [`ProcessTree::signal`], but no process gets the signal twice, processes that are orphaned later also get
    /// it, and the readers of pipes get it only if they do not end on their own.
    pub(super) fn stop(&mut self, signal: i32) {
        self.stop = Some(signal);
        let (readers, others) = split_readers(signal);
        let readers_left = others.is_empty() && !readers.is_empty();
        self.readers_due = readers_left.then(|| Instant::now() + READERS);
        let readers: HashSet<_> = readers.into_iter().map(identity).collect();
        let mut sent = &self.stopped | &readers;
        self.send(signal, &mut sent);
        self.stopped.extend(&sent - &readers);
    }

    /// Sends the stop signal to the remaining readers of pipes once it is due.
    pub(super) fn stop_due_readers(&mut self) {
        let due = |at: &mut Instant| Instant::now() >= *at;
        if let (Some(_), Some(signal)) = (self.readers_due.take_if(due), self.stop) {
            let mut stopped = std::mem::take(&mut self.stopped);
            self.send(signal, &mut stopped);
            self.stopped = stopped;
        }
    }

    /// Must be called when a process of the tree has ended. If a stop was ordered and the program has ended, the
    /// processes that are left behind get the stop signal, for example a daemon that had left the program's subtree, or
    /// the server inside a wrapper.
    pub(super) fn process_ended(&mut self) {
        if let Some(signal) = self.stop.filter(|_| self.program_ended) {
            self.stop(signal);
        }
    }

    /// The maximum time to wait for an event.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let due = self.readers_due;
        match self.killing {
            true => Some(self.pause),
            false if self.program_ended && !os::SUBREAPER => Some(GROUP_CHECK),
            false => due.map(|at| at.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether the program's group still has members that are not children of the guardian, which is possible on
    /// systems without subreapers.
    pub(super) fn group_exists(&self) -> bool {
        !os::SUBREAPER && signal::killpg(self.program, None).is_ok()
    }

    /// Tries to kill everything, if a kill has been ordered. This may take several attempts: processes may fork faster
    /// than the guardian scans, and a process whose user has changed, so that the guardian may not signal it, must exit
    /// on its own.
    pub(super) fn kill_if_ordered(&mut self) {
        if self.killing {
            // Stops when a scan finds no new processes.
            let _ = (0..SCANS).all(|_| self.kill_once());
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
    }

    /// Kills the processes that a scan finds. Returns whether there were new ones among them.
    fn kill_once(&mut self) -> bool {
        let found = process_tree::descendants(getpid().as_raw());
        let before = self.seen.len();
        self.seen.extend(&found);
        // Kills only groups that were created inside the tree. Others, such as hotrun's own, may have members outside
        // it.
        let group = |pid: &i32| getpgid(Some(Pid::from_raw(*pid))).ok();
        let mut groups: HashSet<Pid> = found.iter().filter_map(group).collect();
        groups.retain(|group| self.seen.contains(&group.as_raw()));
        if !process_tree::KNOWN {
            groups.insert(self.program);
        }
        for group in groups {
            // Kills all members in one step. No fork escapes, because `copy_process` in `kernel/fork.c` gives up when a
            // signal is pending.
            kill_group(group, libc::SIGKILL);
        }
        for pid in found {
            kill(pid, libc::SIGKILL);
        }
        self.seen.len() > before
    }

    /// Sends the signal to all of its recipients that are not in `sent`, and adds them to `sent`.
    fn send(&self, signal: i32, sent: &mut HashSet<PidIdentity>) {
        if !process_tree::KNOWN {
            kill_group(self.program, signal);
        }
        for _ in 0..SCANS {
            let recipients = self.recipients(signal, sent);
            if recipients.is_empty() {
                break;
            }
            // Parents come first: otherwise, a shell would continue with its next command.
            for Recipient {
                identity, stopped, ..
            } in recipients
            {
                sent.insert(identity);
                kill(identity.0, signal);
                if stopped {
                    // A stopped process can neither handle the signal nor be killed by it.
                    kill(identity.0, libc::SIGCONT);
                }
            }
        }
    }

    /// The processes that should get the signal and are not in `sent`, parents first. Must be called before the first
    /// of them is signalled, because a process that dies loses its children.
    fn recipients(&self, signal: i32, sent: &HashSet<PidIdentity>) -> Vec<Recipient> {
        let roots = match self.program_ended {
            true => process_tree::children(getpid().as_raw()),
            false => vec![self.program.as_raw()],
        };
        let mut found = Vec::new();
        process_tree::walk(roots, |pid| {
            let Some(status) = process_tree::status(pid) else {
                return Vec::new();
            };
            let (catches, identity) = (is_caught(status.disposition(signal)), identity(pid));
            if !sent.contains(&identity) {
                found.push(Recipient {
                    identity,
                    stopped: status.stopped,
                    catches,
                });
            }
            // A process that catches the signal is responsible for notifying its descendants.
            match catches {
                true => Vec::new(),
                false => process_tree::children(pid),
            }
        });
        found
    }
}

/// Separates the pids of the readers of pipes ([`is_reader`]) from those of all other processes in the tree. A process
/// with children is not a reader: it may be a shell that reads its script from the pipe, which must not run the next
/// command once the signal has ended the current one.
fn split_readers(signal: i32) -> (Vec<i32>, Vec<i32>) {
    let all = process_tree::descendants(getpid().as_raw()).into_iter();
    let alive = all.filter(|pid| !process_tree::has_ended(*pid));
    alive.partition(|pid| is_reader(*pid, signal) && process_tree::children(*pid).is_empty())
}

fn identity(pid: i32) -> PidIdentity {
    (pid, process_tree::started(pid).unwrap_or(0))
}

/// Sends a signal. A process that is gone is not an error.
fn kill(pid: i32, signal: i32) {
    let _ = signal::kill(Pid::from_raw(pid), Signal::try_from(signal).ok());
}

fn kill_group(group: Pid, signal: i32) {
    let _ = signal::killpg(group, Signal::try_from(signal).ok());
}
