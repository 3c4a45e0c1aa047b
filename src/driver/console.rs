//! The terminal that hotrun itself runs on, as a source: keys, another size, Ctrl-Z.

use std::fs::File;
use std::future::pending;
use std::io::{self, Read};
use std::time::Duration;

use nix::sys::signal::Signal as Known;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::config::{Config, Stdin};
use crate::os::signals::is_ignored;
use crate::os::terminal::{self, Size};
use crate::ui::Mode;
use crate::ui::keys::{Key, KeyParser};

/// What came from the terminal.
#[derive(Debug)]
pub(super) enum Came {
    /// Keys for hotrun.
    Keys(Vec<Key>),
    /// What was typed for the program.
    Typed(Vec<u8>),
    /// The terminal has another size.
    Resized(Size),
    /// Ctrl-Z.
    Suspend,
    /// hotrun goes on, which it did not stop by itself: `kill -STOP`, a debugger.
    Continued,
}

/// Hears what comes from the terminal.
pub(super) struct Console {
    /// What is typed, unless there is nobody who could type.
    input: Option<AsyncFd<File>>,
    /// Whether it is for the program.
    passes: bool,
    keys: KeyParser,
    /// When unfinished input times out.
    deadline: Option<Instant>,
    resized: Signal,
    /// `None`: whoever started hotrun has that ignored.
    suspended: Option<Signal>,
    continued: Signal,
}

impl Console {
    /// Takes over what the terminal sends. To be used inside of a tokio runtime with I/O.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        // Only with the live user interface: any other one leaves the terminal as it is. And without a terminal as the
        // input there are no keys.
        let input = (config.ui.mode == Mode::Live)
            .then(|| terminal::reopen(io::stdin()).and_then(terminal::watch));
        Ok(Self {
            input: input.and_then(Result::ok),
            passes: config.stdin == Stdin::Program,
            keys: KeyParser::default(),
            deadline: None,
            resized: signal(SignalKind::window_change())?,
            suspended: suspended()?,
            continued: signal(SignalKind::from_raw(Known::SIGCONT as i32))?,
        })
    }

    /// hotrun goes on after it has stopped itself: who made it go on, and who asked it to stop while it was about to, has
    /// been heard.
    pub(super) async fn returned(&mut self) -> io::Result<()> {
        // It comes at once, unless nobody has stopped us. Only then those before it have come for certain, too.
        let _ = timeout(MOMENT, self.continued.recv()).await;
        self.suspended = suspended()?;
        Ok(())
    }

    /// The next that comes. Cancel safe.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            tokio::select! {
                _ = self.resized.recv() => return Came::Resized(terminal::size()),
                () = heard(&mut self.suspended) => return Came::Suspend,
                _ = self.continued.recv() => return Came::Continued,
                () = sleep_until(self.deadline) => {
                    let key = self.keys.time_out();
                    self.expect_more();
                    if let Some(key) = key {
                        return Came::Keys(vec![key]);
                    }
                }
                bytes = typed(&mut self.input) => match self.passes {
                    true => return Came::Typed(bytes),
                    false => {
                        let keys = self.keys.read(&bytes);
                        self.expect_more();
                        if !keys.is_empty() {
                            return Came::Keys(keys);
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

/// How long to wait for a `SIGCONT` that the kernel delivers at once.
const MOMENT: Duration = Duration::from_millis(100);

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Ctrl-Z from now on.
fn suspended() -> io::Result<Option<Signal>> {
    let heard = !is_ignored(Known::SIGTSTP);
    let signal = heard.then(|| signal(SignalKind::from_raw(Known::SIGTSTP as i32)));
    signal.transpose()
}

/// That it comes.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// What is typed next. For ever nothing once the terminal is gone, which is told elsewhere.
async fn typed(input: &mut Option<AsyncFd<File>>) -> Vec<u8> {
    let mut buffer = [0; 4096];
    while let Some(terminal) = input {
        let Ok(mut ready) = terminal.readable().await else {
            break;
        };
        // Who reads in the background is stopped (`SIGTTIN`); what is typed there is for somebody else.
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
