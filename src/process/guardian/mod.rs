//! The guardian: hotrun in a hidden mode that looks after one process tree.
//!
//! One thread, no lock, no state on disk. Every signal is blocked except the two that wake it. Once the program runs, the
//! guardian's output is the null device, so that the pipes end when the tree has closed them.

mod channel;
mod program;
mod tree;

use std::fs::OpenOptions;
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getpgid, getppid, setpgid, setsid};

use self::channel::Channel;
use self::tree::Tree;
use super::start_request::{self, StdioMode};
use super::wire::{Order, Refusal, Report, Step};
use crate::os;
use crate::os::cleanup::{Cleanup, clean_up};
use crate::os::process::{Reaped, become_subreaper, reap, set_name};

/// How long the process of hotrun may outlive its descriptors while it exits.
const REPARENT_TIMEOUT: Duration = Duration::from_secs(1);

/// The first argument that selects this mode.
pub const MODE: &str = "--guardian";

/// Runs a guardian. Its standard input is the control socket.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn run() -> io::Result<()> {
    let parent = getppid();
    os::close_from(3)?;
    set_name(c"hotrun-guardian");
    let mut channel = Channel::take()?;
    match start(&channel) {
        Ok((program, cleanup)) => {
            let pid = program.as_raw();
            channel.report(Report::Started { pid });
            let guardian = Guardian {
                parent,
                channel,
                program,
                main: None,
                tree: Tree::new(program),
                cleanup,
            };
            guardian.run();
        }
        Err(error) => channel.report(Report::Refused { error }),
    }
    Ok(())
}

fn start(channel: &Channel) -> Result<(Pid, Vec<Cleanup>), Refusal> {
    let own = |error: io::Error| Refusal::new(Step::Guardian, error);
    let mut request = start_request::receive(channel.socket()).map_err(own)?;
    // Before the program runs: its first orphan may appear at once.
    become_subreaper().map_err(own)?;
    match request.stdio {
        StdioMode::Pipes => {}
        StdioMode::PtyOutput | StdioMode::Pty => lead_session().map_err(own)?,
    }
    let cleanup = std::mem::take(&mut request.cleanup);
    let program = program::start(request)?;
    close_output().map_err(own)?;
    Ok((program, cleanup))
}

/// Starts a session with the program's pty, which is our output, as its controlling terminal.
///
/// The guardian leads the session and not the program: when the leader ends, the kernel hangs up the terminal
/// (`disassociate_ctty` in `drivers/tty/tty_jobctrl.c`), and processes that the program has left running would end too. The
/// guardian blocks every signal that a terminal sends.
fn lead_session() -> io::Result<()> {
    // The guardian leads a process group since its start, and a group leader cannot start a session (`setsid(2)`). So it
    // joins its parent's group first. A Ctrl-C that reaches it there is blocked.
    setpgid(Pid::from_raw(0), getpgid(Some(getppid()))?)?;
    setsid()?;
    os::terminal::control_session(io::stdout())
}

/// Closes the guardian's copies of the program's output.
fn close_output() -> io::Result<()> {
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}

struct Guardian {
    parent: Pid,
    channel: Channel,
    program: Pid,
    /// The main process, if it is not the program's first one. Its end is reported too.
    main: Option<Pid>,
    tree: Tree,
    /// Removed if hotrun is gone.
    cleanup: Vec<Cleanup>,
}

impl Guardian {
    /// Must not return before the tree is gone: failures are retried.
    fn run(mut self) {
        while !self.reap() {
            self.tree.kill_if_ordered();
            self.channel.wait(self.tree.timeout());
            self.obey();
        }
        // With hotrun and the tree gone, nobody listens on its sockets.
        if self.is_orphan() {
            clean_up(&self.cleanup, self.parent.as_raw().cast_unsigned());
        }
        self.channel.report(Report::Gone);
    }

    /// Whether hotrun is gone. The kernel closes the descriptors of an ending process some time before it reparents its
    /// children (`do_exit` in `kernel/exit.c`). So after the end of the socket this waits until the parent
    /// changes, which it does not if hotrun has only dropped its `Control`.
    fn is_orphan(&self) -> bool {
        let began = Instant::now();
        while getppid() == self.parent {
            if !self.channel.closed() || began.elapsed() > REPARENT_TIMEOUT {
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
                // Reported again only if it is another process.
                Order::SetMain(pid) => {
                    self.main = Some(Pid::from_raw(pid)).filter(|main| *main != self.program);
                }
                Order::Kill => self.tree.killing = true,
            }
        }
        // The parent decides: `PARENTS_END` also arrives when only the thread that started us has ended.
        if self.channel.closed() || getppid() != self.parent {
            self.tree.killing = true;
        }
    }

    /// Reaps ended processes; returns whether nothing of the tree is left.
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
                Reaped::Running => break false,
                Reaped::NoChild => break !self.tree.group_exists(),
            }
        };
        if let Some(ended) = program {
            self.tree.program_ended = true;
            let survivors = !alone;
            self.channel.report(Report::Exited { ended, survivors });
        }
        if any {
            self.tree.process_ended();
        }
        alone
    }
}
