//! hotrun's end of the socket to a guardian: [`Control`] sends orders, and a task receives events.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::Child;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::wire::{self, Order, ProgramEvent, Refusal, StartStep};
use super::{Signal, disposition, orphans};
use crate::os::process_tree;
use crate::reload::Ended;

/// Supervises a guardian to which the start request was sent. A separate task waits for the guardian, so that it is
/// reaped even if nothing receives its events.
pub(super) fn supervise(
    socket: UnixStream,
    guardian: Child,
) -> io::Result<(Control, ProgramEvents)> {
    socket.set_nonblocking(true)?;
    let gone = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::unbounded_channel();
    let reading = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
    let pid = guardian.id().map_or(0, u32::cast_signed);
    let task = GuardianTask {
        lines: BufReader::new(reading).lines(),
        guardian,
        gone: gone.clone(),
        program: None,
        exited: false,
        sender,
    };
    tokio::spawn(task.run());
    let control = Control(Arc::new(Inner {
        socket,
        guardian: pid,
        gone,
        main: AtomicI32::new(0),
    }));
    Ok((control, ProgramEvents(receiver)))
}

/// Controls a process tree. None of its methods wait.
///
/// When the last clone is dropped, the guardian kills the tree.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Non-blocking. The [`GuardianTask`] reads from a duplicate.
    socket: UnixStream,
    guardian: i32,
    gone: Arc<AtomicBool>,
    /// The pid that [`Control::set_main`] has set, or 0.
    main: AtomicI32,
}

impl Control {
    /// Sends a signal to every process of the tree, except to descendants of a process that catches the signal.
    pub fn signal(&self, signal: Signal) {
        self.order(Order::Signal(signal as i32));
    }

    /// Makes the program reload its configuration: sends the signal to every process of the tree that catches it,
    /// except to descendants of such a process. Returns whether any process catches it.
    ///
    /// A Go program counts as catching the signal: Go's runtime catches every signal, and the user is assumed to have
    /// chosen one that the program handles. Outside Linux, hotrun cannot tell which processes catch the signal, so the
    /// whole tree gets it.
    pub fn reload_config(&self, signal: Signal) -> bool {
        let caught = self.may_handle(signal);
        if caught {
            self.order(Order::ReloadConfig(signal as i32));
        }
        caught
    }

    /// Sends the stop signal, like [`Control::signal`], but never twice to the same process, even if called repeatedly.
    /// When the program's first process exits, the processes that it leaves behind also get the signal. The readers of
    /// pipes (`cat` in `server | cat`) get it only if they are still running a second after everything else has ended.
    pub fn stop(&self, signal: Signal) {
        self.order(Order::Stop(signal as i32));
    }

    /// Makes this process the main process (`MAINPID`, `sd_notify(3)`) if it is in the tree, and returns whether it is.
    /// Its exit is then also reported, provided that it has become a child of the guardian.
    pub fn set_main(&self, pid: i32) -> bool {
        let known = self.pids().contains(&pid);
        if known {
            self.0.main.store(pid, Ordering::Release);
            self.order(Order::SetMain(pid));
        }
        known
    }

    /// Whether a main process was set and is alive.
    pub fn main_alive(&self) -> bool {
        let main = self.0.main.load(Ordering::Acquire);
        main != 0 && !process_tree::has_ended(main) && self.pids().contains(&main)
    }

    /// Kills the whole tree, including processes that are forked in the meantime.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// The pids of all processes that are in the tree at this moment, except the guardian. Empty once the tree is gone,
    /// and always empty outside Linux.
    pub fn pids(&self) -> Vec<i32> {
        // Once the guardian has been reaped, its pid may belong to another process.
        if self.0.gone.load(Ordering::Acquire) {
            return Vec::new();
        }
        process_tree::descendants(self.0.guardian)
    }

    /// Returns the pid of the process tree's guardian, which is a child of this process.
    pub fn guardian(&self) -> i32 {
        self.0.guardian
    }

    /// Whether the program handles the signal. Otherwise, the signal would kill it while it is handling requests.
    ///
    /// The processes that do the work must all catch the signal: those that hold a socket and have no descendant that
    /// holds one. (`npm` catches `TERM` only to pass it on to a server that may not catch it.) If no process holds a
    /// socket, it is enough that any process of the tree catches the signal. A process that hotrun cannot inspect is
    /// assumed to hold a socket and not to catch the signal. Go's runtime catches every signal, even if the program
    /// does not, so a Go program counts as not catching it: the caller then waits longer for the requests in flight,
    /// which is right in both cases.
    ///
    /// Outside Linux, hotrun cannot tell, and the result is `true`.
    pub fn handles(&self, signal: Signal) -> bool {
        !process_tree::KNOWN || disposition::handles(&self.pids(), signal as i32)
    }

