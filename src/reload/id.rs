use std::fmt;

/// The number of a generation: one build result and the process tree started from it.
///
/// Numbers start at 1 and are never reused, so a late event can be told apart from an expected one. A build that fails
/// or is cancelled uses up its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenId(u32);

impl GenId {
    /// The first generation.
    pub const FIRST: Self = Self(1);

    /// The generation with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, as users see it and as the program finds it in `HOTRUN_GENERATION`.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for GenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an artifact: what a build made and a generation is started from.
///
/// Two builds that leave the same executable in place have made the same artifact. Without a build there is a single
/// artifact, [`ArtifactId::FIRST`]: the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId(u32);

impl ArtifactId {
    /// What the first good build made, or the command if nothing is built.
    pub const FIRST: Self = Self(1);

    /// The artifact with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The artifact after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

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
