//! Terminal sizes and modes, and new pseudoterminals, on every Unix.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use console::Term;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use nix::sys::termios::InputFlags;
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp, ttyname};
use tokio::io::unix::AsyncFd;

mod ioctl {
    nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, super::Winsize);
    nix::ioctl_write_int_bad!(set_controlling, libc::TIOCSCTTY);
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Characters per row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    fn of(terminal: &Term) -> Self {
        let (rows, columns) = terminal.size_checked().unwrap_or((24, 80));
        Self { columns, rows }
    }

    fn winsize(self) -> Winsize {
        Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// Returns the size of the terminal on stdout, or 80 by 24 if stdout is not a terminal or reports no size, as on a
/// serial line.
pub fn size() -> Size {
    Size::of(&Term::stdout())
}

/// Resizes the terminal. Its foreground process group gets `SIGWINCH` if the size changes.
pub fn resize(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let size = size.winsize();
    // SAFETY: the request reads a `winsize`.
    unsafe { ioctl::set_size(terminal.as_fd().as_raw_fd(), &raw const size) }?;
    Ok(())
}

/// Opens a pseudoterminal. Returns our side, which is non-blocking, and the side for programs.
///
/// Line endings are passed on as the program writes them. By default, the line discipline would convert them to `\r\n`
/// for a screen, but hotrun itself writes to the screen.
pub fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = openpty(Some(&size.winsize()), None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let mut modes = tcgetattr(&pair.slave)?;
    modes.output_flags.remove(OutputFlags::OPOST);
    // Backspace erases a character, not a byte.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    modes.input_flags.insert(InputFlags::IUTF8);
    tcsetattr(&pair.slave, SetArg::TCSANOW, &modes)?;
    fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((pair.master, pair.slave))
}

/// Registers one of our own non-blocking descriptors with tokio.
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub fn watch<T: AsRawFd + From<OwnedFd> + Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a type that converts from and into an `OwnedFd` keeps the same descriptor open for as long as it lives,
    // and the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Makes this the controlling terminal of the session that the caller leads (`TIOCSCTTY(2const)`).
pub fn control_session(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: the request accesses no memory.
    unsafe { ioctl::set_controlling(terminal.as_fd().as_raw_fd(), 0) }?;
    Ok(())
}

/// Whether our process group is in the terminal's foreground, so that we may read from it, set its modes and discard
/// output. In the background, `SIGTTIN` or `SIGTTOU` would stop us (`termios(3)`, "Job control"). Returns `true` for a
/// terminal that is not our controlling terminal, because it does no job control for us.
pub fn in_foreground(terminal: impl AsFd) -> io::Result<bool> {
    match tcgetpgrp(terminal) {
        Ok(group) => Ok(group == getpgrp()),
        Err(Errno::ENOTTY) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns the process group in the foreground of the controlling terminal (`tcgetpgrp(3)`).
pub fn foreground() -> io::Result<i32> {
    Ok(tcgetpgrp(File::open("/dev/tty")?)?.as_raw())
}

/// Puts a process group into the foreground of the controlling terminal (`tcsetpgrp(3)`). A caller in the background
/// must block `SIGTTOU` first.
pub fn set_foreground(group: i32) -> io::Result<()> {
    Ok(tcsetpgrp(File::open("/dev/tty")?, Pid::from_raw(group))?)
}

/// Opens the same terminal again, in non-blocking mode. Setting `O_NONBLOCK` on an inherited descriptor would affect
/// the shell, which shares the open file description.
pub fn reopen(terminal: impl AsFd) -> io::Result<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(ttyname(terminal)?)
}

/// Stops this process like an unhandled Ctrl-Z, and returns when it is continued. Returns immediately in an orphaned
/// process group, which the kernel does not stop because no shell could continue it (`setpgid(2)`).
pub fn suspend() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs none of our code.
    let ours = unsafe { sigaction(Signal::SIGTSTP, &default) }?;
    let raised = nix::sys::signal::raise(Signal::SIGTSTP);
    // SAFETY: this restores the action that was installed before.
    unsafe { sigaction(Signal::SIGTSTP, &ours) }?;
    Ok(raised?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(columns: u16, rows: u16) -> Size {
        Size { columns, rows }
    }

    fn size_of(terminal: impl AsFd) -> Size {
        let file = || File::from(terminal.as_fd().try_clone_to_owned().unwrap());
        Size::of(&Term::read_write_pair(file(), file()))
    }

    #[test]
    fn a_new_terminal_has_the_given_size_and_can_be_resized() {
        let (narrow, wide) = (size(20, 5), size(120, 40));
        let (master, slave) = open(narrow).unwrap();
        assert_eq!(size_of(&slave), narrow);
        resize(&master, wide).unwrap();
        assert_eq!(size_of(&slave), wide);
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    #[test]
    fn backspace_erases_a_whole_character() {
        let (master, slave) = open(size(20, 5)).unwrap();
        nix::unistd::write(&master, "a\u{e9}\x7f\n".as_bytes()).unwrap();
        let mut read = [0; 8];
        let count = nix::unistd::read(&slave, &mut read).unwrap();
        assert_eq!(read[..count], *b"a\n");
    }

    #[test]
    fn an_unknown_size_is_reported_as_80_by_24() {
        let (_master, slave) = open(size(0, 0)).unwrap();
        assert_eq!(size_of(&slave), size(80, 24));
        assert_eq!(size_of(tempfile::tempfile().unwrap()), size(80, 24));
    }
}
