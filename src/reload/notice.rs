use std::fmt;
use std::time::Duration;

use super::{Ended, GenId};

/// Why a generation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// hotrun was started.
    Begin,
    /// Watched files changed.
    Change,
    /// The user asked for it.
    Request,
    /// The user goes back to an earlier build.
    Undo,
    /// What an earlier generation stored is to be taken over.
    Inherit,
    /// It crashed soon after its switch: back to the build before it.
    GoBack,
    /// It crashed: once more the same.
    Crash,
}

impl Cause {
    /// Whether it leads back to an earlier build.
    pub(super) const fn goes_back(self) -> bool {
        match self {
            Self::Undo | Self::GoBack => true,
            Self::Begin | Self::Change | Self::Request | Self::Inherit | Self::Crash => false,
        }
    }
}

/// Why a generation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The build did not succeed.
    Build,
    /// The program could not be started.
    Start,
    /// It ended before it was ready.
    EndedEarly(Ended),
    /// It was not ready in time.
    ReadyTimeout,
    /// The switch was refused.
    Switch,
    /// It ended while it was live.
    Crashed(Ended),
    /// Its processes vanished, and nobody saw how.
    Lost,
}

/// How a draining generation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stopped {
    /// By itself, in time.
    Drained,
    /// The drain timeout put an end to it.
    TimedOut,
    /// It was killed because the user quit at once.
    Killed,
}

/// Something that a person may want to know. The only thing that the user interface learns of the core.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A build began.
    Building {
        /// Which generation.
        id: GenId,
        /// Why.
        cause: Cause,
    },
    /// A build was given up for newer sources, or because of quit.
    BuildCancelled {
        /// Which generation.
        id: GenId,
    },
    /// A build succeeded.
    Built {
        /// Which generation.
        id: GenId,
        /// How long it took.
        took: Duration,
    },
    /// A build succeeded and made what runs already; nothing is started.
    Unchanged {
        /// Which generation was to be.
        id: GenId,
        /// The one that stays.
        like: GenId,
    },
    /// The live generation was told by a signal to read its configuration again.
    Signalled {
        /// Which generation.
        id: GenId,
        /// The signal's number.
        signal: i32,
    },
    /// It does not handle that signal, and is restarted instead.
    Unhandled {
        /// Which generation.
        id: GenId,
        /// The signal's number.
        signal: i32,
    },
    /// A build succeeded, and is not started because something changed meanwhile.
    Outdated {
        /// Which generation.
        id: GenId,
    },
    /// The program is being started.
    Starting {
        /// Which generation.
        id: GenId,
        /// Why.
        cause: Cause,
    },
    /// It reported readiness.
    Ready {
        /// Which generation.
        id: GenId,
        /// How long after its start.
        took: Duration,
    },
    /// New connections go to it.
    Live {
        /// Which generation.
        id: GenId,
        /// How long the switch took, from readiness.
        took: Duration,
    },
    /// It finishes what it has.
    Draining {
        /// Which generation.
        id: GenId,
        /// How long it may.
        timeout: Duration,
    },
    /// The drain timeout has passed (or the user insists): it is being killed.
    Killing {
        /// Which generation.
        id: GenId,
        /// Why.
        why: Stopped,
        /// How long after it lost the traffic, was asked to leave, or failed.
        after: Duration,
    },
    /// Newer sources made a generation pointless before it was ready; it is being stopped.
    Superseded {
        /// Which generation.
        id: GenId,
    },
    /// It asked for time, and got it.
    Extended {
        /// Which generation.
        id: GenId,
        /// How long its start or its end may still take.
        left: Duration,
    },
    /// It stores descriptors for the one after it: from now on each ends before the next one starts.
    Stores {
        /// Which generation.
        id: GenId,
    },
    /// It is made to end because it hangs.
    Aborting {
        /// Which generation.
        id: GenId,
        /// How long it gave no sign of life; none if it asked for this itself.
        after: Option<Duration>,
    },
    /// No process of it is left.
    Gone {
        /// Which generation.
        id: GenId,
        /// How.
        how: Stopped,
        /// How long after it was asked to leave, or failed.
        took: Duration,
    },
    /// It failed.
    Failed {
        /// Which generation.
        id: GenId,
        /// Why.
        failure: Failure,
        /// The generation that serves on, if there is one.
        live: Option<GenId>,
    },
    /// The one after it has crashed, and it serves again; it had not been asked to end.
    Restored {
        /// Which generation.
        id: GenId,
    },
    /// Its build is started again by and by.
    Again {
        /// Which generation has crashed.
        id: GenId,
        /// How long from now.
        after: Duration,
    },
    /// Changes wait from now on.
    Paused,
    /// Changes are acted on again, those that wait first.
    Resumed,
    /// There is no earlier build to go back to, or something else is about to be started.
    NothingToUndo,
    /// Nothing is left to do until something changes, and nothing is live.
    Waiting,
    /// The user quits; what runs is being stopped.
    Quitting {
        /// How long that may take.
        timeout: Duration,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("the build failed"),
            Self::Start => f.write_str("the program could not be started"),
            Self::EndedEarly(ended) => write!(f, "ended before it was ready: {ended}"),
            Self::ReadyTimeout => f.write_str("not ready in time"),
            Self::Switch => f.write_str("the switch was refused"),
            Self::Crashed(ended) => write!(f, "ended while live: {ended}"),
            Self::Lost => f.write_str("its processes vanished"),
        }
    }
}
