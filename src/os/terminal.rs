//! Terminals: their size, their modes, and new ones, on every Unix.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use nix::sys::termios::InputFlags;
use nix::sys::termios::{FlushArg, OutputFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp, ttyname};
use tokio::io::unix::AsyncFd;

/// How many characters fit on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// In a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What is taken where a terminal does not say (a serial line says 0 by 0).
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

impl Size {
    fn winsize(self) -> Winsize {
        Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// How large the terminal is; 80 by 24 where it does not say.
pub fn size(terminal: impl AsFd) -> Size {
    let mut found = USUAL.winsize();
    // SAFETY: the call fills in a `winsize`, which is what it is given (`TIOCGWINSZ(2const)`).
    let result = unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ,
            &raw mut found,
        )
    };
    match Size::of(found) {
        Some(size) if result == 0 => size,
        Some(_) | None => USUAL,
    }
}

impl Size {
    fn of(found: Winsize) -> Option<Self> {
        (found.ws_col > 0 && found.ws_row > 0).then_some(Self {
            columns: found.ws_col,
            rows: found.ws_row,
        })
    }
}

/// Makes the terminal so large. Who is in its foreground gets `SIGWINCH` if that is a change.
///
/// # Errors
/// What `TIOCSWINSZ(2const)` reports.
pub fn resize(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let size = size.winsize();
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the call reads a `winsize`, which is what it is given.
    let result = unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// A new terminal: the side that is read (it does not block), and the side for programs.
///
/// Line ends come out as the program writes them. The line discipline would make `\r\n` of each, which is for
/// screens, and it is we who write to the screen.
///
/// # Errors
/// What `openpty(3)` reports: above all, no terminals are left.
pub fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = openpty(Some(&size.winsize()), None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let mut modes = tcgetattr(&pair.slave)?;
    modes.output_flags.remove(OutputFlags::OPOST);
    // Backspace takes back a character, not a byte.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    modes.input_flags.insert(InputFlags::IUTF8);
    tcsetattr(&pair.slave, SetArg::TCSANOW, &modes)?;
    fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((pair.master, pair.slave))
}

/// A descriptor of ours that does not block, for tokio to watch.
///
/// # Errors
/// What `epoll_ctl(2)` reports.
///
/// # Panics
/// Outside of a tokio runtime that does input and output.
pub fn watch<T: AsRawFd + From<OwnedFd> + Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what is made from an `OwnedFd`, and can be made into one, is the same open descriptor for as long as it
    // lives, and it lives as long as `AsyncFd`.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Makes this the controlling terminal of the session that the caller leads (`TIOCSCTTY(2const)`).
///
/// # Errors
/// What the call reports: the caller leads no session, or has a terminal already.
pub fn control_session(terminal: impl AsFd) -> io::Result<()> {
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the call touches no memory. The cast is because libc declares the request differently on each system.
    let result = unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// The modes of the terminal.
///
/// # Errors
/// What `tcgetattr(3)` reports: above all, it is none.
pub fn modes(terminal: impl AsFd) -> io::Result<Termios> {
    Ok(tcgetattr(terminal)?)
}

/// Sets the modes of the terminal at once. Whoever does that in the background is stopped by `SIGTTOU`: ask
/// [`in_foreground`] first.
///
/// # Errors
/// What `tcsetattr(3)` reports: above all, the terminal is gone.
pub fn set_modes(terminal: impl AsFd, modes: &Termios) -> io::Result<()> {
    Ok(tcsetattr(terminal, SetArg::TCSANOW, modes)?)
}

/// Throws away what was written to the terminal and has not reached it. As for [`set_modes`]: not in the background.
///
/// # Errors
/// What `tcflush(3)` reports.
pub fn discard_output(terminal: impl AsFd) -> io::Result<()> {
    Ok(tcflush(terminal, FlushArg::TCOFLUSH)?)
}

/// Whether the terminal is ours to read and to set: our process group is in its foreground (`termios(3)`, "Job
/// control"). One that does not control us has no such thing, and is ours.
///
/// # Errors
/// What `tcgetpgrp(3)` reports: the terminal is gone.
pub fn in_foreground(terminal: impl AsFd) -> io::Result<bool> {
    match tcgetpgrp(terminal) {
        Ok(group) => Ok(group == getpgrp()),
        Err(Errno::ENOTTY) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// The same terminal, opened anew: with flags of its own, for those of an inherited descriptor (`O_NONBLOCK`) are
/// shared with the shell.
///
/// # Errors
/// What `ttyname_r(3)` and `open(2)` report.
pub fn reopen(terminal: impl AsFd) -> io::Result<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(ttyname(terminal)?)
}

/// Stops this process as Ctrl-Z stops one that does nothing about it, and returns when it goes on. Returns at once
/// where nobody could make it go on: the kernel does not stop an orphaned process group (`setpgid(2)`).
///
/// # Errors
/// What `sigaction(2)` and `raise(3)` report.
pub fn suspend() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    let ours = unsafe { sigaction(Signal::SIGTSTP, &default) }?;
    let raised = nix::sys::signal::raise(Signal::SIGTSTP);
    // SAFETY: this is the handler that was installed before.
    unsafe { sigaction(Signal::SIGTSTP, &ours) }?;
    Ok(raised?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_terminal_has_the_size_that_was_asked_for_and_can_get_another() {
        let (narrow, wide) = (
            Size {
                columns: 20,
                rows: 5,
            },
            Size {
                columns: 120,
                rows: 40,
            },
        );
        let (master, slave) = open(narrow).unwrap();
        assert_eq!(size(&slave), narrow);
        resize(&master, wide).unwrap();
        assert_eq!(size(&slave), wide);
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    #[test]
    fn backspace_takes_back_a_whole_character() {
        let size = Size {
            columns: 20,
            rows: 5,
        };
        let (master, slave) = open(size).unwrap();
        nix::unistd::write(&master, "a\u{e9}\x7f\n".as_bytes()).unwrap();
        let mut read = [0; 8];
        let count = nix::unistd::read(&slave, &mut read).unwrap();
        assert_eq!(read[..count], *b"a\n");
    }

    #[test]
    fn a_size_that_is_not_told_is_the_usual_one() {
        let (_master, slave) = open(Size {
            columns: 0,
            rows: 0,
        })
        .unwrap();
        assert_eq!(size(&slave), USUAL);
        assert_eq!(size(tempfile::tempfile().unwrap()), USUAL);
    }
}
