use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::stat::fstat;

use super::{Options, TerminalGuard, UiMode};
use crate::os::terminal;

/// Where a user interface writes.
pub struct Handles {
    /// Gets the program's stdout or the JSON lines; in a live user interface, everything.
    pub stdout: Box<dyn Write + Send>,
    /// Gets the program's stderr and hotrun's own lines with `--ui plain`, and the program's stderr with `--ui off`.
    pub stderr: Box<dyn Write + Send>,
    /// Whether stdout and stderr are the same terminal, file or pipe, so that a line may contain output from both.
    pub same: bool,
    /// Whether stdout is a terminal that may be cleared.
    pub clearable: bool,
    /// The terminal that the live user interface draws on.
    pub terminal: TerminalGuard,
}

impl Handles {
    /// hotrun's own stdout and stderr.
    pub fn standard(options: &Options) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let terminal = match stdout.as_fd().try_clone_to_owned() {
            Ok(terminal) if options.mode == UiMode::Live => {
                TerminalGuard::new(terminal, options.keys)
            }
            Ok(_) | Err(_) => TerminalGuard::without_terminal(terminal::size()),
        };
        Self {
            terminal,
            same: same(stdout.as_fd(), stderr.as_fd()).unwrap_or(true),
            clearable: stdout.is_terminal() && !is_dumb_or_ci(),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
        }
    }
}

/// Whether the environment asks for plain lines: a dumb terminal, or a CI machine.
fn is_dumb_or_ci() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    dumb || std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// Whether stdin, stdout and stderr are terminals, and hotrun may draw on them.
pub fn supports_live() -> bool {
    let all = io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal();
    all && !is_dumb_or_ci()
}

/// Whether hotrun's own lines have colors by default: stderr and stdin are terminals, and neither `NO_COLOR` nor
/// `CLICOLOR` disables colors; or `CLICOLOR_FORCE` forces them.
pub fn supports_color() -> bool {
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    console::colors_enabled_stderr() && (forced || io::stdin().is_terminal())
}

/// Whether both descriptors refer to the same terminal, file or pipe, that is, have the same device and inode.
fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> nix::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Prints requested text (help, version, completions) on stdout. A closed pipe is not an error.
///
/// # Errors
/// The text cannot be written completely, for example because the disk is full.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints an error message on stderr. If this fails, there is nowhere to report it.
pub fn print_error(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_descriptor_refers_to_the_same_file() {
        let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let duplicate = one.try_clone().unwrap();
        assert!(same(one.as_fd(), duplicate.as_fd()).unwrap());
        assert!(!same(one.as_fd(), other.as_fd()).unwrap());
    }
}
