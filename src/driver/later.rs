//! A build, or a command of a rule, that is put off.

use std::time::{Duration, Instant};

/// Whether one is, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Later {
    #[default]
    No,
    /// Until so long after the end of this one, which runs.
    AfterThis(Duration),
    At(Instant),
}

impl Later {
    /// The one that runs, if one does, comes to its end first.
    pub(super) fn after(pause: Duration, runs: bool) -> Self {
        match runs {
            true => Self::AfterThis(pause),
            false => Self::At(Instant::now() + pause),
        }
    }

    pub(super) fn ended(&mut self) {
        if let Self::AfterThis(pause) = *self {
            *self = Self::after(pause, false);
        }
    }

    pub(super) const fn due(self) -> Option<Instant> {
        match self {
            Self::No | Self::AfterThis(_) => None,
            Self::At(moment) => Some(moment),
        }
    }
}
