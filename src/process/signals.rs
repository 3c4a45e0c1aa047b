//! Handles signals that are sent to hotrun itself.
//!
//! Some libraries, such as endless and grace for Go, reload on their own: the new process tells its parent, the old
//! one, to exit by sending it a signal. Under hotrun, a program's parent is its guardian, which ignores the signal.
//! Other signals from a descendant may still reach hotrun (`pkill -f server` in a start script, `kill -- -1`). They are
//! meant for the program and must not end hotrun.

use std::ffi::OsStr;
use std::io;
use std::thread;

use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{Signal, orphans};
use crate::os::process_tree;
use crate::os::signals::{is_ignored, sender};

/// A signal that hotrun received: `INT`, `TERM`, `HUP`, `QUIT` or `USR1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HotrunSignal {
    /// A signal to hotrun.
    Own(Signal),
    /// A signal that would end hotrun, but came from a process that hotrun started. Only the first such signal is
    /// reported.
    FromDescendant {
        /// The signal.
        signal: Signal,
        /// The sender's pid.
        pid: i32,
        /// The name of the sender's executable, if known.
        name: Option<String>,
    },
}

const HANDLED: [Signal; 5] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
];

/// The signals that hotrun handles.
#[derive(Debug)]
pub struct Signals(UnboundedReceiver<HotrunSignal>);

impl Signals {
    /// Starts handling the signals. A separate thread looks up the sender at once, because the sender's pid may soon be
    /// unused or belong to another process.
    pub fn new() -> io::Result<Self> {
        // An ignored `HUP` stays ignored, because that is the purpose of `nohup`.
        let mut handled = HANDLED.to_vec();
        handled.retain(|signal| *signal != Signal::SIGHUP || !is_ignored(*signal));
        let mut source =
            SignalsInfo::<WithRawSiginfo>::new(handled.into_iter().map(|signal| signal as i32))?;
        let (report, received) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            let mut descendant_reported = false;
            for info in source.forever() {
                let Ok(signal) = Signal::try_from(info.si_signo) else {
                    continue;
                };
                // A descendant, such as a code generator, may request a reload with `USR1`.
                let ends_hotrun = signal != Signal::SIGUSR1;
                let descendant = sender(&info).filter(|pid| ends_hotrun && is_descendant(*pid));
                let signal = match descendant {
                    Some(_) if descendant_reported => continue,
                    Some(pid) => HotrunSignal::FromDescendant {
                        signal,
                        pid,
                        name: executable_name(pid),
                    },
                    None => HotrunSignal::Own(signal),
                };
                descendant_reported |= descendant.is_some();
                // Fails only if nothing reads the signals anymore, because hotrun is about to exit.
                let _ = report.send(signal);
            }
        })?;
        Ok(Self(received))
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> HotrunSignal {
        match self.0.recv().await {
            Some(signal) => signal,
            // Never happens, because the thread never ends.
            None => std::future::pending().await,
        }
    }
}

/// Whether hotrun started this process, directly or indirectly. A sender that is already gone does not count as a
/// descendant, because it may have been the user's own short-lived `pkill`. Always `false` outside Linux.
fn is_descendant(mut pid: i32) -> bool {
    let own = std::process::id().cast_signed();
    while let Some(status) = process_tree::status(pid) {
        match status.parent {
            // The child may have been inherited from a shell that replaced itself with hotrun.
            parent if parent == own => return orphans::started_by_us(pid),
            ..=1 => return false,
            parent => pid = parent,
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
    fn a_signal_carries_the_pid_of_its_sender() {
        let mut source = SignalsInfo::<WithRawSiginfo>::new([Signal::SIGWINCH as i32]).unwrap();
        let own = nix::unistd::getpid();
        nix::sys::signal::kill(own, Signal::SIGWINCH).unwrap();
        let mut signals = source.forever();
        assert_eq!(sender(&signals.next().unwrap()), Some(own.as_raw()));
        // `kill` is a shell builtin, so the shell itself is the sender.
        let line = format!("kill -WINCH {own}; echo $$");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let shell = String::from_utf8(output.stdout).unwrap().trim().parse();
        assert_eq!(sender(&signals.next().unwrap()), Some(shell.unwrap()));
    }
}
