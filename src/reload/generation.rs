use std::fmt;

/// The number of a generation: one build result and the process tree started from it.
///
/// Numbers start at 1 and are never used twice, so an answer that arrives late can be told from one
/// that is expected. A build that fails or is cancelled uses up its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenId(u32);

impl GenId {
    /// The first generation.
    pub const FIRST: Self = Self(1);

    /// The generation with this number; numbers start at 1.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself, as it is shown and as the program finds it in `HOTRUN_GENERATION`.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// What was known by the number of an earlier build is known by this one's.
    pub(super) fn is_now(&mut self, earlier: Self, id: Self) {
        if *self == earlier {
            *self = id;
        }
    }
}

impl fmt::Display for GenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::GenId;

    #[test]
    fn numbers_are_shown_as_they_are_counted() {
        let second = GenId::FIRST.next();
        assert_eq!((second.get(), second.to_string()), (2, "2".into()));
        assert_eq!(second, GenId::new(2));
    }
}
