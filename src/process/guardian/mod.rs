//! The hidden mode in which hotrun watches over one tree.
//!
//! One thread, no lock, no state on disk. Every signal is blocked but the two that wake it; its
//! output goes nowhere once the program runs, so that the ends of the pipes mean that the tree has
//! closed them.

mod channel;
mod program;
mod tree;
mod wake;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getpgid, getpid, getppid, setpgid, setsid};

use self::channel::Channel;
use self::tree::Tree;
use self::wake::Wake;
use super::start_request::StdioMode;
use super::wire::{self, Order};
use super::{Refusal, Report, Step, start_request};
use crate::os;
use crate::os::cleanup::{Cleanup, clean_up};
use crate::os::process_tree;
use crate::os::reap::{Reaped, reap};
use crate::reload::Ended;

/// How long after its descriptors are closed a process may still be there. A great one takes long to be taken apart.
const REPARENTED: Duration = Duration::from_secs(1);

/// The first argument that asks for this mode.
pub const MODE: &str = "--guardian";

/// The whole life of a guardian. Its standard input is the control socket.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn run() -> io::Result<()> {
    let parent = getppid();
    os::close_from(3)?;
    os::name_process(c"hotrun-guardian");
    let mut channel = Channel::take()?;
    match begin(&channel) {
        Ok(begun) => {
            channel.report(Report::Started {
                pid: begun.program.as_raw(),
            });
            Guardian::new(parent, channel, begun).watch();
        }
        Err(error) => channel.report(Report::Refused { error }),
    }
    Ok(())
}

fn begin(channel: &Channel) -> Result<Begun, Refusal> {
    let own = |error: io::Error| Refusal {
        step: Step::Guardian,
        errno: error.raw_os_error().unwrap_or(0),
    };
    let mut launch = start_request::receive(channel.socket()).map_err(own)?;
    // Before the program runs: the first orphan may come at once.
    os::become_subreaper().map_err(own)?;
    let wake = Wake::new().map_err(own)?;
    match launch.stdio {
        StdioMode::Pipes => {}
        StdioMode::Screen | StdioMode::Terminal => lead_session().map_err(own)?,
    }
    let cleanup = std::mem::take(&mut launch.cleanup);
    let program = program::start(launch)?;
    channel::let_go_of_output().map_err(own)?;
    Ok(Begun {
        wake,
        program,
        cleanup,
    })
}

/// Gives the program's terminal, which is our output, a session of its own.
///
/// It is the guardian that leads it and not the program: when the leader of a session ends, the kernel hangs up its
/// terminal (`disassociate_ctty` in `drivers/tty/tty_jobctrl.c`), and a program that goes on in what it has started
/// would not go on. The guardian has every signal blocked that a terminal sends.
fn lead_session() -> io::Result<()> {
    // Who leads a process group, as we do since our start, can't lead a session (`setsid(2)`), so it goes back into
    // the group that it came from. For the moment between, Ctrl-C would reach it: it is blocked.
    setpgid(Pid::from_raw(0), getpgid(Some(getppid()))?)?;
    setsid()?;
    os::terminal::control_session(io::stdout())
}

/// A program that runs.
struct Begun {
    wake: Wake,
    program: Pid,
    cleanup: Vec<Cleanup>,
}

struct Guardian {
    parent: Pid,
    channel: Channel,
    wake: Wake,
    program: Pid,
    /// The process that it says is the program in truth. Its end is reported too.
    main: Option<Pid>,
    tree: Tree,
    /// What is put away if hotrun is gone.
    cleanup: Vec<Cleanup>,
}

impl Guardian {
    fn new(parent: Pid, channel: Channel, begun: Begun) -> Self {
        let Begun {
            wake,
            program,
            cleanup,
        } = begun;
        Self {
            parent,
            cleanup,
            channel,
            wake,
            program,
            main: None,
            tree: Tree::new(program),
        }
    }

    /// Nothing in here may end the guardian before its tree is gone: whatever fails is tried again.
    fn watch(mut self) {
        while !self.reap() {
            self.tree.press();
            self.wake
                .wait(self.channel.pollable(), self.tree.patience());
            self.obey();
        }
        // Nobody listens on the sockets of a hotrun that is gone, and so is what it had passed on.
        if self.is_orphan() {
            clean_up(&self.cleanup, self.parent.as_raw().cast_unsigned());
        }
        self.channel.report(Report::Gone);
    }

    /// Whether hotrun is gone. The kernel closes the descriptors of a process that ends some time before it gives
    /// its children to another (`do_exit` in `kernel/exit.c`), so the end of the socket is a hint, and what
    /// follows is waited for. It does not follow if hotrun has merely let go of this tree.
    fn is_orphan(&self) -> bool {
        let began = Instant::now();
        while getppid() == self.parent {
            if !self.channel.closed() || began.elapsed() > REPARENTED {
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
                Order::Main(pid) => self.take_for_main(pid),
                Order::Kill => self.tree.kill(),
            }
        }
        // hotrun's end shows in both ways. The signal that comes with it also comes when merely the
        // thread that started us has ended, so it is the parent that decides.
        if self.channel.closed() || getppid() != self.parent {
            self.tree.kill();
        }
    }

    /// Takes in what has ended; `true` when nothing of the tree is left.
    fn reap(&mut self) -> bool {
        let mut program = None;
        let mut any = false;
        let alone = loop {
            match reap(None) {
                Reaped::Ended(pid, status) => {
                    any = true;
                    let main = self.main.take_if(|main| main.as_raw() == pid);
                    if main.is_some() || pid == self.program.as_raw() {
                        program = Some(wire::ended(status));
                    }
                }
                Reaped::Running => break false,
                Reaped::NoChild => break !self.tree.has_stragglers(),
            }
        };
        if let Some(ended) = program {
            self.report_end(ended, !alone);
        }
        if any {
            self.tree.bereave();
        }
        alone
    }

    /// Only one of the tree: what else could end in our place is nobody's program.
    fn take_for_main(&mut self, pid: i32) {
        let known = process_tree::descendants(getpid().as_raw()).contains(&pid);
        if known {
            self.main = Some(Pid::from_raw(pid)).filter(|main| *main != self.program);
        }
    }

    fn report_end(&mut self, ended: Ended, survivors: bool) {
        self.tree.program_ended();
        self.channel.report(Report::Exited { ended, survivors });
    }
}
