use super::{Failure, GenId};

/// Something that the driver must do. Long work answers with an [`Event`](super::Event).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Begin the build; answers with `BuildEnded`.
    Build {
        /// Which generation.
        id: GenId,
    },
    /// Make a running build end; it still answers with `BuildEnded`.
    CancelBuild {
        /// Which generation.
        id: GenId,
    },
    /// Start the program of this generation from the newest good build and wait for its readiness;
    /// answers with `StartFailed`, or with `Ready`, `Exited`, `Gone`.
    Start {
        /// Which generation.
        id: GenId,
    },
    /// The same from what was put aside of an earlier build.
    StartAgain {
        /// Which generation.
        id: GenId,
        /// Which build.
        build: GenId,
    },
    /// Send new connections to this generation; answers with `Switched` or `SwitchFailed`. Given for the live
    /// generation too, when the one that was to follow it has ended in the middle of its switch; and for one
    /// that had begun to leave and was not asked to end yet, when the one after it has crashed: if that is refused, it
    /// has shut its sockets, and goes on leaving.
    Switch {
        /// Which generation.
        id: GenId,
    },
    /// No generation serves: new connections wait for the one that is starting, or else for the one that
    /// starts next. A generation that is being relayed is neither.
    Hold,
    /// Nothing serves, and nothing will until somebody edits a file or asks for it: those who wait may be told so.
    Answer {
        /// The generation whose failure it was.
        id: GenId,
        /// How it failed.
        failure: Failure,
    },
    /// Something is on its way again: whoever comes waits for it. Given once after each [`Effect::Answer`] that was not the
    /// last, before anything is built or started.
    AnswerNoMore,
    /// Send the live generation this signal, on which it reads its configuration again, if it handles it; answers
    /// with `Signalled`.
    Signal {
        /// Which generation.
        id: GenId,
        /// The signal's number.
        signal: i32,
    },
    /// Watch for the old generation to have taken what is its own; answers with `Settled`.
    Settle {
        /// Which generation.
        id: GenId,
    },
    /// Find out whether the program handles the stop signal; answers with `Inspected`.
    Inspect {
        /// Which generation.
        id: GenId,
    },
    /// Watch for the generation's connections to end or fall idle; answers with `Idle`.
    AwaitIdle {
        /// Which generation.
        id: GenId,
    },
    /// Carry what still arrives at this generation's sockets to the live one; while none is live, keep it
    /// waiting. Given once for each started generation, before it is stopped, killed or released; on quit only
    /// for those that were leaving already.
    Relay {
        /// Which generation.
        id: GenId,
    },
    /// Send the stop signal. At most once for each generation.
    Stop {
        /// Which generation.
        id: GenId,
    },
    /// Make the program end as one that hangs (`SIGABRT`): it gave no sign of life. What is left of it is killed later.
    Abort {
        /// Which generation.
        id: GenId,
    },
    /// Kill the whole process tree.
    Kill {
        /// Which generation.
        id: GenId,
    },
    /// The generation is gone: close what was kept for it as soon as that is safe.
    Release {
        /// Which generation.
        id: GenId,
    },
    /// End hotrun. The last effect, given once.
    Finish {
        /// Whether every program ended as it was asked to.
        clean: bool,
    },
}
