//! The only place that changes the terminal's modes, and restores them.

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
use crossterm::style::ResetColor;
use crossterm::terminal::{Clear, ClearType, EnableLineWrap, EndSynchronizedUpdate};
use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags, SpecialCharacterIndices, Termios};

use crate::os::terminal::{self, Size};
use crate::os::test_hook;

/// Makes the terminal mark pasted text. crossterm has this only together with its event reader.
const ENABLE_BRACKETED_PASTE: &[u8] = b"\x1b[?2004h";
const DISABLE_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l";

/// How often to retry writing to a terminal that accepts no output, and as often again while discarding older output.
const ATTEMPTS: usize = 20;
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The terminal's original state, while it is changed.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

/// hotrun is about to exit or has panicked: threads that still run must not draw.
static DISABLED: AtomicBool = AtomicBool::new(false);

struct Saved {
    /// Opened again with `O_NONBLOCK`, so that writing never waits: Ctrl-S may have stopped the terminal.
    terminal: File,
    original: Termios,
    /// The modes set instead.
    ours: Termios,
}

/// Guards the terminal: while acquired, it has the modes for drawing and for single keys. On drop, on panic and before a
/// suspend, the original state is restored.
///
/// Only one guard can be active at a time.
#[derive(Debug)]
pub struct TerminalGuard {
    /// `Err`: nothing to guard; pretends to be a terminal of this size.
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

    /// Guards nothing; for output that is no terminal but is drawn on as if it had this size.
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

    /// Acquires the terminal if hotrun is in the foreground, and returns whether it may draw. Call this before each frame:
    /// the shell can give the terminal to another job at any time.
    pub(super) fn acquire(&mut self) -> bool {
        let Ok(terminal) = &self.terminal else {
            self.active = true;
            return true;
        };
        // Locked until the original state is saved: nothing may exit before and leave the terminal changed.
        let mut saved = saved();
        if DISABLED.load(Ordering::Acquire) {
            return false;
        }
        if !terminal::in_foreground(terminal).unwrap_or(false) {
            // Another job has set the terminal for itself, so there is nothing to restore either.
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

    /// Sets the terminal up again on the next [`Self::acquire`]: another process may have changed it.
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

/// Changes the terminal. `before`: the state saved by an earlier call.
fn set_up(terminal: &OwnedFd, keys: bool, before: Option<Saved>) -> io::Result<Saved> {
    let current = terminal::modes(terminal)?;
    // If the modes are still those that we set, not even the shell changed them: the original ones are the saved ones.
    let original = match before {
        Some(before) if before.ours == current => before.original,
        Some(_) | None => current,
    };
    let ours = drawing_modes(&original);
    let mut nonblocking = terminal::reopen(terminal).or_else(|_| {
        let same = terminal.as_fd().try_clone_to_owned()?;
        Ok::<_, io::Error>(File::from(same))
    })?;
    terminal::set_modes(terminal, &ours)?;
    if let Err(error) = write_setup(&mut nonblocking, keys) {
        // The terminal accepts no output now. The next attempt must find the original modes.
        let _ = terminal::set_modes(terminal, &original);
        return Err(error);
    }
    Ok(Saved {
        terminal: nonblocking,
        original,
        ours: terminal::modes(terminal).unwrap_or(ours),
    })
}

fn drawing_modes(original: &Termios) -> Termios {
    let mut modes = original.clone();
    // Keys arrive one by one and are not echoed. Ctrl-C, Ctrl-\ and Ctrl-Z still send signals, but must not make the
    // kernel discard output that is on its way to the screen.
    modes
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    modes
        .local_flags
        .insert(LocalFlags::ISIG | LocalFlags::NOFLSH);
    modes.input_flags.insert(InputFlags::ICRNL);
    modes
        .output_flags
        .insert(OutputFlags::OPOST | OutputFlags::ONLCR);
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    modes
}

/// Pasted text is marked only if hotrun reads it: the program gets its input as typed.
fn write_setup(terminal: &mut File, keys: bool) -> io::Result<()> {
    let mut text = Vec::new();
    queue!(text, Hide)?;
    if keys {
        text.extend(ENABLE_BRACKETED_PASTE);
    }
    terminal.write_all(&text)
}

/// Undoes [`write_setup`] and whatever a frame may have left on, and erases the footer.
fn teardown() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    queue!(text, EndSynchronizedUpdate, EnableLineWrap, ResetColor)?;
    text.push(b'\r');
    queue!(text, Clear(ClearType::FromCursorDown))?;
    text.extend(DISABLE_BRACKETED_PASTE);
    queue!(text, Show)?;
    Ok(text)
}

/// Restores the terminal's original state, and prevents any further drawing.
pub fn restore_permanently() {
    DISABLED.store(true, Ordering::Release);
    restore_terminal();
}

/// Restores the terminal's original state if it was changed. Waits 400 ms at most.
pub fn restore_terminal() {
    let Some(mut saved) = saved().take() else {
        return;
    };
    if !terminal::in_foreground(&saved.terminal).unwrap_or(false) {
        return;
    }
    // Fails if the terminal was closed.
    let _ = write_teardown(&mut saved);
    let _ = terminal::set_modes(&saved.terminal, &saved.original);
}

/// Resumes a terminal that was stopped with Ctrl-S: otherwise the shell would be left without a cursor.
fn write_teardown(saved: &mut Saved) -> io::Result<()> {
    let text = teardown()?;
    for attempt in 0..2 * ATTEMPTS {
        match saved.terminal.write_all(&text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        // Without flow control, Ctrl-S stops nothing (`termios(3)`, `IXON`).
        let mut flowing = saved.original.clone();
        flowing.input_flags.remove(InputFlags::IXON);
        terminal::set_modes(&saved.terminal, &flowing)?;
        // If nothing reads the older output, drop it: a usable terminal matters more.
        if attempt >= ATTEMPTS {
            terminal::discard_output(&saved.terminal)?;
        }
        thread::sleep(RETRY_AFTER);
    }
    Ok(())
}

/// Keeps the panic message readable and the shell usable afterwards.
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

/// Panics if the test hook `PANIC` is set, so that tests see what a panic leaves behind.
///
/// # Panics
///
/// If the test hook is set.
pub fn panic_for_test() {
    assert!(test_hook("PANIC").is_none(), "requested by a test");
}
