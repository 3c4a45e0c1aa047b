use std::time::Duration;

use crate::os::terminal::Size;

/// What the user wants of the screen itself, by a key or by what he does to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiCommand {
    /// The terminal has another size.
    Resized(Size),
    /// Explain the keys, or no longer.
    ToggleHelp,
    /// Hide the key help.
    HideHelp,
    /// Show all that the last build printed.
    ShowBuildLog,
    /// Clear the screen.
    Clear,
    /// Print a mark, to find this place again.
    Mark,
    /// Leave the terminal as it was found: hotrun is about to be stopped.
    ReleaseTerminal,
    /// It goes on; also if it was stopped by what cannot be caught.
    Resume {
        /// How long it was stopped: time in which nothing got older.
        away: Duration,
    },
}
