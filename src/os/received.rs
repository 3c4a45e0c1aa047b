//! Signals to this process, with who sent them, on every Unix.

use std::io;

use nix::sys::signal::Signal;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::backend::Handle;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

/// A signal that this process got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The process that sent it, by `kill(2)` and its like. `None` for the terminal's and the kernel's own, and for a
    /// process that has no number here because it is outside of our container. Beyond Linux always `None`.
    pub sender: Option<i32>,
}

/// The signals that were asked for, as they come.
#[derive(Debug)]
pub struct Receiver(SignalsInfo<WithRawSiginfo>);

/// Ends a [`Receiver`], from another thread.
#[derive(Clone, Debug)]
pub struct Closer(Handle);

impl Receiver {
    /// Takes these signals over from here on, for as long as the process lives.
    ///
    /// # Errors
    /// What `sigaction(2)` and `socketpair(2)` report.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let numbers = signals.iter().map(|signal| *signal as i32);
        SignalsInfo::new(numbers).map(Self)
    }

    /// What ends it.
    pub fn closer(&self) -> Closer {
        Closer(self.0.handle())
    }

    /// Waits for the next one; `None` once it has been ended. Of equal ones that come faster than they are taken, some
    /// may be lost, never all.
    pub fn wait(&mut self) -> Option<Received> {
        loop {
            let info = self.0.forever().next()?;
            if let Ok(signal) = Signal::try_from(info.si_signo) {
                let sender = super::sender(&info);
                return Some(Received { signal, sender });
            }
        }
    }
}

impl Closer {
    /// Ends it.
    pub fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_sender_is_known() {
        let mut receiver = Receiver::new(&[Signal::SIGWINCH]).unwrap();
        let own = nix::unistd::getpid();
        let signal = Signal::SIGWINCH;
        nix::sys::signal::kill(own, signal).unwrap();
        let sender = Some(own.as_raw());
        assert_eq!(receiver.wait(), Some(Received { signal, sender }));
        // A shell sends it by itself, without a process for that.
        let line = format!("kill -WINCH {own}; echo $$");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let sender = String::from_utf8(output.stdout).unwrap().trim().parse();
        let sender = Some(sender.unwrap());
        assert_eq!(receiver.wait(), Some(Received { signal, sender }));
        receiver.closer().close();
        assert_eq!(receiver.wait(), None);
    }
}
