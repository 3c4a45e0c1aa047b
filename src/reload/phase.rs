use std::fmt;

/// The phases of a generation, in order. A generation may skip from each of them to [`Phase::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It is being built.
    Building,
    /// Its program was started and is not ready yet.
    Starting,
    /// It is ready, and the switch to it is under way.
    Ready,
    /// New connections go to it.
    Live,
    /// Another generation is live, or hotrun quits; it finishes its connections.
    Draining,
    /// None of its processes is left.
    Gone,
}

impl Phase {
    /// Whether it is live or on its way to be.
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
