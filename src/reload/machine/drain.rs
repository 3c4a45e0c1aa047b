use std::time::Duration;

use crate::reload::{GenEffect, Policy, Stopped, Time};

/// How long a streamed response may pause before it counts as complete.
const RESPONSE_PAUSE: Duration = Duration::from_secs(5);

/// The progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    /// The generation gets no new connections, but is still accepting those in its queues.
    Quiescing,
    /// The generation is quiescent, but the minimum delay before the stop signal has not passed yet.
    Quiescent,
    /// The driver is checking whether the program handles the stop signal.
    CheckingStopSignal,
    /// The stop signal may make the program cut off the requests in progress, so they are answered first.
    AwaitingIdle,
    /// The stop signal was sent.
    Stopped,
    /// The program was killed.
    Killed,
    /// The program ended on its own, and its generation should be gone soon.
    Ended,
}

/// The draining phase of a generation, in which it gets no new connections and has a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    pub(super) since: Time,
    pub(super) how: Stopped,
    pub(super) progress: Progress,
    /// The time limit for the wait before the next step. Only [`Progress::Quiescing`] and [`Progress::AwaitingIdle`]
    /// have one that may be earlier than `until`.
    pub(super) wait_until: Time,
    /// The time limit. The generation is then killed or, if it is still waiting to become idle, asked to stop first.
    pub(super) until: Time,
}

/// What the driver must do, in this order, for a draining generation.
pub(super) type Effects = &'static [GenEffect];

impl Drain {
    /// A drain that starts with this progress.
    pub(super) fn begin(now: Time, policy: &Policy, progress: Progress) -> Self {
        let delay = match progress {
            Progress::Quiescing | Progress::Quiescent => policy.stop_delay_max,
            Progress::CheckingStopSignal
            | Progress::AwaitingIdle
            | Progress::Stopped
            | Progress::Killed
            | Progress::Ended => Duration::ZERO,
        };
        Self {
            since: now,
            how: Stopped::Drained,
            progress,
            wait_until: now.plus(delay),
            until: now.plus(delay).plus(policy.stop_timeout),
        }
    }

    /// When the drain moves to its next step even if no event arrives.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Time> {
        let earliest = match self.progress {
            Progress::Quiescing | Progress::AwaitingIdle => self.wait_until,
            Progress::Quiescent => self.since.plus(policy.stop_delay_min),
            Progress::CheckingStopSignal | Progress::Stopped | Progress::Ended => self.until,
            Progress::Killed => return None,
        };
        Some(earliest.min(self.until))
    }

    pub(super) fn tick(&mut self, now: Time, policy: &Policy) -> Effects {
        if self.deadline(policy).is_none_or(|deadline| now < deadline) {
            return &[];
        }
        match self.progress {
            Progress::Quiescing | Progress::Quiescent if now < self.until => {
                self.check_stop_signal(now, policy)
            }
            Progress::AwaitingIdle if now < self.until => self.stop(),
            // The program has not been asked to stop yet. It does not seem to handle the signal, but may do so anyway (Go's
            // handlers cannot be seen from outside). So it gets the signal and a short time to clean up first.
            Progress::AwaitingIdle => {
                self.until = now.plus(policy.late_grace());
                self.how = Stopped::TimedOut;
                self.stop()
            }
            Progress::Quiescing
            | Progress::Quiescent
            | Progress::CheckingStopSignal
            | Progress::Stopped
            | Progress::Killed
            | Progress::Ended => self.kill(Stopped::TimedOut),
        }
    }

    /// Called when the generation has accepted the connections in its queues.
    pub(super) fn quiescent(&mut self, now: Time, policy: &Policy) -> Effects {
        if self.progress != Progress::Quiescing {
            return &[];
        }
        if now.since(self.since) >= policy.stop_delay_min {
            return self.check_stop_signal(now, policy);
        }
        self.progress = Progress::Quiescent;
        &[]
    }

    /// Starts the stop timeout, and asks whether the program handles the stop signal.
    fn check_stop_signal(&mut self, now: Time, policy: &Policy) -> Effects {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        self.progress = Progress::CheckingStopSignal;
        &[GenEffect::CheckStopSignal]
    }

    /// Waits until the generation is idle, even if it handles the stop signal: many programs that do exit without
    /// finishing their requests. `live`: whether another generation is live, so that nothing is waiting for this one to
    /// end.
    pub(super) fn stop_signal_checked(
        &mut self,
        handled: bool,
        live: bool,
        now: Time,
        policy: &Policy,
    ) -> Effects {
        if self.progress != Progress::CheckingStopSignal {
            return &[];
        }
        self.progress = Progress::AwaitingIdle;
        // Without a handler, the signal kills the program whatever it is doing, so hotrun delays the signal as long as
        // possible.
        let longest = match handled {
            true => policy.longest_wait_for_idle(live),
            false => Duration::MAX,
        };
        self.wait_until = now.plus(longest);
        match live && !handled {
            true => &[GenEffect::AwaitIdle {
                pause: Some(RESPONSE_PAUSE),
            }],
            false => &[GenEffect::AwaitIdle { pause: None }],
        }
    }

    /// Called when the generation's connections are closed or idle.
    pub(super) fn idle(&mut self) -> Effects {
        match self.progress == Progress::AwaitingIdle {
            true => self.stop(),
            false => &[],
        }
    }

    /// Sends the stop signal, because hotrun is quitting.
    pub(super) fn quit(&mut self, now: Time, policy: &Policy) -> Effects {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        self.exited()
    }

    /// Handles the end of the first process, after which there is nothing to wait for.
    pub(super) fn exited(&mut self) -> Effects {
        match self.may_stay() {
            true => self.stop(),
            false => &[],
        }
    }

    /// Sends the stop signal. Forwarding starts first, because the program may close or ignore its sockets after the
    /// signal.
    fn stop(&mut self) -> Effects {
        self.progress = Progress::Stopped;
        &[GenEffect::Forward, GenEffect::Stop]
    }

    /// Whether the generation could go live again: it has neither ended nor been asked to stop, and its connections are
    /// not forwarded yet.
    pub(super) const fn may_stay(&self) -> bool {
        match self.progress {
            Progress::Quiescing
            | Progress::Quiescent
            | Progress::CheckingStopSignal
            | Progress::AwaitingIdle => true,
            Progress::Stopped | Progress::Killed | Progress::Ended => false,
        }
    }

    /// Grants more time, unless the program was killed. Returns whether the limit moved.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        let later = self.progress != Progress::Killed && until > self.until;
        if later {
            self.until = until;
        }
        later
    }

    pub(super) fn kill(&mut self, how: Stopped) -> Effects {
        if self.progress == Progress::Killed {
            return &[];
        }
        let effects: Effects = match self.may_stay() {
            true => &[GenEffect::Forward, GenEffect::Kill],
            false => &[GenEffect::Kill],
        };
        self.progress = Progress::Killed;
        self.how = how;
        effects
    }
}
