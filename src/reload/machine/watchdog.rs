use std::time::Duration;

use crate::reload::Time;

/// The watchdog of one generation (`sd_notify(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watchdog {
    /// How often a ping is due. Zero: never.
    pub(super) period: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// No ping is due: the program is not ready, or the watchdog is off.
    Off,
    /// The next ping is due before this moment.
    PingDue(Time),
    /// The program was aborted and is killed at this moment.
    Aborted(Time),
    /// The program was killed.
    Killed,
}

impl Watchdog {
    pub(super) fn new(period: Option<Duration>) -> Self {
        Self {
            period: period.unwrap_or_default(),
            state: State::Off,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.state {
            State::PingDue(until) | State::Aborted(until) => Some(until),
            State::Off | State::Killed => None,
        }
    }

    /// The next ping is due one period from now.
    pub(super) fn restart(&mut self, now: Time) {
        self.state = match self.period {
            Duration::ZERO => State::Off,
            period => State::PingDue(now.plus(period)),
        };
    }

    /// The program sent a ping.
    pub(super) fn ping(&mut self, now: Time) {
        if self.deadline().is_some() {
            self.restart(now);
        }
    }

    pub(super) fn abort(&mut self, until: Time) {
        self.state = State::Aborted(until);
    }

    pub(super) fn kill(&mut self) {
        self.state = State::Killed;
    }

    /// Whether it has aborted the program.
    pub(super) fn has_fired(&self) -> bool {
        match self.state {
            State::Aborted(_) | State::Killed => true,
            State::Off | State::PingDue(_) => false,
        }
    }

    /// For the tests: the same for all that it will do.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename) -> Self {
        let state = match self.state {
            State::PingDue(until) => State::PingDue(rename.time(until)),
            State::Aborted(until) => State::Aborted(rename.time(until)),
            State::Off | State::Killed => self.state,
        };
        Self { state, ..*self }
    }
}
