//! Notices: what a user may want to know.
#![allow(missing_docs, reason = "the doc of a variant covers its fields")]

use std::fmt;
use std::time::Duration;

use super::{Ended, GenId};

/// Why a generation is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// hotrun was started.
    Begin,
    /// Watched files changed.
    Change,
    /// The user asked for a reload.
    Request,
    /// The user asked to roll back to an earlier artifact.
    Undo,
    /// An earlier generation stored descriptors that this one must inherit.
    InheritFds,
    /// A generation crashed soon after its switch, or failed before it while no other one was live: hotrun rolls back
    /// to the artifact that was live before.
    RollBack,
    /// The live generation crashed and is restarted.
    Crash,
    /// The first instance serves this artifact, or has been restarted, and the other instances follow it.
    Follow,
    /// The live generation fails its liveness check, and is replaced by another one with the same artifact.
    Unhealthy,
}

impl Cause {
    /// Whether a generation with this cause may get a share first. Others repair something.
    pub(super) const fn shares(self) -> bool {
        match self {
            Self::Begin | Self::Change | Self::Request | Self::InheritFds => true,
            Self::Undo | Self::RollBack | Self::Crash | Self::Follow | Self::Unhealthy => false,
        }
    }

    /// Whether a generation with this cause is started from an earlier artifact.
    pub(super) const fn rolls_back(self) -> bool {
        match self {
            Self::Undo | Self::RollBack => true,
            Self::Begin
            | Self::Change
            | Self::Request
            | Self::InheritFds
            | Self::Crash
            | Self::Follow
            | Self::Unhealthy => false,
        }
    }

    /// Whether only a failure of the program leads to the start.
    pub(super) const fn is_failure(self) -> bool {
        match self {
            Self::RollBack | Self::Crash | Self::Unhealthy => true,
            Self::Begin
            | Self::Change
            | Self::Request
            | Self::Undo
            | Self::InheritFds
            | Self::Follow => false,
        }
    }
}

/// Why a generation failed. `Display` says what the generation did, as in "gen 3 failed to build".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenFailure {
    Build,
    Start,
    ExitedEarly(Ended),
    ReadyTimeout,
    WarmUp,
    /// The switch or the share was refused.
    Switch,
    /// The check of a generation with a share failed.
    ShareCheck,
    /// The program ended while it was live or had a share.
    Crashed(Ended),
    /// The program's processes are gone; how they ended is unknown.
    Vanished,
}

impl fmt::Display for GenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("failed to build"),
            Self::Start => f.write_str("could not be started"),
            Self::ExitedEarly(ended) => write!(f, "exited before it was ready ({ended})"),
            Self::ReadyTimeout => f.write_str("was not ready in time"),
            Self::WarmUp => f.write_str("failed to warm up"),
            Self::Switch => f.write_str("could not take over the traffic"),
            Self::ShareCheck => f.write_str("failed its check"),
            Self::Crashed(ended) if ended.success() => f.write_str("exited with status 0"),
            Self::Crashed(ended) => write!(f, "crashed ({ended})"),
            Self::Vanished => f.write_str("vanished"),
        }
    }
}

/// How a draining generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stopped {
    /// The program ended in time.
    Drained,
    /// The program exceeded the stop timeout.
    TimedOut,
    /// The program was killed at the user's request, or the processes that it left behind were killed.
    Killed,
}

/// Something that a user may want to know. The user interface learns about the machine only through notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Changes are held back from now on.
    Paused,
    /// Changes are acted on again, starting with those that were held back.
    Resumed,
    /// There is no earlier artifact to roll back to, or another generation is about to be started.
    NothingToUndo,
    /// The user has cancelled the reload in progress, so this generation stays live.
    Undone { live: GenId },
    /// No generation has a share that the user could change.
    NothingShared,
    /// No generation is draining that the user could kill.
    NothingToKill,
    /// No generation is live, and hotrun is waiting for a change or a request.
    Waiting,
    /// hotrun is quitting: it stops everything that is running. `timeout`: how long that may take.
    Quitting { timeout: Duration },
    /// Something happened to one generation.
    Generation(GenId, GenNotice),
}

/// What happened to one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenNotice {
    /// The build began.
    Building { cause: Cause },
    /// The build was cancelled because of newer sources, because the user has undone it, or because hotrun is quitting.
    BuildCancelled,
    /// The build succeeded. `took`: the duration of the build.
    Built { took: Duration },
    /// The build succeeded, but produced exactly what `like` was started from, so nothing is started.
    Unchanged { like: GenId },
    /// The build succeeded, but its result is not started, because a newer build replaces it, the user has
    /// undone it, or hotrun is quitting.
    Outdated,
    /// The live generation got the signal that makes it reload its configuration.
    ReloadSignalSent { signal: i32 },
    /// The live generation does not handle the reload signal, and is restarted instead.
    ReloadSignalUnhandled { signal: i32 },
    /// The program is being started.
    Starting { cause: Cause },
    /// The program is ready. `took`: the time since its start.
    Ready { took: Duration },
    /// This percentage of new connections goes to the generation, the others to the live one.
    Sharing { percent: u8 },
    /// New connections go to the generation. `took`: the time since it became ready.
    Live { took: Duration },
    /// The generation stays as it is after the switch to another one, because it may go live again. `time`: how long.
    Kept { time: Duration },
    /// The generation, which is kept, drains before the next start, because there is too little memory for both: so many
    /// bytes are `available`, and so many may be `needed`.
    MakesRoom { available: u64, needed: u64 },
    /// The generation ended while it was kept, which concerns no new client.
    KeptEnded { failure: GenFailure },
    /// The generation is finishing its connections. `timeout`: how long that may take.
    Draining { timeout: Duration },
    /// The generation is being killed. `after`: the time since it began to drain, was asked to stop, or failed.
    Killing { why: Stopped, after: Duration },
    /// The generation is being stopped before it got any connection, because a newer one supersedes it or the user has undone it.
    Superseded,
    /// The program asked for more time. `left`: how much longer its start or its end may take.
    TimeoutExtended { left: Duration },
    /// The program stores descriptors for the next generation. From now on, each generation ends before the next one
    /// starts.
    StoredFds,
    /// The program is being aborted. `after`: the time since its last watchdog ping; `None` if it asked to be aborted.
    Aborting { after: Option<Duration> },
    /// The generation has no processes left. `in_use`: how many connections were in use at the last check, if that is
    /// known. `took`: the time since it began to drain, was asked to stop, or failed.
    Gone {
        how: Stopped,
        in_use: Option<u32>,
        took: Duration,
    },
    /// The generation failed. `live`: the generation that stays live, if any.
    Failed {
        failure: GenFailure,
        live: Option<GenId>,
    },
    /// The generation is live again, because its successor crashed or the user has undone it before this one was asked to
    /// stop.
    Restored { cause: Cause },
    /// The generation fails its liveness check, but stays live: hotrun has replaced it in vain, and waits for a change or a
    /// request.
    NotReplaced,
    /// The generation crashed, and its artifact will be started again. `after`: the time until then.
    RestartScheduled { after: Duration },
}
