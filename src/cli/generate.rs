//! Completions and the man page, both made from the options.

use std::io;

use clap::ValueEnum;
use clap_complete::{Shell, generate as complete};

use super::man;

/// What `--generate` can print.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generate {
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Completions for PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// Completions for elvish
    Elvish,
    /// The manual page, in roff
    Man,
}

impl Generate {
    /// The name under which the shell looks for the file, or under which the manual is installed.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "hotrun.bash",
            Self::Zsh => "_hotrun",
            Self::Fish => "hotrun.fish",
            Self::PowerShell => "_hotrun.ps1",
            Self::Elvish => "hotrun.elv",
            Self::Man => "hotrun.1",
        }
    }
}

/// The text of a completion file or of the man page.
///
/// # Errors
///
/// Only if the man page cannot be rendered, which writing to memory does not cause.
pub fn generate(what: Generate) -> io::Result<Vec<u8>> {
    let shell = match what {
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
        Generate::PowerShell => Shell::PowerShell,
        Generate::Elvish => Shell::Elvish,
        Generate::Man => return man::page(),
    };
    let mut text = Vec::new();
    complete(shell, &mut super::command(), "hotrun", &mut text);
    Ok(text)
}
