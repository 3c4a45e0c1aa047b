//! The one place that changes the terminal's modes, and that puts them back.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags, SpecialCharacterIndices, Termios};

use crate::os::terminal::{self, Size};

/// No cursor, for it would stand beside the last line.
const ENTER: &str = "\x1b[?25l";
/// And what is pasted is told from what is typed. Where that is for the program, it gets it as it comes.
const ENTER_WITH_KEYS: &str = "\x1b[?25l\x1b[?2004h";
/// All of that undone, and no footer left: from the cursor on everything is ours.
const LEAVE: &str = "\x1b[?2026l\x1b[?7h\x1b[0m\r\x1b[J\x1b[?2004l\x1b[?25h";

/// So often a terminal is asked to take [`LEAVE`], each time a moment later; and as often again at the cost of what was
/// written before.
const PATIENCE: usize = 20;
const MOMENT: Duration = Duration::from_millis(10);

/// The terminal as it was found, as long as it is changed.
static FOUND: Mutex<Option<Found>> = Mutex::new(None);

/// hotrun ends, or has panicked: what is still running of it draws no more.
static OVER: AtomicBool = AtomicBool::new(false);

struct Found {
    /// Opened anew, so that writing to it never waits: somebody may have stopped it with Ctrl-S.
    terminal: File,
    modes: Termios,
    /// The modes that it has instead.
    ours: Termios,
}

/// The place in front of the terminal: whoever has it may draw and gets the keys.
///
/// Only one can be taken at a time.
#[derive(Debug)]
pub struct TerminalGuard {
    /// `Err`: no terminal to draw on; a screen of this size.
    terminal: Result<OwnedFd, Size>,
    keys: bool,
    taken: bool,
}

impl TerminalGuard {
    /// In front of this terminal. `keys`: whether what is typed is for hotrun.
    pub fn at(terminal: OwnedFd, keys: bool) -> Self {
        restore_on_panic();
        Self {
            terminal: Ok(terminal),
            keys,
            taken: false,
        }
    }

    /// In front of something that merely looks like one, of this size.
    pub const fn without_terminal(size: Size) -> Self {
        Self {
            terminal: Err(size),
            keys: true,
            taken: false,
        }
    }

    pub(super) fn size(&self) -> Size {
        match &self.terminal {
            Ok(terminal) => terminal::size(terminal),
            Err(size) => *size,
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Takes it, if it is ours to take, and says whether we have it. Another job of the shell may get the terminal at
    /// any time, so this is asked before each drawing.
    pub(super) fn take(&mut self) -> bool {
        let Ok(terminal) = &self.terminal else {
            self.taken = true;
            return true;
        };
        // Until it is said how the terminal was found, nobody may end and leave it as it is.
        let mut found = found();
        if OVER.load(Ordering::Acquire) {
            return false;
        }
        if !terminal::in_foreground(terminal).unwrap_or(false) {
            // It is not ours to put back either: whoever has it now has set it as he likes.
            if std::mem::take(&mut self.taken) {
                *found = None;
            }
            return false;
        }
        if !self.taken {
            let known = found.take();
            *found = enter(terminal, self.keys, known).ok();
            self.taken = found.is_some();
        }
        self.taken
    }

    /// Somebody else may have had the terminal, and set it: it is to be taken anew.
    pub(super) fn doubt(&mut self) {
        self.taken = false;
    }

    /// Leaves the terminal as it was found.
    pub(super) fn leave(&mut self) {
        self.taken = false;
        restore();
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        self.leave();
    }
}

fn found() -> MutexGuard<'static, Option<Found>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes it ours. `known`: how it was found before, if that is so.
fn enter(terminal: &OwnedFd, keys: bool, known: Option<Found>) -> io::Result<Found> {
    let now = terminal::modes(terminal)?;
    // As we had left them: nobody has set it meanwhile, not even a shell, and they are not what it was found with.
    let modes = match known {
        Some(known) if known.ours == now => known.modes,
        Some(_) | None => now,
    };
    let mut ours = modes.clone();
    // KeyParser come one by one and are not shown. Signals stay: Ctrl-C, Ctrl-\ and Ctrl-Z are told as everywhere.
    ours.local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    // And they do not make the kernel throw away what was written and is still on its way to the screen.
    ours.local_flags
        .insert(LocalFlags::ISIG | LocalFlags::NOFLSH);
    ours.input_flags.insert(InputFlags::ICRNL);
    ours.output_flags
        .insert(OutputFlags::OPOST | OutputFlags::ONLCR);
    ours.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    ours.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    let mut again = terminal::reopen(terminal).or_else(|_| {
        let same = terminal.as_fd().try_clone_to_owned()?;
        Ok::<_, io::Error>(File::from(same))
    })?;
    terminal::set_modes(terminal, &ours)?;
    let enter = if keys { ENTER_WITH_KEYS } else { ENTER };
    if let Err(error) = again.write_all(enter.as_bytes()) {
        // It takes nothing now. The next time must find it as it is, and not as we left it.
        let _ = terminal::set_modes(terminal, &modes);
        return Err(error);
    }
    Ok(Found {
        terminal: again,
        modes,
        ours: terminal::modes(terminal).unwrap_or(ours),
    })
}

/// Puts the terminal back as it was found, if it is not, and lets nothing more be drawn on it.
pub fn restore_permanently() {
    OVER.store(true, Ordering::Release);
    restore();
}

/// Puts the terminal back as it was found, if it is not. Waits for a moment at most, and does nothing the second time.
pub fn restore() {
    let Some(mut found) = found().take() else {
        return;
    };
    if !terminal::in_foreground(&found.terminal).unwrap_or(false) {
        return;
    }
    // What can't be put back any more is gone: a terminal that was closed.
    let _ = write_leave(&mut found);
    let _ = terminal::set_modes(&found.terminal, &found.modes);
}

/// Also to a terminal that somebody has stopped with Ctrl-S: it goes on, for else the shell would be left without a cursor.
fn write_leave(found: &mut Found) -> io::Result<()> {
    for attempt in 0..2 * PATIENCE {
        match found.terminal.write_all(LEAVE.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        // Without flow control nothing can be stopped by it (`termios(3)`, `IXON`).
        let mut flowing = found.modes.clone();
        flowing.input_flags.remove(InputFlags::IXON);
        terminal::set_modes(&found.terminal, &flowing)?;
        // What nobody takes is in the way of what makes the terminal usable.
        if attempt >= PATIENCE {
            terminal::discard_output(&found.terminal)?;
        }
        thread::sleep(MOMENT);
    }
    Ok(())
}

/// The message of a panic must be legible, and the shell usable after it.
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
