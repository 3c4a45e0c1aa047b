//! Events: what the driver reports to the machine.
#![allow(missing_docs, reason = "the doc of a variant covers its fields")]

use std::fmt;
use std::time::Duration;

use super::{ArtifactId, GenId};

/// What a change requires. `Build` is greater than `Restart`, because a build includes a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Restart the program from the last successful build.
    Restart,
    /// Build, then start.
    Build,
}

/// What the user asked for with a key or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Build and restart now, even if nothing has changed.
    Reload,
    /// Hold back changes from now on.
    Pause,
    /// Act on the changes that were held back, and on later ones as usual.
    Resume,
    /// Cancel the reload in progress. If there is none, switch back to the kept generation or roll back to the artifact
    /// that was live before.
    Undo,
    /// Take the next step of `--share`.
    ShareMore,
    /// Return to the previous step of `--share`.
    ShareLess,
    /// Give the generation that has a share all new connections.
    ShareAll,
    /// Drain the kept generation now. If there is none, kill the draining ones.
    KillDraining,
    /// Stop everything gracefully, then exit.
    Quit,
    /// Kill everything, then exit.
    QuitNow,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildOutcome {
    /// The build succeeded. The artifact may be the same as before: the executable is unchanged, but its arguments,
    /// environment or generated files may differ. If the artifact is `kept`, it can be started even after a later build
    /// has produced another one.
    Built { artifact: ArtifactId, kept: bool },
    /// The build produced exactly what `like` was started from. `like` is the newest such generation, and is starting
    /// or live.
    Unchanged { like: GenId },
    /// The build failed or could not be run. The driver has reported why.
    Failed,
    /// The build was cancelled by [`GenEffect::CancelBuild`](super::GenEffect::CancelBuild).
    Cancelled,
}

/// How a generation's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// The program exited with this status.
    Code(i32),
    /// The signal with this number killed the program.
    Signal(i32),
}

impl Ended {
    /// Whether the program exited with status 0.
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

/// A program's message to its watchdog (`sd_notify(3)`: `WATCHDOG`, `WATCHDOG_USEC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchdogMessage {
    /// `WATCHDOG=1`: the program is alive.
    Ping,
    /// `WATCHDOG_USEC=…`: from now on, the program must ping this often. Zero turns the watchdog off.
    Period(Duration),
    /// `WATCHDOG=trigger`: treat the program as hung.
    Trigger,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// hotrun has been set up, and can build the first generation.
    Begin,
    /// A file was touched that may lead to a build or a start. Whether anything has changed is not known yet. May be
    /// repeated. Sent only with [`Fresh::Wait`](super::Fresh) or [`Fresh::Strict`](super::Fresh).
    ChangeSeen,
    /// The changes of all files that were touched have been reported, if there were any.
    ChangesSettled,
    /// Watched files changed.
    Changed(Action),
    /// Files changed that the program reloads when it gets the signal with this number (1 to 64).
    ConfigChanged { signal: i32 },
    /// The user pressed a key or sent a signal.
    Requested(Request),
    /// The result of [`Effect::MeasureMemory`](super::Effect::MeasureMemory): how much memory is available, and how much the
    /// live generation uses, so that the next one may need as much. In bytes.
    MemoryMeasured { available: u64, needed: u64 },
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
    /// hotrun will see which files the program writes, so changes that the program makes do not count. Sent at once for
    /// [`GenEffect::Start`](super::GenEffect::Start), or not at all.
    ReportsWrites,
    /// The program could not be started. No [`Gone`](GenEvent::Gone) follows.
    StartFailed,
    /// The program listens on an address that the next generation can share. May be repeated.
    Listening,
    /// The program is a server, even if none of its listeners is known. May be repeated.
    IsServer,
    /// The program listens on a unix socket that it has bound to a path itself. May be repeated.
    ListensOnPath,
    /// The program is ready: its readiness check and its warm-up have succeeded.
    Ready,
    /// The warm-up of the program, which is starting, has failed. The driver has reported why.
    WarmUpFailed,
    /// Whether the program now lacks nothing but addresses that the live generation listens on. If so at the ready
    /// timeout, the program is taken to have moved to other addresses, and counts as ready. May be repeated.
    LacksAddresses { otherwise_ready: bool },
    /// New connections go to this generation from now on.
    Switched,
    /// The switch was refused. The driver has reported why.
    SwitchFailed,
    /// The share was refused. The driver has reported why.
    ShareFailed,
    /// The result of [`GenEffect::CheckShare`](super::GenEffect::CheckShare), sent exactly once for each, unless the
    /// generation ends before. The driver has reported a failure.
    ShareChecked { passed: bool },
    /// The accept queues are empty, and no accepted connection is waiting for its first byte.
    Quiescent,
    /// The program handles the stop signal, which would kill it otherwise. Sent at once for
    /// [`GenEffect::AwaitIdle`](super::GenEffect::AwaitIdle).
    HandlesStopSignal,
    /// All connections are closed or idle.
    Idle,
    /// The program's first process ended. `survivors`: whether other processes of its tree are still running.
    Exited { ended: Ended, survivors: bool },
    /// No process of the generation's tree is left. This is the last event of a started generation. `in_use`: how many
    /// of its connections were in use at the last check, if that is known.
    Gone { in_use: Option<u32> },
    /// From now on, the program needs this much time to start or to stop (`EXTEND_TIMEOUT_USEC`).
    ExtendTimeout { by: Duration },
    /// The program stored descriptors for the next generation (`FDSTORE=1`). Not sent for sealed memfds: they cannot change
    /// any more, so the next generation may start beside this one.
    StoredFds,
    /// The program sent a message to its watchdog.
    Watchdog(WatchdogMessage),
    /// The generation's liveness check has failed as often in a row as it may (`alive: false`), or succeeds again.
    Liveness { alive: bool },
    /// The result of [`GenEffect::SendReloadSignal`](super::GenEffect::SendReloadSignal), sent exactly once for each.
    /// The signal is sent only if the program handles it; otherwise the signal would kill the program.
    ReloadSignalSent { signal: i32, handled: bool },
}
