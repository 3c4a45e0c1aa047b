use std::fmt;

/// Where a generation is in its life. Every generation passes through these in order, and may leave
/// for [`Phase::Gone`] from each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its build runs.
    Building,
    /// Its process was started and has not reported readiness.
    Starting,
    /// It is ready, the switch to it was asked for and is not confirmed.
    Ready,
    /// New connections go to it.
    Live,
    /// Another one is live (or hotrun quits); it finishes what it has.
    Draining,
    /// Its process tree has ended.
    Gone,
}

impl Phase {
    /// Whether it serves, or will if nothing comes in its way.
    pub const fn stays(self) -> bool {
        match self {
            Self::Starting | Self::Ready | Self::Live => true,
            Self::Building | Self::Draining | Self::Gone => false,
        }
    }
}

/// How the program of a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// It called `exit` with this status.
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
