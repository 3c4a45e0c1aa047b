use std::fmt;

use nix::sys::signal::Signal as Known;

/// A signal that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(Known);

impl Signal {
    /// What asks a program to end.
    pub const TERM: Self = Self(Known::SIGTERM);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(Known::SIGINT);
    /// What a closed terminal sends.
    pub const HUP: Self = Self(Known::SIGHUP);
    /// What makes a program end as one that fails, with a picture of its memory if the system is set up for that.
    pub const ABRT: Self = Self(Known::SIGABRT);
    /// What nothing can resist.
    pub const KILL: Self = Self(Known::SIGKILL);

    /// The one with this number, if it has a name.
    pub fn from_number(number: i32) -> Option<Self> {
        Known::try_from(number).ok().map(Self)
    }

    /// Its number on this system.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// For the calls of `nix`.
    pub(super) const fn known(self) -> Known {
        self.0
    }

    /// All that have a name, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        Known::iterator().map(Self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl From<Known> for Signal {
    fn from(known: Known) -> Self {
        Self(known)
    }
}