    /// Whether a process of the tree, or its runtime, catches this signal. Outside Linux, hotrun cannot tell, and the result
    /// is `true`.
    pub fn may_handle(&self, signal: Signal) -> bool {
        !process_tree::KNOWN || disposition::catches(&self.pids(), signal as i32)
    }

    fn order(&self, order: Order) {
        let line = wire::to_line(&order);
        let result = (&self.0.socket).write(line.as_bytes());
        let partial = matches!(&result, Ok(count) if *count < line.len());
        let full = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // The guardian has left hundreds of orders unread, so it is probably stopped (`SIGSTOP`). It must still kill
        // the tree as soon as it continues: closing the socket makes it do so, and needs no space in the buffer.
        if partial || full && order == Order::Kill {
            let _ = self.0.socket.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closing is not enough, because the [`GuardianTask`] has a duplicate of the socket.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// The events of one program.
#[derive(Debug)]
pub struct ProgramEvents(UnboundedReceiver<ProgramEvent>);

/// What [`ProgramEvents::first_exit`] has waited for.
pub enum FirstExit {
    /// How the first process ended, if that is known.
    Ended(Option<Ended>),
    /// A process of this group is stopped.
    NeedsTerminal(i32),
}

impl ProgramEvents {
    /// Waits for the next event. The last one is [`ProgramEvent::Refused`] or [`ProgramEvent::Gone`]; after that,
    /// returns `None`. Cancel safe.
    pub async fn next(&mut self) -> Option<ProgramEvent> {
        self.0.recv().await
    }

    /// Waits until the program's first process has ended. Returns earlier, and may be called again, if a process is
    /// stopped because it waits for the terminal.
    pub async fn first_exit(&mut self) -> Result<FirstExit, Refusal> {
        while let Some(event) = self.next().await {
            match event {
                ProgramEvent::Started { .. } => {}
                ProgramEvent::NeedsTerminal { group } => {
                    return Ok(FirstExit::NeedsTerminal(group));
                }
                ProgramEvent::Exited { ended, .. } => return Ok(FirstExit::Ended(Some(ended))),
                ProgramEvent::Refused { error } => return Err(error),
                ProgramEvent::Gone => break,
            }
        }
        Ok(FirstExit::Ended(None))
    }
}

/// Receives the events that a guardian reports, and reaps the guardian.
struct GuardianTask {
    lines: Lines<BufReader<tokio::net::UnixStream>>,
    guardian: Child,
    /// Set before the guardian is reaped.
    gone: Arc<AtomicBool>,
    program: Option<i32>,
    exited: bool,
    sender: UnboundedSender<ProgramEvent>,
}

impl GuardianTask {
    async fn run(mut self) {
        let last = loop {
            // A read error counts as end of file. There is no last event if the guardian was killed.
            let Ok(Some(line)) = self.lines.next_line().await else {
                break None;
            };
            let Some(event) = wire::from_line(&line) else {
                continue;
            };
            match event {
                ProgramEvent::Started { pid } => self.program = Some(pid),
                ProgramEvent::NeedsTerminal { .. } => {}
                ProgramEvent::Exited { .. } => self.exited = true,
                ProgramEvent::Refused { .. } | ProgramEvent::Gone => break Some(event),
            }
            self.send(event);
        };
        // Must happen before the guardian is reaped, because its pid may belong to another process afterwards.
        self.gone.store(true, Ordering::Release);
        let pid = self.guardian.id();
        let _ = self.guardian.wait().await;
        orphans::forget_guardian(pid);
        let last = match last {
            Some(event) => event,
            None => self.kill_orphans().await,
        };
        self.send(last);
    }

    /// Kills the tree that hotrun inherited when the guardian was killed. Returns the last event.
    async fn kill_orphans(&mut self) -> ProgramEvent {
        let ended = orphans::kill_all(self.program).await;
        if self.program.is_none() {
            let error = Refusal::new(StartStep::Guardian, Errno::ECHILD);
            return ProgramEvent::Refused { error };
        }
        if let Some(ended) = ended.filter(|_| !self.exited) {
            let survivors = false;
            self.send(ProgramEvent::Exited { ended, survivors });
        }
        ProgramEvent::Gone
    }

    fn send(&self, event: ProgramEvent) {
        // Fails if nothing reads the events. The tree is monitored even then.
        let _ = self.sender.send(event);
    }
}
