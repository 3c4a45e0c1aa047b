use std::time::Duration;

use super::ShareSteps;

/// A point in time, measured from the start of hotrun or, for the table of sockets, of its thread.
///
/// The cores have no clock: their callers pass in the time of each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

impl Time {
    /// The time at which hotrun started.
    pub const START: Self = Self(Duration::ZERO);

    /// The duration since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This time plus the duration. Saturates, so `Duration::MAX` means "never".
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
    /// The old generation ends before the new one starts; connections wait in the meantime.
    StopFirst,
    /// Like `Overlap` if the old generation listens, otherwise like `StopFirst`: a program without a listener may not
    /// tolerate a second instance, and no client is waiting for it.
    Auto,
}

/// What happens if files change while a build is running or a generation is starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenBusy {
    /// The build is cancelled, or the starting generation stopped, to make way for the newer sources.
    Cancel,
    /// The build or the start finishes first.
    Queue,
}

/// What happens to new connections from a change on, until the generation that it causes is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fresh {
    /// They go to the live generation.
    Off,
    /// They wait. If the generation fails, they go to the live one.
    Wait,
    /// They wait. If the generation fails, they get an error response.
    Strict,
}

/// The machine's settings. Most of them come from the command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Whether there is a build (cargo mode, `--build`). If not, a change only restarts the program.
    pub builds: bool,
    /// Whether generations overlap.
    pub mode: Mode,
    /// Whether hotrun passes sockets to the program, which is a server in that case.
    pub passes_sockets: bool,
    /// What happens to work in progress when files change.
    pub when_busy: WhenBusy,
    /// What happens to new connections from a change on.
    pub fresh: Fresh,
    /// The shares of new connections that a new generation gets before it goes live. Ignored if no other one is live.
    pub share: ShareSteps,
    /// How long each step takes. `None`: the user takes every step after the first.
    pub share_every: Option<Duration>,
    /// Whether a step needs a check that succeeds.
    pub share_check: bool,
    /// The time limit from the start to readiness, and for connections that wait from a change on.
    pub ready_timeout: Duration,
    /// The time limit for draining, after which the generation is killed.
    pub stop_timeout: Duration,
    /// How long the old generation may take to accept the connections in its queues.
    pub stop_delay_max: Duration,
    /// How often a live program must ping its watchdog, unless it sets its own period.
    pub watchdog: Option<Duration>,
    /// If the live generation crashes within this time after its switch, hotrun blames its artifact and rolls back. Zero:
    /// hotrun does not react to crashes.
    pub rollback_within: Duration,
    /// How long a generation that was replaced stays as it is, so that hotrun can switch back to it. Zero: not at all.
    pub keep: Duration,
    /// How long hotrun waits for killed processes to vanish before it exits anyway.
    pub kill_timeout: Duration,
}

impl Policy {
    /// How long the old generation may take to accept the connections in its queues, in this mode.
    pub const fn stop_delay_max(mode: Mode) -> Duration {
        match mode {
            // A long delay only keeps the old generation running a little longer.
            Mode::Overlap | Mode::Auto => Duration::from_millis(2500),
            // No generation is live during the delay.
            Mode::StopFirst => Duration::from_millis(250),
        }
    }

    /// How long hotrun delays the stop signal for requests in progress if the program handles the signal. What remains
    /// of the stop timeout is for programs that shut down gracefully. By default that is 6 s, because many of them
    /// allow 5 s for connections that do not end on their own, such as WebSockets (the default of http-terminator and
    /// ory/graceful, and the usual value in Go). `live`: whether another generation is live. If not, new connections
    /// wait in the meantime.
    pub(super) fn longest_wait_for_idle(&self, live: bool) -> Duration {
        match live {
            true => self.stop_timeout * 2 / 5,
            false => self.stop_timeout / 5,
        }
    }

    /// How long hotrun delays the stop signal for requests in progress when it quits. The rest of the stop timeout is
    /// for the program to clean up.
    pub(super) fn longest_wait_on_quit(&self) -> Duration {
        self.stop_timeout * 4 / 5
    }

    /// How long a program may clean up if it gets the stop signal only at the stop timeout, because it did not seem to
    /// handle the signal.
    pub(super) fn late_grace(&self) -> Duration {
        self.stop_timeout.min(Duration::from_secs(2))
    }
}

/// The policy of cargo mode with `--listen` and no other option.
impl Default for Policy {
    fn default() -> Self {
        Self {
            builds: true,
            mode: Mode::Overlap,
            passes_sockets: true,
            when_busy: WhenBusy::Cancel,
            fresh: Fresh::Off,
            share: ShareSteps::default(),
            share_every: None,
            share_check: false,
            ready_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
            stop_delay_max: Self::stop_delay_max(Mode::Overlap),
            watchdog: None,
            rollback_within: Duration::from_secs(10),
            keep: Duration::ZERO,
            kill_timeout: Duration::from_secs(5),
        }
    }
}
