use std::time::Duration;

/// A moment, as the time that has passed since hotrun started.
///
/// The core has no clock: whoever hands it an event says when it happened.
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

    /// This moment and `duration` more. Saturates, so "for ever" can be written as `Duration::MAX`.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// In which order the old generation leaves and the new one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The new generation starts beside the old one, which is asked to drain after the switch.
    Overlap,
    /// The old generation ends before the new one starts; connections wait in between.
    StopFirst,
    /// Beside an old one that listens, after one that does not: a program without a socket of its own may not bear
    /// company, and nobody waits for it.
    Auto,
}

/// What a change does that arrives while a build runs or a generation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenBusy {
    /// What runs is given up at once for the newer sources.
    Cancel,
    /// What runs comes to its end first.
    Queue,
}

/// All that the user can choose of the core's behaviour. Times are wall-clock durations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Whether a change needs a build before the start (cargo mode, `--build`), or just a start.
    pub builds: bool,
    /// Overlap or stop first.
    pub mode: Mode,
    /// Whether sockets are passed to the program: it is a server then, whatever comes to light of its own.
    pub passes_sockets: bool,
    /// What a change does to work under way.
    pub when_busy: WhenBusy,
    /// How long a generation may take from its start to its readiness.
    pub ready_timeout: Duration,
    /// How long a draining generation may take before it is killed.
    pub stop_timeout: Duration,
    /// The least time between the switch and the stop signal.
    pub stop_delay_min: Duration,
    /// The most time between the switch and the stop signal (for a program that handles it).
    pub stop_delay_max: Duration,
    /// How often a program that serves has to give a sign of life, if it says nothing else itself.
    pub watchdog: Option<Duration>,
    /// How long after its switch a crash of the live generation is blamed on its build, so that the one before
    /// it comes back. Zero: nothing follows from a crash, soon or late.
    pub roll_back_within: Duration,
    /// How long a killed process tree may take to vanish before hotrun ends without it.
    pub kill_timeout: Duration,
}

impl Policy {
    /// The most time to settle in this mode.
    pub const fn stop_delay_max(mode: Mode) -> Duration {
        match mode {
            // It costs nothing but that the old one stays a little longer.
            Mode::Overlap | Mode::Auto => Duration::from_millis(2500),
            // Nobody serves meanwhile.
            Mode::StopFirst => Duration::from_millis(250),
        }
    }

    /// Whether another generation may be started beside one that listens, or does not.
    pub(super) fn may_overlap(&self, listens: bool) -> bool {
        match self.mode {
            Mode::Overlap => true,
            Mode::StopFirst => false,
            Mode::Auto => listens,
        }
    }

    /// How long a program may clean up that gets the stop signal only at the drain timeout, because it did not
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
            roll_back_within: Duration::from_secs(10),
            kill_timeout: Duration::from_secs(5),
        }
    }
}
