//! Signals to hotrun itself.
//!
//! Some libraries reload on their own: the new process asks its parent, the old one, to end (endless and grace for Go do
//! that). Under hotrun the parent of a program is its guardian, which survives that. A signal that nevertheless reaches hotrun
//! from a descendant (`pkill -f server` in a start script, `kill -- -1`) is meant for the program and must not end hotrun.

use std::ffi::OsStr;
use std::io;
use std::thread;

use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::backend::Handle;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{Signal, orphans};
use crate::os::process_tree;
use crate::os::signals::{is_ignored, sender};

/// A signal that hotrun received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HotrunSignal {
    /// `INT`: Ctrl-C.
    Interrupt,
    /// `TERM`.
    Terminate,
    /// `HUP`: the terminal was closed, or a process sent it.
    Hangup,
    /// `QUIT`: Ctrl-\.
    Quit,
    /// `USR1`.
    User,
    /// A signal that would end hotrun, sent by a process that hotrun has started. Only the first one is reported.
    FromDescendant(Descendant),
}

/// A descendant that has sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// The signal.
    pub signal: Signal,
    /// The sender's pid.
    pub pid: i32,
    /// The name of its executable, if known.
    pub name: Option<String>,
}

const HANDLED: [(Signal, HotrunSignal); 5] = [
    (Signal::SIGINT, HotrunSignal::Interrupt),
    (Signal::SIGTERM, HotrunSignal::Terminate),
    (Signal::SIGHUP, HotrunSignal::Hangup),
    (Signal::SIGQUIT, HotrunSignal::Quit),
    (Signal::SIGUSR1, HotrunSignal::User),
];

/// The signals that hotrun handles.
#[derive(Debug)]
pub struct Signals {
    received: UnboundedReceiver<HotrunSignal>,
    closer: Handle,
}

impl Signals {
    /// Handles the signals from here on. A thread of its own looks up the sender at once, because its pid may soon be free, or
    /// belong to another process.
    pub fn new() -> io::Result<Self> {
        // An ignored `HUP` stays ignored: that is the purpose of `nohup`.
        let handled = HANDLED.iter().map(|(signal, _)| *signal);
        let handled = handled.filter(|signal| *signal != Signal::SIGHUP || !is_ignored(*signal));
        let mut source = SignalsInfo::<WithRawSiginfo>::new(handled.map(|signal| signal as i32))?;
        let closer = source.handle();
        let (report, received) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            let mut descendant_reported = false;
            for info in source.forever() {
                let Some(signal) = interpret(info.si_signo, sender(&info)) else {
                    continue;
                };
                let from_descendant = matches!(signal, HotrunSignal::FromDescendant(_));
                if from_descendant && std::mem::replace(&mut descendant_reported, true) {
                    continue;
                }
                // Without a reader, hotrun is about to end.
                let _ = report.send(signal);
            }
        })?;
        Ok(Self { received, closer })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> HotrunSignal {
        match self.received.recv().await {
            Some(signal) => signal,
            // The thread runs as long as `self` exists.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.closer.close();
    }
}

fn interpret(number: i32, sender: Option<i32>) -> Option<HotrunSignal> {
    let (signal, meaning) = HANDLED
        .iter()
        .find(|(signal, _)| *signal as i32 == number)?;
    // A descendant may request a reload, a code generator for example.
    let ends_hotrun = *meaning != HotrunSignal::User;
    let descendant = sender.filter(|pid| ends_hotrun && is_descendant(*pid));
    Some(match descendant {
        Some(pid) => HotrunSignal::FromDescendant(Descendant {
            signal: *signal,
            pid,
            name: executable_name(pid),
        }),
        None => meaning.clone(),
    })
}

/// Whether hotrun has started this process, directly or not. A sender that is already gone does not count as a descendant:
/// the user's own `pkill` may have been quick. Always `false` beyond Linux.
fn is_descendant(pid: i32) -> bool {
    /// Deeper than any process tree; a walk over changing processes could be circular.
    const DEEPEST: usize = 4096;
    let own = std::process::id().cast_signed();
    let mut child = pid;
    for _ in 0..DEEPEST {
        match process_tree::status(child).map(|status| status.parent) {
            // A shell that replaced itself with hotrun may have left a child, which hotrun did not start.
            Some(parent) if parent == own => return orphans::started_by_us(child),
            Some(parent) if parent > 1 => child = parent,
            Some(_) | None => return false,
        }
    }
    false
}

fn executable_name(pid: i32) -> Option<String> {
    let executable = process_tree::executable(pid)?;
    let name = executable.file_name().and_then(OsStr::to_str)?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_sender_of_a_signal_is_known() {
        let mut source = SignalsInfo::<WithRawSiginfo>::new([Signal::SIGWINCH as i32]).unwrap();
        let own = nix::unistd::getpid();
        nix::sys::signal::kill(own, Signal::SIGWINCH).unwrap();
        let mut signals = source.forever();
        assert_eq!(sender(&signals.next().unwrap()), Some(own.as_raw()));
        // `kill` is a builtin of the shell.
        let line = format!("kill -WINCH {own}; echo $$");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let shell = String::from_utf8(output.stdout).unwrap().trim().parse();
        assert_eq!(sender(&signals.next().unwrap()), Some(shell.unwrap()));
    }
}
