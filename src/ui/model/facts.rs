use std::time::Duration;

use crate::reload::{Failure, GenId, Phase};

/// What is known of a generation that is not gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Where it is in its life.
    pub phase: Phase,
    /// When it came there, on the clock of the user interface.
    pub since: Duration,
    /// The name of the program, once it is started.
    pub program: String,
    /// The program's pid, once it is started.
    pub pid: Option<i32>,
    /// How long after its start it was ready.
    pub ready: Option<Duration>,
    /// When it became live, if it did.
    pub served: Option<Duration>,
    /// How long it may drain.
    pub drain: Option<Duration>,
    /// What it says that it does; empty if it says nothing.
    pub status: String,
    /// Where it listens with sockets that it has opened by itself.
    pub addresses: Vec<String>,
    /// How many connections it has, as far as that is known.
    pub connections: Option<usize>,
    /// Whether it failed or was given up, and only its processes are left.
    pub failed: bool,
    /// Whether it is being killed.
    pub killed: bool,
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Building {
    /// Of this generation.
    pub id: GenId,
    /// When it began, on the clock of the user interface.
    pub since: Duration,
    /// How many crates are done, and of how many.
    pub progress: Option<(usize, usize)>,
    /// Whether another cargo has to end first.
    pub blocked: bool,
}

/// What is wrong, until something is right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The generation that failed.
    pub id: GenId,
    /// How.
    pub failure: Failure,
    /// The first errors of its build, as the compiler renders them.
    pub errors: Vec<String>,
    /// How many errors there were.
    pub count: usize,
}

/// What became of the last change that came to something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// How long the build took, if there was one.
    pub built: Option<Duration>,
    /// How long the program took to be ready.
    pub ready: Option<Duration>,
    /// How many warnings the build had.
    pub warnings: usize,
    /// Whether it made what runs already.
    pub unchanged: bool,
}
