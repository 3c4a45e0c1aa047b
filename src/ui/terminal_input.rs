use std::fs::File;
use std::future::pending;
use std::io::{self, Read};
use std::time::Duration;

use nix::sys::signal::Signal as Known;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::UiMode;
use super::keys::{Key, KeyParser};
use crate::os::signals::is_ignored;
use crate::os::terminal::{self, Size};

/// An event from the terminal that hotrun runs in.
#[derive(Debug)]
pub enum TerminalEvent {
    /// Keys for hotrun.
    Keys(Vec<Key>),
    /// Input for the program.
    Typed(Vec<u8>),
    /// The terminal has a new size.
    Resized(Size),
    /// hotrun got `SIGTSTP`: normally, the user pressed Ctrl-Z.
    Suspend,
    /// hotrun is running again after something else stopped it, such as `kill -STOP` or a debugger.
    Continued,
}

/// Receives events from the terminal.
pub struct TerminalInput {
    /// `None` if hotrun does not read a terminal, or if the terminal has been closed.
    input: Option<AsyncFd<File>>,
    for_program: bool,
    keys: KeyParser,
    /// When the unfinished escape sequence times out, if there is one.
    deadline: Option<Instant>,
    resized: Signal,
    /// `None` if hotrun was started with `SIGTSTP` ignored.
    suspended: Option<Signal>,
    continued: Signal,
}

impl TerminalInput {
    /// Starts receiving events. `for_program`: whether input goes to the program.
    ///
    /// # Errors
    /// A signal handler cannot be installed.
    ///
    /// # Panics
    /// Panics if called outside a tokio runtime with I/O enabled.
    pub fn new(mode: UiMode, for_program: bool) -> io::Result<Self> {
        // Only the live user interface reads the terminal.
        let input =
            (mode == UiMode::Live).then(|| terminal::reopen(io::stdin()).and_then(terminal::watch));
        Ok(Self {
            input: input.and_then(Result::ok),
            for_program,
            keys: KeyParser::default(),
            deadline: None,
            resized: signal(SignalKind::window_change())?,
            suspended: suspended()?,
            continued: signal(SignalKind::from_raw(Known::SIGCONT as i32))?,
        })
    }

    /// Must be called when hotrun is running again after it stopped itself. Discards the `SIGCONT` that continued it,
    /// and any earlier requests to suspend.
    ///
    /// # Errors
    /// The signal handler could not be reinstalled.
    pub async fn resumed(&mut self) -> io::Result<()> {
        // `SIGCONT` arrives at once, unless hotrun was not stopped after all. Earlier signals have arrived by then.
        let _ = timeout(MOMENT, self.continued.recv()).await;
        self.suspended = suspended()?;
        Ok(())
    }

    /// Returns the next event. Cancel safe.
    pub async fn next(&mut self) -> TerminalEvent {
        loop {
            tokio::select! {
                _ = self.resized.recv() => return TerminalEvent::Resized(terminal::size()),
                () = received(&mut self.suspended) => return TerminalEvent::Suspend,
                _ = self.continued.recv() => return TerminalEvent::Continued,
                () = sleep_until(self.deadline) => {
                    let key = self.keys.time_out();
                    self.expect_more();
                    if let Some(key) = key {
                        return TerminalEvent::Keys(vec![key]);
                    }
                }
                bytes = typed(&mut self.input) => match self.for_program {
                    true => return TerminalEvent::Typed(bytes),
                    false => {
                        let keys = self.keys.read(&bytes);
                        self.expect_more();
                        if !keys.is_empty() {
                            return TerminalEvent::Keys(keys);
                        }
                    }
                },
            }
        }
    }

    fn expect_more(&mut self) {
        self.deadline = self.keys.timeout().map(|timeout| Instant::now() + timeout);
    }
}

/// How long to wait for the `SIGCONT` that continued hotrun. Normally, it has already arrived.
const MOMENT: Duration = Duration::from_millis(100);

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

fn suspended() -> io::Result<Option<Signal>> {
    let handled = !is_ignored(Known::SIGTSTP);
    let signal = handled.then(|| signal(SignalKind::from_raw(Known::SIGTSTP as i32)));
    signal.transpose()
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Returns the next input. Once the terminal is closed, waits forever: `SIGHUP` reports that it was closed.
async fn typed(input: &mut Option<AsyncFd<File>>) -> Vec<u8> {
    let mut buffer = [0; 4096];
    while let Some(terminal) = input {
        let Ok(mut ready) = terminal.readable().await else {
            break;
        };
        // In the background, reading would stop hotrun (`SIGTTIN`), and the input is meant for another process.
        match terminal::in_foreground(ready.get_inner()) {
            Ok(true) => {}
            Ok(false) => {
                ready.clear_ready();
                continue;
            }
            Err(_) => break,
        }
        match ready.try_io(|terminal| terminal.get_ref().read(&mut buffer)) {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => return buffer[..count].to_vec(),
            Err(_would_block) => {}
        }
    }
    *input = None;
    pending().await
}
