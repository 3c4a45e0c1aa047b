//! The rules that are checked on every step, and how often each one was checked.

/// The rules. Those with a number are the invariants in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// 1. At most one generation is building, at most one is starting, and at most one is live.
    OneOfEach,
    /// 2. A live generation is stopped, aborted or killed only after another one has become live, on quit, in
    ///    stop-first mode, or because its watchdog fired.
    LiveIsLeftAlone,
    /// 3. No generation is started from sources older than the last change seen.
    NewestSources,
    /// 4. A broken build, a crash before ready and a readiness timeout leave the live generation untouched.
    FailureSparesLive,
    /// 5. A stale event changes nothing.
    StaleChangesNothing,
    /// 6. Draining is bounded.
    DrainIsBounded,
    /// 7. No change is forgotten.
    NothingForgotten,
    /// 8. Quitting finishes exactly once.
    OneFinish,
    /// 11. Crashes alone lead to at most two starts.
    NoLoop,
    /// The paths of the live program's own unix sockets are kept before another generation can remove them, and restored
    /// while one is ending and when it is gone, but never while one is starting.
    OwnPaths,
    /// Effects and notices are produced only when they are allowed, in the order that the driver relies on.
    Protocol,
    /// A generation that is ready gets its share beside the live one step by step, each after a check that succeeds or at
    /// the user's request. It leaves the pool if a check fails, and takes all if the live one ends or fails.
    Shares,
    /// New connections always reach a live generation, or wait for the next one.
    Steering,
    /// New connections wait although a generation is live only if a newer one is being built or started, or may be about
    /// to be, and not for too long.
    NewWait,
}

impl Rule {
    pub(super) const ALL: [Self; 14] = [
        Self::OneOfEach,
        Self::LiveIsLeftAlone,
        Self::NewestSources,
        Self::FailureSparesLive,
        Self::StaleChangesNothing,
        Self::DrainIsBounded,
        Self::NothingForgotten,
        Self::OneFinish,
        Self::NoLoop,
        Self::OwnPaths,
        Self::Protocol,
        Self::Shares,
        Self::Steering,
        Self::NewWait,
    ];
}

/// How often each rule was checked, and which ones were broken.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    checked: [u64; Rule::ALL.len()],
    broken: Vec<(Rule, String)>,
    most_starts: u8,
}

impl Ledger {
    pub(super) fn check(&mut self, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        self.checked[rule as usize] += 1;
        if !holds {
            self.broken.push((rule, what()));
        }
    }

    pub(super) const fn checked(&self, rule: Rule) -> u64 {
        self.checked[rule as usize]
    }

    /// Records how many consecutive starts were caused by crashes alone. Only the highest number counts.
    pub(super) fn note_starts(&mut self, own: u8) {
        self.most_starts = self.most_starts.max(own);
    }

    pub(super) const fn most_starts(&self) -> u8 {
        self.most_starts
    }

    pub(super) fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    /// Returns and forgets the rules that were broken.
    pub(super) fn take_broken(&mut self) -> Vec<(Rule, String)> {
        std::mem::take(&mut self.broken)
    }
}
