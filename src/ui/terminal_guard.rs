//! The only module that changes the terminal's modes and restores them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::queue;
use crossterm::style::{Print, ResetColor};
use crossterm::terminal::{Clear, ClearType, EnableLineWrap, EndSynchronizedUpdate};
use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios,
    tcflush, tcgetattr, tcsetattr,
};

use crate::os::terminal::{self, Size};
use crate::os::test_hook;

/// Makes the terminal mark pasted text. crossterm supports this only together with its event reader.
const ENABLE_BRACKETED_PASTE: &str = "\x1b[?2004h";
const DISABLE_BRACKETED_PASTE: &str = "\x1b[?2004l";

/// How many times to try writing to a terminal that accepts no output. After that, hotrun discards the earlier output
/// and tries as many times again.
const ATTEMPTS: usize = 20;
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The terminal's original state, while hotrun has changed it.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

/// Set when hotrun is about to exit or has panicked: threads that are still running must not draw.
static DISABLED: AtomicBool = AtomicBool::new(false);

struct Saved {
    /// Reopened with `O_NONBLOCK`, so that a write never blocks: Ctrl-S may have stopped the terminal.
    terminal: File,
    original: Termios,
    /// The modes that hotrun has set.
    ours: Termios,
}

/// Guards the terminal's modes. While the guard is active, the terminal has the modes for drawing and for reading
/// single keys. On drop, on panic and before a suspend, the original state is restored.
///
/// Only one guard may be active at a time.
#[derive(Debug)]
pub struct TerminalGuard {
    /// `Err`: there is no terminal; the guard pretends to have one of this size.
    terminal: Result<OwnedFd, Size>,
    keys: bool,
    active: bool,
}

impl TerminalGuard {
    /// Guards this terminal. `keys`: whether hotrun reads keys from it.
    pub fn new(terminal: OwnedFd, keys: bool) -> Self {
        restore_on_panic();
        Self {
            terminal: Ok(terminal),
            keys,
            active: false,
        }
    }

    /// Guards nothing. For output that is not a terminal, but is treated as one of this size.
    pub const fn without_terminal(size: Size) -> Self {
        Self {
            terminal: Err(size),
            keys: true,
            active: false,
        }
    }

