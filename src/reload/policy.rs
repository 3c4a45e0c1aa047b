use std::time::Duration;

/// A moment, as the time that has passed since hotrun started.
///
/// The core has no clock: the driver passes the time of each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The moment at which hotrun started.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment this long after the start.
    pub const fn after_start(passed: Duration) -> Self {
        Self(passed)
    }

    /// How long after the start this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `duration` later. Saturates, so `Duration::MAX` means "never".
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Whether the old generation and the new one may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The new generation starts beside the old one, which drains after the switch.
    Overlap,
    /// The old generation ends before the new one starts; connections wait in between.
    StopFirst,
    /// Overlap if the old generation listens, stop it first if it does not: a program without a listener may not
    /// tolerate a second instance, and no client waits for it.
    Auto,
}

/// What happens if files change while a build runs or a generation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenBusy {
    /// The build or the starting generation is given up for the newer sources.
    Cancel,
    /// The build or the start finishes first.
    Queue,
}

/// Everything about the machine that the user can choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Whether there is a build (cargo mode, `--build`). Otherwise a change just restarts the program.
    pub builds: bool,
    /// Whether generations overlap.
    pub mode: Mode,
    /// Whether hotrun passes sockets to the program. If so, it is a server.
    pub passes_sockets: bool,
    /// What happens to work in progress when files change.
    pub when_busy: WhenBusy,
    /// The time limit from start to readiness.
    pub ready_timeout: Duration,
    /// The time limit for draining; after it, the generation is killed.
    pub stop_timeout: Duration,
    /// The least time between the switch and the stop signal.
    pub stop_delay_min: Duration,
    /// The most time between the switch and the stop signal (for a program that handles it).
    pub stop_delay_max: Duration,
    /// How often a live program must ping its watchdog, unless it sets a period of its own.
    pub watchdog: Option<Duration>,
    /// How long after its switch a crash of the live generation is blamed on its artifact, so that hotrun rolls back.
    /// Zero: hotrun does nothing about any crash.
    pub rollback_within: Duration,
    /// How long hotrun waits for killed processes to vanish before it ends anyway.
    pub kill_timeout: Duration,
}

impl Policy {
    /// The most time between the switch and the stop signal in this mode.
    pub const fn stop_delay_max(mode: Mode) -> Duration {
        match mode {
            // The only cost is that the old generation stays a little longer.
            Mode::Overlap | Mode::Auto => Duration::from_millis(2500),
            // No generation is live during this time.
            Mode::StopFirst => Duration::from_millis(250),
        }
    }

    /// Whether another generation may be started beside one that listens or does not listen.
    pub(super) fn may_overlap(&self, listens: bool) -> bool {
        match self.mode {
            Mode::Overlap => true,
            Mode::StopFirst => false,
            Mode::Auto => listens,
        }
    }

    /// How long a program may clean up after a stop signal that it gets only at the drain timeout, because it did not
    /// seem to handle it.
    pub(super) fn late_grace(&self) -> Duration {
        self.stop_timeout.min(Duration::from_secs(2))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            builds: true,
            mode: Mode::Overlap,
            passes_sockets: true,
            when_busy: WhenBusy::Cancel,
            ready_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
            stop_delay_min: Duration::from_millis(20),
            stop_delay_max: Self::stop_delay_max(Mode::Overlap),
            watchdog: None,
            rollback_within: Duration::from_secs(10),
            kill_timeout: Duration::from_secs(5),
        }
    }
}
