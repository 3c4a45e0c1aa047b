use std::time::Duration;

use super::{Ended, GenId};

/// What a change asks for, the more thorough the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Start the program anew from the last good build.
    Restart,
    /// Build, then start.
    Build,
}

/// What the user asked for, by a key or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Build and start now, whether something changed or not.
    Reload,
    /// Let changes wait from now on.
    Pause,
    /// Act on the changes that wait, and on those to come.
    Resume,
    /// Go back to the build that was live before.
    Undo,
    /// Kill what drains.
    KillDraining,
    /// Stop everything in order, then end.
    Quit,
    /// Kill everything, then end.
    QuitNow,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildOutcome {
    /// There is something to start.
    Built,
    /// The same as [`BuildOutcome::Built`], and it is what this generation, which still runs, was started from.
    Same {
        /// The newest of which that is true.
        like: GenId,
    },
    /// The build failed, or could not be run. The driver has shown why.
    Failed,
    /// It ended because [`Effect::CancelBuild`](super::Effect::CancelBuild) asked for it.
    Cancelled,
}

/// What a program says to its watchdog (`sd_notify(3)`: `WATCHDOG`, `WATCHDOG_USEC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// It lives.
    Alive,
    /// It will say so this often from now on; zero: no more.
    Period(Duration),
    /// It wants to be taken for one that gives no sign of life.
    Trigger,
}

/// Something that happened. Events about a generation that is already gone are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// hotrun is set up; the first generation may be made.
    Begin,
    /// Watched files changed.
    Changed(Action),
    /// Files changed that the program reads again by itself, on a signal with this number.
    Configured {
        /// From 1 to 64.
        signal: i32,
    },
    /// What came of [`Effect::Signal`](super::Effect::Signal). Exactly one for each.
    Signalled {
        /// Which generation.
        id: GenId,
        /// The signal's number.
        signal: i32,
        /// Whether it was sent: a program that does not handle it would have died of it.
        handled: bool,
    },
    /// The user asked for something.
    Requested(Request),
    /// The build of this generation ended. Exactly one for each [`Effect::Build`](super::Effect::Build).
    BuildEnded {
        /// Which build.
        id: GenId,
        /// How it ended.
        outcome: BuildOutcome,
    },
    /// What this build made is put aside, and can be started again after later ones. Told before its `BuildEnded`. It is
    /// let go when [`Machine::may_return_to`](super::Machine::may_return_to) denies it and another one is put aside.
    Kept {
        /// Which build.
        id: GenId,
        /// The build of which it was put aside before: this one has left the same file in its place.
        same: Option<GenId>,
    },
    /// The program could not be started at all. [`Event::Gone`] does not follow.
    StartFailed {
        /// Which generation.
        id: GenId,
    },
    /// The generation listens on an address that the next one can share. May be told more than once.
    Listens {
        /// Which generation.
        id: GenId,
    },
    /// The generation is a server though it may listen on nothing that is known of. May be told more than once.
    Serves {
        /// Which generation.
        id: GenId,
    },
    /// The program reported readiness, or its probe succeeded.
    Ready {
        /// Which generation.
        id: GenId,
    },
    /// New connections go to this generation from now on.
    Switched {
        /// Which generation.
        id: GenId,
    },
    /// The switch was refused; the driver has shown why.
    SwitchFailed {
        /// Which generation.
        id: GenId,
    },
    /// Nothing is left in the generation's accept queues, no connection of it waits for its first byte.
    Settled {
        /// Which generation.
        id: GenId,
    },
    /// The driver has looked at the processes of the generation.
    Inspected {
        /// Which generation.
        id: GenId,
        /// Whether its program handles the stop signal, or would die of it.
        handles_stop: bool,
    },
    /// The generation's connections are closed or idle.
    Idle {
        /// Which generation.
        id: GenId,
    },
    /// The program's first process ended.
    Exited {
        /// Which generation.
        id: GenId,
        /// How.
        ended: Ended,
        /// Whether other processes of its tree still run.
        survivors: bool,
    },
    /// No process of the generation's tree is left. The last event of a started generation.
    Gone {
        /// Which generation.
        id: GenId,
    },
    /// The program asks for time: what is under way, its start or its end, may still take this long from now on.
    Extended {
        /// Which generation.
        id: GenId,
        /// How long.
        by: Duration,
    },
    /// The program gave away descriptors that are meant for the generation after it.
    Stores {
        /// Which generation.
        id: GenId,
    },
    /// The program has said something to its watchdog.
    Watchdog {
        /// Which generation.
        id: GenId,
        /// What.
        sign: Sign,
    },
    /// Time passed: [`Machine::deadline`](super::Machine::deadline) was reached.
    Tick,
}
