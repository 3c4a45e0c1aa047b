//! The guardian: hotrun in a hidden mode that looks after one process tree.
//!
//! A guardian has one thread, no locks, and no state on disk. It blocks every signal except the two that wake it. Once
//! the program is running, the guardian's own standard output and standard error are the null device, so that the
//! output pipes reach end of file as soon as the tree has closed them.

mod channel;
mod program;
mod tree;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getpgid, getppid, setpgid, setsid};

use self::channel::Channel;
use self::tree::ProcessTree;
use super::start_request::{self, StdioMode};
use super::wire::{Order, ProgramEvent, Refusal, StartStep};
use crate::os;
use crate::os::cleanup::{Cleanup, clean_up};
use crate::os::process::{Reaped, become_subreaper, reap, set_name};

/// How long the kernel may take to reparent the guardian after it has closed the descriptors of an exiting hotrun.
const REPARENT_TIMEOUT: Duration = Duration::from_secs(1);

/// The first argument of a hotrun that is to run as a guardian.
pub const MODE: &str = "--guardian";

/// Runs a guardian. Standard input must be the control socket.
pub fn main() -> io::Result<()> {
    let parent = getppid();
    os::close_from(3)?;
    // `pkill hotrun` must not find the guardian, which has to clean up.
    set_name(c"guardian");
    let mut channel = Channel::take()?;
    match start(&channel) {
        Ok((program, cleanup, listener)) => {
            let pid = program.as_raw();
            channel.report(ProgramEvent::Started { pid });
            let guardian = Guardian {
                parent,
                channel,
                program,
                main: None,
                tree: ProcessTree::new(program),
                cleanup,
                borrower: None,
                _listener: listener,
            };
            guardian.run();
        }
        Err(error) => channel.report(ProgramEvent::Refused { error }),
    }
    Ok(())
}

fn start(channel: &Channel) -> Result<(Pid, Vec<Cleanup>, Option<OwnedFd>), Refusal> {
    let mut request = start_request::receive(&channel.socket).map_err(own)?;
    // Must happen before the program starts, because its first orphan may appear immediately.
    become_subreaper().map_err(own)?;
    match request.stdio {
        StdioMode::Pipes => {}
        StdioMode::PtyOutput | StdioMode::Pty => lead_session().map_err(own)?,
    }
    let cleanup = std::mem::take(&mut request.cleanup);
    let (program, listener) = program::start(request)?;
    // Closes the guardian's copies of the program's output.
    let null = OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(own)?;
    dup2_stdout(&null).map_err(own)?;
    dup2_stderr(&null).map_err(own)?;
    Ok((program, cleanup, listener))
}

fn own(error: impl Into<io::Error>) -> Refusal {
    Refusal::new(StartStep::Guardian, error)
}

/// Starts a session whose controlling terminal is the program's pty, which is the guardian's standard output at this
/// point.
///
/// The guardian leads the session instead of the program: when the leader exits, the kernel hangs up the terminal
/// (`disassociate_ctty` in `drivers/tty/tty_jobctrl.c`), which would end the processes that the program leaves running.
/// The guardian blocks every signal that a terminal sends.
fn lead_session() -> io::Result<()> {
    // A group leader cannot start a session (`setsid(2)`), and the guardian was started as a group leader, so it first
    // joins its parent's group. A Ctrl-C that reaches it there is blocked.
    setpgid(Pid::from_raw(0), getpgid(Some(getppid()))?)?;
    setsid()?;
    os::terminal::control_session(io::stdout())
}

/// Whether this process group is in the terminal's foreground.
fn has_terminal(group: Pid) -> bool {
    os::terminal::foreground().is_ok_and(|foreground| foreground == group.as_raw())
}

