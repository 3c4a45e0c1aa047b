use std::fmt;

/// The number of a generation, which is one build result and the process tree started from it.
///
/// Numbers start at 1 and are never reused, so that a late event cannot be taken for a current one. Builds that fail or
/// are cancelled also use up a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenId(u32);

impl GenId {
    /// The first generation.
    pub const FIRST: Self = Self(1);

    /// The generation with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, as shown to users and passed to the program in `HOTRUN_GENERATION`.
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

/// The number of an artifact, which a build produces and a generation is started from.
///
/// A build that leaves the executable unchanged produces the same artifact as before. Without a build, the command is
/// the only artifact, [`ArtifactId::FIRST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId(u32);

impl ArtifactId {
    /// The artifact of the first successful build, or the command if nothing is built.
    pub const FIRST: Self = Self(1);

    /// The artifact with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The artifact after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The phases of a generation, in order. From each phase, a generation may go straight to [`Phase::Gone`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The generation is being built.
    #[default]
    Building,
    /// The program was started and is not ready yet.
    Starting,
    /// The program is ready, and the switch to it is in progress.
    Ready,
    /// New connections go to the generation.
    Live,
    /// The generation gets no new connections: it is finishing those that it has, or is being stopped.
    Draining,
    /// The generation has no processes left.
    Gone,
}

impl Phase {
    /// Whether the generation is live or about to go live.
    pub const fn stays(self) -> bool {
        match self {
            Self::Starting | Self::Ready | Self::Live => true,
            Self::Building | Self::Draining | Self::Gone => false,
        }
    }
}
