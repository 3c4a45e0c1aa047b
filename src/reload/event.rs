//! What may happen, as the driver reports it to the machine.
#![allow(missing_docs, reason = "the doc of a variant covers its fields")]

use std::fmt;
use std::time::Duration;

use super::{ArtifactId, GenId};

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
    /// The build succeeded. Its artifact may be a known one: the build left the executable alone, but what surrounds it
    /// (arguments, environment, generated files) may be different. If it is `kept`, it can be started after a later
    /// build has made another one.
    Built { artifact: ArtifactId, kept: bool },
    /// The build made exactly what `like` was started from, the newest such generation, which is starting or live.
    Unchanged { like: GenId },
    /// The build failed or could not run. The driver has reported why.
    Failed,
    /// The build ended because of [`GenEffect::CancelBuild`](super::GenEffect::CancelBuild).
    Cancelled,
}

/// How the program of a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// It exited with this status.
    Code(i32),
    /// A signal with this number killed it.
    Signal(i32),
}

impl Ended {
    /// Whether it ended with status 0.
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
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
    /// Files changed that the program reloads on the signal with this number, 1 to 64.
    ConfigChanged { signal: i32 },
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
    /// The driver has checked whether the program handles the stop signal. Otherwise the program would die of it.
    StopSignalChecked { handled: bool },
    /// All connections are closed or idle.
    Idle,
    /// The first process of the program ended. `survivors`: whether other processes of its tree still run.
    Exited { ended: Ended, survivors: bool },
    /// No process of the tree is left. The last event of a started generation.
    Gone,
    /// The program needs this much time from now on to start or to stop (`EXTEND_TIMEOUT_USEC`).
    ExtendTimeout { by: Duration },
    /// The program stored descriptors for the generation after it (`FDSTORE=1`).
    StoredFds,
    /// The program sent a message to its watchdog.
    Watchdog(WatchdogMessage),
    /// The result of [`GenEffect::SendReloadSignal`](super::GenEffect::SendReloadSignal). Sent exactly once for each. The
    /// signal is sent only if the program handles it; otherwise the program would die of it.
    ReloadSignalSent { signal: i32, handled: bool },
}
