use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpid};

use crate::os::process_tree::{self, Reaction};
use crate::os::{self};

/// How often to look again for what was forked while we looked.
const LOOKS: usize = 16;
/// The first and the longest pause between two attempts to kill what is left.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// How often to look whether a group still exists, where nobody tells us.
const GLANCE: Duration = Duration::from_millis(50);

/// A process for good: its number, and when it was started.
type Identity = (i32, u64);

/// What descends from the guardian: who gets a signal, and how nothing of it survives a kill.
pub(super) struct Tree {
    program: Pid,
    program_ended: bool,
    stop: Option<Signal>,
    told: HashSet<Identity>,
    killing: bool,
    pause: Duration,
    /// Every process seen while killing: a group that one of them leads was made inside the tree.
    seen: HashSet<i32>,
}

impl Tree {
    pub(super) fn new(program: Pid) -> Self {
        Self {
            program,
            program_ended: false,
            stop: None,
            told: HashSet::new(),
            killing: false,
            pause: PAUSES.0,
            seen: HashSet::from([program.as_raw()]),
        }
    }

    /// Sends the signal to those whom it concerns, once each.
    pub(super) fn signal(&mut self, signal: Signal) {
        let mut told = HashSet::new();
        self.tell(signal, &mut told);
    }

    /// Sends the signal to those that catch it alone: a shell around the program would die of it.
    pub(super) fn reload_config(&self, signal: Signal) {
        if !process_tree::KNOWN {
            let _ = killpg(self.program, signal);
            return;
        }
        let catches = |pid: i32| {
            let reaction = process_tree::status(pid).map(|status| status.reaction(signal as i32));
            matches!(reaction, Some(Reaction::Caught | Reaction::Blanket))
        };
        let concerned = self.concerned(signal, &HashSet::new()).into_iter();
        for (identity, _) in concerned.filter(|(identity, _)| catches(identity.0)) {
            let _ = kill(Pid::from_raw(identity.0), signal);
        }
    }

    /// As [`Tree::signal`], remembered: who has had it does not get it again, and who is orphaned gets it later.
    pub(super) fn stop(&mut self, signal: Signal) {
        self.stop = Some(signal);
        self.tell_stop();
    }

    /// Leave nothing from now on; [`Tree::press`] does it.
    pub(super) fn kill(&mut self) {
        self.killing = true;
    }

    /// The program's first process is no more.
    pub(super) fn program_ended(&mut self) {
        self.program_ended = true;
    }

    /// Something of the tree has ended. While stopping, what it leaves behind is told as well: a
    /// daemon that never was a descendant of the program, the server that was inside of a wrapper.
    pub(super) fn bereave(&mut self) {
        if self.program_ended {
            self.tell_stop();
        }
    }

    /// How long to wait for a sign before looking again.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.killing {
            Some(self.pause)
        } else {
            (self.program_ended && !os::SUBREAPER).then_some(GLANCE)
        }
    }

    /// Whether something is left that would not be our child: where there is no subreaper, orphans of
    /// the program's group.
    pub(super) fn has_stragglers(&self) -> bool {
        !os::SUBREAPER && killpg(self.program, None).is_ok()
    }

    /// One attempt at leaving nothing, if that is what was asked. It takes several: a process may
    /// fork faster than we look, and one that we may not signal (it became another user) has to end by itself.
    pub(super) fn press(&mut self) {
        if !self.killing {
            return;
        }
        for _ in 0..LOOKS {
            if !self.strike() {
                break;
            }
        }
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    /// Kills all that can be seen; whether there was something new among it.
    fn strike(&mut self) -> bool {
        let found = process_tree::descendants(getpid().as_raw());
        let before = self.seen.len();
        self.seen.extend(&found);
        for group in self.groups(&found) {
            // In one step for all members: a fork that it interrupts does not happen
            // (`copy_process` in `kernel/fork.c` gives up when a signal is pending).
            let _ = killpg(group, Signal::SIGKILL);
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        self.seen.len() > before
    }

    /// The groups that were made inside the tree. Others, hotrun's own among them, may have members
    /// that are none of ours.
    fn groups(&self, found: &[i32]) -> HashSet<Pid> {
        let mut groups: HashSet<Pid> = found
            .iter()
            .filter_map(|pid| getpgid(Some(Pid::from_raw(*pid))).ok())
            .filter(|group| self.seen.contains(&group.as_raw()))
            .collect();
        if !process_tree::KNOWN {
            groups.insert(self.program);
        }
        groups
    }

    fn tell_stop(&mut self) {
        if let Some(signal) = self.stop {
            let mut told = std::mem::take(&mut self.told);
            self.tell(signal, &mut told);
            self.told = told;
        }
    }

    fn tell(&self, signal: Signal, told: &mut HashSet<Identity>) {
        if !process_tree::KNOWN {
            let _ = killpg(self.program, signal);
            return;
        }
        for _ in 0..LOOKS {
            let concerned = self.concerned(signal, told);
            if concerned.is_empty() {
                break;
            }
            // Parents first: a shell that has not heard of it would go on to its next command.
            for (identity, stopped) in concerned {
                told.insert(identity);
                let pid = Pid::from_raw(identity.0);
                let _ = kill(pid, signal);
                if stopped {
                    // It could not act on the signal, or not even die of it.
                    let _ = kill(pid, Signal::SIGCONT);
                }
            }
        }
    }

    /// Who gets the signal and has not had it, parents first, and whether it is stopped. Collected
    /// before anybody is told, because whom it kills loses its children.
    fn concerned(&self, signal: Signal, told: &HashSet<Identity>) -> Vec<(Identity, bool)> {
        let mut waiting = self.roots();
        let mut found = Vec::new();
        let mut next = 0;
        while let Some(&pid) = waiting.get(next) {
            next += 1;
            let Some(status) = process_tree::status(pid) else {
                continue;
            };
            let identity = (pid, process_tree::started(pid).unwrap_or(0));
            if !told.contains(&identity) {
                found.push((identity, status.stopped));
            }
            match status.reaction(signal as i32) {
                // It will tell its descendants as it likes.
                Reaction::Caught | Reaction::Blanket => {}
                Reaction::Default | Reaction::Ignored => {
                    let children = process_tree::children(pid);
                    waiting.extend(
                        children
                            .into_iter()
                            .filter(|pid| !waiting.contains(pid))
                            .collect::<Vec<_>>(),
                    );
                }
            }
        }
        found
    }

    fn roots(&self) -> Vec<i32> {
        if self.program_ended {
            process_tree::children(getpid().as_raw())
        } else {
            vec![self.program.as_raw()]
        }
    }
}