struct Guardian {
    parent: Pid,
    channel: Channel,
    program: Pid,
    /// The main process, if it is not the program's first process. Its exit is also reported.
    main: Option<Pid>,
    tree: ProcessTree,
    /// The files to remove if hotrun is gone.
    cleanup: Vec<Cleanup>,
    /// The process group of the program that last needed the terminal. If hotrun has lent it the terminal, hotrun gets
    /// the terminal back.
    borrower: Option<Pid>,
    /// A duplicate of the seccomp listener. Without it, the program's calls would fail between the end of hotrun and the
    /// kill.
    _listener: Option<OwnedFd>,
}

impl Guardian {
    /// Runs until the tree is gone. Never returns earlier, so failures are retried.
    fn run(mut self) {
        while !self.reap() {
            self.tree.kill_if_ordered();
            self.tree.stop_due_readers();
            self.channel.wait(self.tree.timeout());
            self.obey();
        }
        // hotrun and the tree are gone, so no process is listening on hotrun's sockets.
        if self.is_orphan() {
            clean_up(&self.cleanup);
        }
        self.channel.report(ProgramEvent::Gone);
    }

    /// Whether hotrun is gone. When a process exits, the kernel closes its descriptors some time before it reparents
    /// the children (`do_exit` in `kernel/exit.c`). So once the socket is closed, this waits for the parent to change.
    /// The parent does not change if hotrun has only dropped its `Control`.
    fn is_orphan(&self) -> bool {
        let began = Instant::now();
        while getppid() == self.parent {
            if !self.channel.closed || began.elapsed() > REPARENT_TIMEOUT {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn obey(&mut self) {
        for order in self.channel.orders() {
            match order {
                Order::Signal(signal) => self.tree.signal(signal),
                Order::ReloadConfig(signal) => self.tree.reload_config(signal),
                Order::Stop(signal) => self.tree.stop(signal),
                // The exit of the program's first process is always reported.
                Order::SetMain(pid) => {
                    self.main = Some(Pid::from_raw(pid)).filter(|main| *main != self.program);
                }
                Order::Kill => self.tree.killing = true,
            }
        }
        // `PARENTS_END` alone is not enough, because it also arrives if only the thread that started the guardian ends.
        if self.channel.closed || getppid() != self.parent {
            self.tree.killing = true;
        }
    }

    /// Handles a process that a signal has stopped. The terminal sends such a signal to a background process that uses
    /// it (`termios(3)`, "Job control"), and on Ctrl-Z, after which no shell would continue the program.
    fn stopped(&mut self, pid: Pid, signal: i32) {
        let Ok(group) = getpgid(Some(pid)) else {
            return;
        };
        if matches!(signal, libc::SIGTTIN | libc::SIGTTOU) {
            self.borrower = Some(group);
            let group = group.as_raw();
            self.channel.report(ProgramEvent::NeedsTerminal { group });
        } else if signal == libc::SIGTSTP && has_terminal(group) {
            // Fails if the group has ended.
            let _ = killpg(group, Signal::SIGCONT);
        }
    }

    /// Reaps ended processes. Returns whether the whole tree is gone.
    fn reap(&mut self) -> bool {
        let mut program = None;
        let mut any = false;
        let alone = loop {
            match reap(None) {
                Reaped::Ended(pid, status) => {
                    any = true;
                    let main = self.main.take_if(|main| main.as_raw() == pid);
                    if main.is_some() || pid == self.program.as_raw() {
                        program = Some(super::ended(status));
                    }
                }
                Reaped::Stopped(pid, signal) => self.stopped(Pid::from_raw(pid), signal),
                Reaped::Running => break false,
                Reaped::NoChild => break !self.tree.group_exists(),
            }
        };
        if let Some(ended) = program {
            let borrower = self.borrower.take();
            if borrower.is_some_and(has_terminal)
                && let Ok(hotrun) = getpgid(Some(self.parent))
            {
                // Fails if the terminal is gone.
                let _ = os::terminal::set_foreground(hotrun.as_raw());
            }
            self.tree.program_ended = true;
            let survivors = !alone;
            self.channel
                .report(ProgramEvent::Exited { ended, survivors });
        }
        if any {
            self.tree.process_ended();
        }
        alone
    }
}
