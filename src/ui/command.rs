use std::time::Duration;

use crate::os::terminal::Size;

/// A command to the user interface itself, from a key or from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiCommand {
    /// The terminal was resized.
    Resized(Size),
    /// Show or hide the key help.
    ToggleHelp,
    /// Hide the key help.
    HideHelp,
    /// Print the whole output of the last build.
    ShowBuildLog,
    /// Clear the screen.
    Clear,
    /// Print a mark, to find this place again.
    Mark,
    /// Restore the terminal: hotrun is about to be suspended.
    ReleaseTerminal,
    /// hotrun continues after a suspend, or after a `SIGSTOP`, which it cannot catch.
    Resume {
        /// How long it was suspended together with its programs. This time does not count as uptime.
        away: Duration,
    },
}
