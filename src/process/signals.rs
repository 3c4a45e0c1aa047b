//! Signals to hotrun itself.

use std::io;

use nix::sys::signal::Signal as Known;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::os::start::ignored;

/// A signal that hotrun got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
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
}

/// The signals that hotrun acts on, as they come.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started us had it ignored: `nohup`, whose whole point that is.
    hangup: Option<Signal>,
    quit: Signal,
    user: Signal,
}

impl Signals {
    /// Takes the signals over from here on. To be used inside of a tokio runtime with I/O.
    ///
    /// # Errors
    /// What the system reports.
    pub fn new() -> io::Result<Self> {
        let hangup = (!ignored(Known::SIGHUP)).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
            quit: signal(SignalKind::quit())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one. Cancel safe. Equal ones that come before they are asked for are one.
    pub async fn next(&mut self) -> Asked {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = hangup => Asked::Hangup,
            _ = self.quit.recv() => Asked::Quit,
            _ = self.user.recv() => Asked::User,
        }
    }
}
