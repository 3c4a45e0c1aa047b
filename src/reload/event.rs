use std::time::Duration;

use super::{ArtifactId, Ended, GenId};

/// What a change requires. The more thorough action is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Restart the program from the last good build.
    Restart,
    /// Build, then start.
    Build,
}

/// What the user asked for with a key or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Build and start now, whether something changed or not.
    Reload,
    /// Hold changes back from now on.
    Pause,
    /// Act on the changes held back, and on later ones.
    Resume,
    /// Roll back to the artifact that was live before.
    Undo,
    /// Kill the draining generations.
    KillDraining,
    /// Stop everything in order, then end.
    Quit,
    /// Kill everything, then end.
    QuitNow,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildOutcome {
    /// The build succeeded.
    Built {
        /// What it made. An artifact may be known already: the build left its executable alone, but what surrounds it
        /// (arguments, environment, generated files) may be different.
        artifact: ArtifactId,
        /// Whether the artifact is kept, so that it can be started after a later build has made another one.
        kept: bool,
    },
    /// The build succeeded and made exactly what this generation, which is starting or live, was started from.
    Unchanged {
        /// The newest generation for which that is true.
        like: GenId,
    },
    /// The build failed or could not run. The driver has reported why.
    Failed,
    /// The build ended because of [`GenEffect::CancelBuild`](super::GenEffect::CancelBuild).
    Cancelled,
}

/// A message of a program to its watchdog (`sd_notify(3)`: `WATCHDOG`, `WATCHDOG_USEC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchdogMessage {
    /// `WATCHDOG=1`: the program is alive.
    Ping,
    /// `WATCHDOG_USEC=…`: from now on a ping is due this often. Zero turns the watchdog off.
    Period(Duration),
    /// `WATCHDOG=trigger`: treat the program as hung.
    Trigger,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// hotrun is set up; the first generation may be made.
    Begin,
    /// Watched files changed.
    Changed(Action),
    /// Files changed that the program reloads on a signal.
    ConfigChanged {
        /// The signal's number, 1 to 64.
        signal: i32,
    },
    /// The user asked for something.
    Requested(Request),
    /// Something happened to a generation. Ignored if the generation is already gone.
    Generation(GenId, GenEvent),
    /// [`Machine::deadline`](super::Machine::deadline) was reached.
    Tick,
}

/// Something that happened to one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenEvent {
    /// The build ended. Sent exactly once for each [`GenEffect::Build`](super::GenEffect::Build).
    BuildEnded(BuildOutcome),
    /// The program could not be started. [`GenEvent::Gone`] does not follow.
    StartFailed,
    /// The program listens on an address that the next generation can share. May be repeated.
    Listening,
    /// The program is a server, even if no listener of it is known. May be repeated.
    IsServer,
    /// The program reported readiness, or its probe succeeded.
    Ready,
    /// New connections go to this generation from now on.
    Switched,
    /// The switch was refused. The driver has reported why.
    SwitchFailed,
    /// The accept queues are empty, and no accepted connection waits for its first byte.
    Quiescent,
    /// The driver has checked how the program reacts to the stop signal.
    StopSignalChecked {
        /// Whether the program handles the signal. Otherwise it would die of it.
        handled: bool,
    },
    /// All connections are closed or idle.
    Idle,
    /// The first process of the program ended.
    Exited {
        /// How it ended.
        ended: Ended,
        /// Whether other processes of its tree still run.
        survivors: bool,
    },
    /// No process of the tree is left. The last event of a started generation.
    Gone,
    /// The program asked for more time to start or to stop (`EXTEND_TIMEOUT_USEC`).
    ExtendTimeout {
        /// How much time it needs from now on.
        by: Duration,
    },
    /// The program stored descriptors for the generation after it (`FDSTORE=1`).
    StoredFds,
    /// The program sent a message to its watchdog.
    Watchdog(WatchdogMessage),
    /// The result of [`GenEffect::SendReloadSignal`](super::GenEffect::SendReloadSignal). Sent exactly once for each.
    ReloadSignalSent {
        /// The signal's number.
        signal: i32,
        /// Whether it was sent. A program that does not handle it would have died of it.
        handled: bool,
    },
}
