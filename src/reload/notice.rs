//! What a user may want to know.
#![allow(missing_docs, reason = "the doc of a variant covers its fields")]

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
    /// The user asked for a reload.
    Request,
    /// The user rolled back to an earlier artifact.
    Undo,
    /// An earlier generation stored descriptors that this one is to inherit.
    InheritFds,
    /// The live generation crashed soon after its switch: hotrun rolls back to the artifact before it.
    RollBack,
    /// The live generation crashed and is restarted.
    Crash,
}

impl Cause {
    /// Whether it starts an earlier artifact.
    pub(super) const fn rolls_back(self) -> bool {
        match self {
            Self::Undo | Self::RollBack => true,
            Self::Begin | Self::Change | Self::Request | Self::InheritFds | Self::Crash => false,
        }
    }
}

/// Why a generation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The build failed.
    Build,
    /// The program could not be started.
    Start,
    /// The program ended before it was ready.
    ExitedEarly(Ended),
    /// The program was not ready in time.
    ReadyTimeout,
    /// The switch was refused.
    Switch,
    /// The program ended while it was live.
    Crashed(Ended),
    /// Its processes vanished; how they ended is unknown.
    Vanished,
}

/// What the generation did, as in "gen 3 failed to build".
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("failed to build"),
            Self::Start => f.write_str("could not be started"),
            Self::ExitedEarly(ended) => write!(f, "exited before it was ready ({ended})"),
            Self::ReadyTimeout => f.write_str("was not ready in time"),
            Self::Switch => f.write_str("could not take over the traffic"),
            Self::Crashed(ended) if ended.success() => f.write_str("exited with status 0"),
            Self::Crashed(ended) => write!(f, "crashed ({ended})"),
            Self::Vanished => f.write_str("vanished"),
        }
    }
}

/// How a draining generation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stopped {
    /// It ended in time.
    Drained,
    /// It was killed at the drain timeout.
    TimedOut,
    /// It was killed at the user's request.
    Killed,
}

/// Something that a user may want to know. The user interface learns about the machine from notices only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Changes are held back from now on.
    Paused,
    /// Changes are acted on again, those held back first.
    Resumed,
    /// There is no earlier artifact to roll back to, or something else is about to be started.
    NothingToUndo,
    /// Nothing is live, and there is nothing to do until something changes.
    Waiting,
    /// hotrun is quitting; what runs is being stopped, which may take this long.
    Quitting { timeout: Duration },
    /// News of one generation.
    Generation(GenId, GenNotice),
}

/// News of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenNotice {
    /// The build began.
    Building { cause: Cause },
    /// The build was cancelled because of newer sources, or because hotrun quits.
    BuildCancelled,
    /// The build succeeded in this time.
    Built { took: Duration },
    /// The build succeeded and made what `like` was started from; nothing is started.
    Unchanged { like: GenId },
    /// The build succeeded, and is not started because sources changed during the build.
    Outdated,
    /// The live generation got the signal on which it reloads its configuration.
    ReloadSignalSent { signal: i32 },
    /// It does not handle that signal, and is restarted instead.
    ReloadSignalUnhandled { signal: i32 },
    /// The program is being started.
    Starting { cause: Cause },
    /// The program is ready, this long after its start.
    Ready { took: Duration },
    /// New connections go to it, this long after it was ready.
    Live { took: Duration },
    /// It finishes its connections, which may take this long.
    Draining { timeout: Duration },
    /// It is being killed, `after` it began to drain, was asked to stop, or failed.
    Killing { why: Stopped, after: Duration },
    /// Newer sources superseded it before it was ready; it is being stopped.
    Superseded,
    /// It asked for more time: its start or its end may still take this long.
    TimeoutExtended { left: Duration },
    /// It stores descriptors for the generation after it: from now on each one ends before the next one starts.
    StoredFds,
    /// It is being aborted because it sent no watchdog ping for this long, or (`None`) asked for the abort.
    Aborting { after: Option<Duration> },
    /// None of its processes is left. `took`: the time since it began to drain, was asked to stop, or failed.
    Gone { how: Stopped, took: Duration },
    /// It failed. `live`: the generation that stays live.
    Failed {
        failure: Failure,
        live: Option<GenId>,
    },
    /// Its successor crashed, and it is live again; it had not been asked to stop.
    Restored,
    /// It crashed, and its artifact will be started again after this time.
    RestartScheduled { after: Duration },
}
