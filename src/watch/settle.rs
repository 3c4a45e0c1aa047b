use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest that a change is kept back because of others that go on arriving: a program that writes
/// to a watched file all the time must not hold up everything else.
const LONGEST: Duration = Duration::from_secs(2);

/// Collects paths until nothing has happened for a while. Has no clock: it is told the time.
#[derive(Debug)]
pub(super) struct Settle {
    quiet: Duration,
    paths: BTreeSet<PathBuf>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Settle {
    pub(super) const fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            paths: BTreeSet::new(),
            first: None,
            last: None,
        }
    }

    /// Something may have happened at `path`.
    pub(super) fn touch(&mut self, path: PathBuf, now: Instant) {
        self.paths.insert(path);
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When to ask for what has settled; `None` while there is nothing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let quiet = self.last? + self.quiet;
        Some(quiet.min(self.first? + self.quiet.max(LONGEST)))
    }

    /// What has settled, if it has.
    pub(super) fn take(&mut self, now: Instant) -> Option<BTreeSet<PathBuf>> {
        let settled = self.deadline().is_some_and(|deadline| deadline <= now);
        settled.then(|| {
            self.first = None;
            self.last = None;
            mem::take(&mut self.paths)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(20);

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn it_settles_after_the_last_touch() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut settle = Settle::new(QUIET);
        assert_eq!((settle.deadline(), settle.take(start)), (None, None));
        settle.touch("b".into(), start);
        settle.touch("a".into(), after(15));
        assert_eq!(settle.deadline(), Some(after(35)));
        assert_eq!(settle.take(after(34)), None);
        assert_eq!(settle.take(after(35)), Some(paths(&["a", "b"])));
        assert_eq!((settle.deadline(), settle.take(after(99))), (None, None));
    }

    #[test]
    fn a_file_that_never_rests_does_not_hold_up_the_others() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        let mut now = start;
        while now < start + LONGEST {
            assert_eq!(settle.take(now), None, "{:?}", now - start);
            settle.touch("log".into(), now);
            now += Duration::from_millis(10);
        }
        assert_eq!(settle.take(now), Some(paths(&["log"])));
    }

    #[test]
    fn a_long_debounce_is_respected() {
        let start = Instant::now();
        let mut settle = Settle::new(LONGEST * 2);
        settle.touch("a".into(), start);
        assert_eq!(settle.deadline(), Some(start + LONGEST * 2));
    }
}
