use std::fmt;

/// The number of a generation, which is one build or start and the process tree that comes from it.
///
/// Numbers start at 1 and are never reused, so that a late event cannot be taken for a current one. Builds that fail or
/// are cancelled also use up a number. Users see the number, and the program gets it in `HOTRUN_GENERATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenId(pub u32);

impl GenId {
    /// The first generation.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for GenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an artifact, which a build produces and a generation is started from: that of the generation that was
/// built.
///
/// A build that leaves the executable unchanged produces the same artifact as before. Without a build, the command is
/// the only artifact, [`ArtifactId::FIRST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId(pub u32);

impl ArtifactId {
    /// The artifact of the first build, or the command if nothing is built.
    pub const FIRST: Self = Self(1);
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
    /// A share of the new connections goes to the generation, or is about to. The others go to the live one.
    Sharing,
    /// New connections go to the generation.
    Live,
    /// The generation gets no new connections, but stays as it is for a while, because it may go live again.
    Kept,
    /// The generation gets no new connections: it is finishing those that it has, or is being stopped.
    Draining,
    /// The generation has no processes left.
    Gone,
}
