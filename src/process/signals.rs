//! Signals to hotrun itself.
//!
//! Some libraries reload by themselves: the new process tells the old one, its parent, to end (endless and grace for Go
//! do). What they start under hotrun has its guardian for a parent, which survives that. What reaches hotrun all the
//! same from below (`pkill -f server` in a start script, `kill -- -1`) is meant for the program, and must not end what
//! the program runs under.

use std::ffi::OsStr;
use std::io;
use std::thread;

use nix::sys::signal::Signal as Known;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{Signal, orphans};
use crate::os::fork_exec::ignored;
use crate::os::process_tree;
use crate::os::received::{Closer, Received, Receiver};

/// A signal that hotrun got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HotrunSignal {
    /// `INT`: Ctrl-C.
    Interrupt,
    /// `TERM`.
    Terminate,
    /// `HUP`: the terminal was closed, or somebody sent it.
    Hangup,
    /// `QUIT`: Ctrl-\.
    Quit,
    /// `USR1`.
    User,
    /// One of those that would end hotrun, and it was sent by a process that hotrun itself has started. Only the first
    /// one is told.
    FromDescendant(Descendant),
}

/// Who sends signals from below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// What was sent.
    pub signal: Signal,
    /// By which process.
    pub pid: i32,
    /// How its executable is called, if that may be known.
    pub name: Option<String>,
}

/// What each means.
const WANTED: [(Known, HotrunSignal); 5] = [
    (Known::SIGINT, HotrunSignal::Interrupt),
    (Known::SIGTERM, HotrunSignal::Terminate),
    (Known::SIGHUP, HotrunSignal::Hangup),
    (Known::SIGQUIT, HotrunSignal::Quit),
    (Known::SIGUSR1, HotrunSignal::User),
];

/// The signals that hotrun acts on, as they come.
#[derive(Debug)]
pub struct Signals {
    asked: UnboundedReceiver<HotrunSignal>,
    closer: Closer,
}

impl Signals {
    /// Takes the signals over from here on. In a thread of its own: who sent one has to be looked up at once, or there
    /// may be nobody of that number any more, or somebody else.
    ///
    /// # Errors
    /// What the system reports.
    pub fn new() -> io::Result<Self> {
        // Whoever started us had it ignored (`nohup`): that was the whole point.
        let heard = |signal: &Known| *signal != Known::SIGHUP || !ignored(Known::SIGHUP);
        let wanted = WANTED.iter().map(|(signal, _)| *signal).filter(heard);
        let mut receiver = Receiver::new(&wanted.collect::<Vec<_>>())?;
        let closer = receiver.closer();
        let (sender, asked) = mpsc::unbounded_channel();
        let mut told = false;
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            while let Some(received) = receiver.wait() {
                let asked = read(received);
                let again = matches!(asked, HotrunSignal::FromDescendant(_))
                    && std::mem::replace(&mut told, true);
                // Without a reader the end is near, and closes this.
                let _ = again || sender.send(asked).is_ok();
            }
        })?;
        Ok(Self { asked, closer })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> HotrunSignal {
        match self.asked.recv().await {
            Some(asked) => asked,
            // Only the end of `self` ends the thread.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.closer.close();
    }
}

fn read(received: Received) -> HotrunSignal {
    let Received { signal, sender } = received;
    let meant = WANTED.iter().find(|(wanted, _)| *wanted == signal);
    let asked = meant.map_or(HotrunSignal::Terminate, |(_, asked)| asked.clone());
    // Whoever below wants a reload may have it: a tool that generates sources, say.
    let ends = asked != HotrunSignal::User;
    match sender.filter(|pid| ends && is_below(*pid)) {
        Some(pid) => HotrunSignal::FromDescendant(Descendant {
            signal,
            pid,
            name: name(pid),
        }),
        None => asked,
    }
}

/// Whether hotrun has started this process, directly or not. One that is gone already is not known to be, and is
/// obeyed: rather that than not to hear a user whose `pkill` was quick. Beyond Linux nobody can tell.
fn is_below(pid: i32) -> bool {
    /// As deep as any tree that is not a circle, seen in several moments.
    const DEEPEST: usize = 4096;
    let own = std::process::id().cast_signed();
    let mut child = pid;
    for _ in 0..DEEPEST {
        match process_tree::status(child).map(|status| status.parent) {
            // Not what was there when hotrun began: a shell that became hotrun may have left a child that watches it.
            Some(parent) if parent == own => return orphans::started_by_us(child),
            Some(parent) if parent > 1 => child = parent,
            Some(_) | None => return false,
        }
    }
    false
}

fn name(pid: i32) -> Option<String> {
    let executable = process_tree::executable(pid)?;
    let name = executable.file_name().and_then(OsStr::to_str)?;
    Some(name.to_owned())
}
