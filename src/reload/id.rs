use std::fmt;

/// The number of a generation: one build result and the process tree started from it.
///
/// Numbers start at 1 and are never reused, so a late event can be told apart from an expected one. A build that
/// fails or is cancelled uses up its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenId(u32);

impl GenId {
    /// The first generation.
    pub const FIRST: Self = Self(1);

    /// The generation with this number; numbers start at 1.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself, as users see it and as the program finds it in `HOTRUN_GENERATION`.
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
        write!(f, "{}", self.0)
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

    /// The artifact with this number; numbers start at 1.
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

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ArtifactId, GenId};

    #[test]
    fn ids_count_from_one() {
        let second = GenId::FIRST.next();
        assert_eq!((second.get(), second.to_string()), (2, "2".into()));
        assert_eq!(second, GenId::new(2));
        let second = ArtifactId::FIRST.next();
        assert_eq!((second.get(), second.to_string()), (2, "a2".into()));
    }
}