    pub(super) fn size(&self) -> Size {
        match &self.terminal {
            Ok(_) => terminal::size(),
            Err(size) => *size,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Acquires the terminal if hotrun is in the foreground, and returns whether it may draw. Call this before each
    /// frame: the shell can give the terminal to another job at any time.
    pub(super) fn acquire(&mut self) -> bool {
        let Ok(terminal) = &self.terminal else {
            self.active = true;
            return true;
        };
        // Keep the lock until the original state is saved. Otherwise, hotrun could exit before that and leave the
        // terminal changed.
        let mut saved = saved();
        if DISABLED.load(Ordering::Acquire) {
            return false;
        }
        if !terminal::in_foreground(terminal).unwrap_or(false) {
            // The job in the foreground has set its own modes, so there is nothing to restore later.
            if std::mem::take(&mut self.active) {
                *saved = None;
            }
            return false;
        }
        if !self.active {
            let before = saved.take();
            *saved = set_up(terminal, self.keys, before).ok();
            self.active = saved.is_some();
        }
        self.active
    }

    /// Makes the next [`Self::acquire`] set the terminal up again, because another process may have changed it.
    pub(super) fn invalidate(&mut self) {
        self.active = false;
    }

    /// Restores the terminal's original state.
    pub(super) fn release(&mut self) {
        self.active = false;
        restore_terminal();
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        self.release();
    }
}

fn saved() -> MutexGuard<'static, Option<Saved>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the terminal up for drawing. `before`: the state saved by an earlier call.
fn set_up(terminal: &OwnedFd, keys: bool, before: Option<Saved>) -> io::Result<Saved> {
    let current = tcgetattr(terminal)?;
    // If the terminal still has the modes that hotrun set, nothing has changed them since then, so the saved modes are
    // the original ones.
    let original = match before {
        Some(before) if before.ours == current => before.original,
        Some(_) | None => current,
    };
    let ours = drawing_modes(&original, keys);
    let mut nonblocking = terminal::reopen(terminal).or_else(|_| {
        let same = terminal.as_fd().try_clone_to_owned()?;
        Ok::<_, io::Error>(File::from(same))
    })?;
    tcsetattr(terminal, SetArg::TCSANOW, &ours)?;
    if let Err(error) = write_setup(&mut nonblocking, keys) {
        // The terminal is not accepting output. Restore its modes, so that the next attempt finds the original ones.
        let _ = tcsetattr(terminal, SetArg::TCSANOW, &original);
        return Err(error);
    }
    Ok(Saved {
        terminal: nonblocking,
        original,
        ours: tcgetattr(terminal).unwrap_or(ours),
    })
}

fn drawing_modes(original: &Termios, keys: bool) -> Termios {
    let mut modes = original.clone();
    // Keys arrive one at a time and are not echoed. Ctrl-C, Ctrl-\ and Ctrl-Z still send signals, but must not make the
    // kernel discard output that is on its way to the screen.
    modes
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    modes
        .local_flags
        .insert(LocalFlags::ISIG | LocalFlags::NOFLSH);
    // The program gets its input as typed, and its own terminal converts it.
    let conversions = InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IGNCR;
    modes.input_flags.remove(conversions);
    modes.input_flags.set(InputFlags::ICRNL, keys);
    modes
        .output_flags
        .insert(OutputFlags::OPOST | OutputFlags::ONLCR);
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    modes
}

/// Requests marks around pasted text only if hotrun reads the keys: the program must get its input as typed.
fn write_setup(terminal: &mut File, keys: bool) -> io::Result<()> {
    let marks = if keys { ENABLE_BRACKETED_PASTE } else { "" };
    terminal.write_all(format!("{Hide}{marks}").as_bytes())
}

/// Restores the terminal's original state, and prevents any further drawing.
pub fn restore_permanently() {
    DISABLED.store(true, Ordering::Release);
    restore_terminal();
}

/// Restores the terminal's original state, if hotrun has changed it. Waits at most 400 ms.
pub fn restore_terminal() {
    let Some(mut saved) = saved().take() else {
        return;
    };
    if !terminal::in_foreground(&saved.terminal).unwrap_or(false) {
        return;
    }
    // This fails if the terminal was closed.
    let _ = write_teardown(&mut saved);
    let _ = tcsetattr(&saved.terminal, SetArg::TCSANOW, &saved.original);
}

/// Undoes [`write_setup`] and any modes that an unfinished frame has left on, and erases the footer. Resumes a terminal
/// that was stopped with Ctrl-S: otherwise the shell would have no cursor.
fn write_teardown(saved: &mut Saved) -> io::Result<()> {
    let mut text = Vec::new();
    queue!(text, EndSynchronizedUpdate, EnableLineWrap, ResetColor)?;
    queue!(text, Print('\r'), Clear(ClearType::FromCursorDown))?;
    queue!(text, Print(DISABLE_BRACKETED_PASTE), Show)?;
    for attempt in 0..2 * ATTEMPTS {
        match saved.terminal.write_all(&text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        // Without flow control, Ctrl-S has no effect (`termios(3)`, `IXON`).
        let mut flowing = saved.original.clone();
        flowing.input_flags.remove(InputFlags::IXON);
        tcsetattr(&saved.terminal, SetArg::TCSANOW, &flowing)?;
        // If the earlier output has still not been read, discard it: a usable terminal matters more.
        if attempt >= ATTEMPTS {
            tcflush(&saved.terminal, FlushArg::TCOFLUSH)?;
        }
        thread::sleep(RETRY_AFTER);
    }
    Ok(())
}

/// Installs a panic hook that restores the terminal, so that the panic message is readable and the shell usable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore_permanently();
            before(info);
        }));
    });
}

/// Panics if the test hook `PANIC` is set, so that tests can check that a panic restores the terminal.
///
/// # Panics
///
/// If the test hook is set.
pub fn panic_for_test() {
    assert!(test_hook("PANIC").is_none(), "requested by a test");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_arrives_as_typed_if_the_program_gets_the_input() {
        let size = Size {
            columns: 80,
            rows: 24,
        };
        let (_master, terminal) = terminal::open(size).unwrap();
        let original = tcgetattr(&terminal).unwrap();
        assert!(original.input_flags.contains(InputFlags::ICRNL));
        let flags = |keys| drawing_modes(&original, keys).input_flags;
        assert!(flags(true).contains(InputFlags::ICRNL));
        assert!(!flags(false).contains(InputFlags::ICRNL));
    }
}
