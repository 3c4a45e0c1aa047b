//! Effects: what the driver must do.
#![allow(missing_docs, reason = "the doc of a variant covers its fields")]

use std::time::Duration;

use super::{ArtifactId, GenFailure, GenId};

/// Something that the driver must do. Effects that take time report back with an [`Event`](super::Event).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Hold new connections, because no generation is live. They wait for the generation that is starting. If there is
    /// none, or hotrun already forwards its connections, they wait for the next one that starts.
    Hold,
    /// Hold new connections although a generation is live, because a newer one is about to be built or started. Ends with
    /// [`Effect::StopHolding`].
    HoldNew,
    /// Send new connections, and those that wait because of [`Effect::HoldNew`], to the live generation again or, if there
    /// is none, hold them as after [`Effect::Hold`].
    StopHolding,
    /// Respond to waiting clients with an error that says how the generation `id` failed: no generation is live, and none
    /// will be until a file changes or the user acts. Also requested while a generation is live and new connections are
    /// held ([`Fresh::Strict`](super::Fresh)).
    RespondUnavailable { id: GenId, failure: GenFailure },
    /// Stop responding and hold new connections again, because a generation is about to be built or started. Follows
    /// [`Effect::RespondUnavailable`], which may be repeated with another reason before, except possibly the last one.
    StopResponding,
    /// Measure the memory, because a generation is about to be started while another one is kept. Reports
    /// [`Event::MemoryMeasured`](super::Event::MemoryMeasured).
    MeasureMemory,
    /// Do something to one generation.
    Generation(GenId, GenEffect),
    /// Exit. This is the last effect, and is requested once. `clean`: whether everything has ended and nothing exceeded
    /// its time limit.
    Finish { clean: bool },
}

/// Something that the driver must do to one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenEffect {
    /// Start a build. Reports `BuildEnded`.
    Build,
    /// Cancel the running build, which still reports `BuildEnded`.
    CancelBuild,
    /// Start the newest artifact or a kept one, and wait until the program is ready. Reports `StartFailed`, or `Ready`,
    /// `Exited` and `Gone`.
    Start { artifact: ArtifactId },
    /// Send new connections to this generation. Reports `Switched` or `SwitchFailed`.
    ///
    /// Also requested for the live generation if its successor ended during the switch, and for a draining generation
    /// that has not been asked to stop if its successor crashed or the user has undone it. The driver refuses the
    /// latter if the generation's sockets are already shut down. The generation then continues to drain.
    Switch,
    /// Send this percentage of new connections to a ready generation beside the live one. Reports `ShareFailed` if that
    /// is refused. Zero: send it none any longer; if that fails, the driver retries it.
    Share { percent: u8 },
    /// Run the check of a generation that has a share or is about to get one. Reports `ShareChecked`, in bounded time.
    CheckShare,
    /// Send the live generation the signal that makes it reload its configuration, if it handles that signal. Reports
    /// `ReloadSignalSent`.
    SendReloadSignal { signal: i32 },
    /// Leave the old generation as it is: it may go live again. Ends its liveness checks.
    Keep,
    /// Wait until the old generation has accepted the connections in its queues. Reports `Quiescent`.
    AwaitQuiescent,
    /// Wait until the connections are closed or idle. Reports `HandlesStopSignal` if the program does, then `Idle`.
    /// On quit, also requested for a live server, which keeps getting connections. `pause`: if the program does not
    /// handle the signal, how long a response may pause before it counts as complete. `None`: the default of the
    /// monitor. The driver ignores `pause` if the program handles the signal.
    AwaitIdle { pause: Option<Duration> },
    /// Forward connections that still arrive at this generation's sockets to the live generation, and hold them while
    /// none is live. Requested for each started generation before it is stopped, killed or released; may be repeated.
    /// On quit, requested only for generations that are already draining.
    Forward,
    /// Prepare to restore the paths of the program's own unix sockets. Requested for the live generation before another
    /// one can remove them; may be repeated.
    KeepPaths,
    /// Restore the paths of the program's own unix sockets that another generation has removed. Requested for the live
    /// generation, repeatedly while another one is ending, and never while one is starting.
    RestorePaths,
    /// Send the stop signal. Requested at most once for each generation.
    Stop,
    /// Abort a hung program (`SIGABRT`). The rest of its tree is killed later.
    Abort,
    /// Kill the generation's whole process tree.
    Kill,
    /// Close everything that belongs to this generation as soon as that is safe, because it is gone.
    Release,
}
