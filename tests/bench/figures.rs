//! Summaries of durations.

use std::fmt;
use std::time::Duration;

/// Measured durations, sorted.
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        assert!(!durations.is_empty(), "nothing was measured");
        durations.sort_unstable();
        Self(durations)
    }

    pub(crate) fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            return self.0[middle];
        }
        (self.0[middle - 1] + self.0[middle]) / 2
    }

    pub(crate) fn worst(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, median, best, worst) = (self.0.len(), self.median(), self.0[0], self.worst());
        write!(
            f,
            "median {median:.2?} of {count} ({best:.2?} to {worst:.2?})"
        )
    }
}
