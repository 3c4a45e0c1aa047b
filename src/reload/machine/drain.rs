use std::time::Duration;

use crate::reload::{GenEffect, Policy, Stopped, Time};

/// How long a streamed response may pause before it counts as complete.
const RESPONSE_PAUSE: Duration = Duration::from_secs(5);

/// The progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    /// The generation gets no new connections, but otherwise stays as it is, so that it can go live again at once
    /// (`--keep`). The drain proper has not begun.
    Kept,
    /// The generation gets no new connections, but is still accepting those in its queues.
    Quiescing,
    /// The stop signal may make the program cut off the requests in progress, so they are answered first.
    AwaitingIdle,
    /// Like `AwaitingIdle`, but hotrun is quitting, and the generation keeps getting the new connections.
    Quitting,
    /// The stop signal was sent, or the program ended on its own.
    Stopped,
    /// The program was killed.
    Killed,
}

/// The draining phase of a generation, in which it gets no new connections and has a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    pub(super) since: Time,
    pub(super) how: Stopped,
    pub(super) progress: Progress,
    /// The time limit for waiting until the generation is quiescent or idle.
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
            Progress::Kept => policy.keep,
            Progress::Quiescing => policy.stop_delay_max,
            Progress::AwaitingIdle | Progress::Quitting | Progress::Stopped | Progress::Killed => {
                Duration::ZERO
            }
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
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.progress {
            Progress::Kept | Progress::Quiescing | Progress::AwaitingIdle | Progress::Quitting => {
                Some(self.wait_until.min(self.until))
            }
            Progress::Stopped => Some(self.until),
            Progress::Killed => None,
        }
    }

    /// `live`: whether another generation is live, in which case no client waits for this one to end.
    pub(super) fn tick(&mut self, live: bool, now: Time, policy: &Policy) -> Effects {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return &[];
        }
        match self.progress {
            // The machine has already freed it.
            Progress::Kept => &[],
            Progress::Quiescing if now < self.until => self.quiescent(live, now, policy),
            Progress::AwaitingIdle | Progress::Quitting if now < self.until => self.stop(),
            // The program has not been asked to stop yet. It does not seem to handle the signal, but may do so anyway (Go's
            // handlers cannot be seen from outside). So it gets the signal and a short time to clean up first.
            Progress::AwaitingIdle | Progress::Quitting => {
                self.until = now.plus(policy.late_grace());
                self.how = Stopped::TimedOut;
                self.stop()
            }
            Progress::Quiescing | Progress::Stopped | Progress::Killed => {
                self.kill(Stopped::TimedOut)
            }
        }
    }

    /// Called when the generation has accepted the connections in its queues. Starts the stop timeout, and waits until the
    /// generation is idle, even if it handles the stop signal: many programs that handle it still exit without
    /// finishing their requests.
    pub(super) fn quiescent(&mut self, live: bool, now: Time, policy: &Policy) -> Effects {
        if self.progress != Progress::Quiescing {
            return &[];
        }
        self.progress = Progress::AwaitingIdle;
        self.until = self.until.min(now.plus(policy.stop_timeout));
        // Without a handler, the signal kills the program whatever it is doing, so hotrun delays the signal as long as
        // possible.
        self.wait_until = now.plus(Duration::MAX);
        match live {
            true => &[GenEffect::AwaitIdle {
                pause: Some(RESPONSE_PAUSE),
            }],
            false => &[GenEffect::AwaitIdle { pause: None }],
        }
    }

    /// Called when the program is known to handle the stop signal.
    pub(super) fn handles_stop_signal(
        &mut self,
        live: bool,
        now: Time,
        policy: &Policy,
    ) -> Effects {
        if self.awaits_idle() {
            let longest = now.plus(policy.longest_wait_for_idle(live));
            self.wait_until = self.wait_until.min(longest);
        }
        &[]
    }

    /// Called when the generation's connections are closed or idle.
    pub(super) fn idle(&mut self) -> Effects {
        match self.awaits_idle() {
            true => self.stop(),
            false => &[],
        }
    }

    /// Waits until the generation is idle, but not too long, because hotrun is quitting.
    pub(super) fn quit(&mut self, now: Time, policy: &Policy) -> Effects {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        let longest = now.plus(policy.longest_wait_on_quit());
        match self.progress {
            Progress::Kept => (self.since, self.progress) = (now, Progress::AwaitingIdle),
            Progress::Quiescing => self.progress = Progress::AwaitingIdle,
            Progress::Quitting => {}
            Progress::AwaitingIdle | Progress::Stopped | Progress::Killed => {
                self.wait_until = self.wait_until.min(longest);
                return &[];
            }
        }
        self.wait_until = longest;
        &[GenEffect::AwaitIdle { pause: None }]
    }

    /// Handles the end of the first process, after which there is nothing to wait for.
    pub(super) fn exited(&mut self) -> Effects {
        match self.progress {
            Progress::Kept | Progress::Quiescing | Progress::AwaitingIdle | Progress::Quitting => {
                self.stop()
            }
            Progress::Stopped | Progress::Killed => &[],
        }
    }

    /// Sends the stop signal. Forwarding starts first, because the program may close or ignore its sockets after the
    /// signal.
    fn stop(&mut self) -> Effects {
        let effects: Effects = match self.may_stay() {
            true => &[GenEffect::Forward, GenEffect::Stop],
            false => &[GenEffect::Stop],
        };
        self.progress = Progress::Stopped;
        effects
    }

    const fn awaits_idle(&self) -> bool {
        matches!(self.progress, Progress::AwaitingIdle | Progress::Quitting)
    }

    /// Whether the generation could go live again: it has neither ended nor been asked to stop, hotrun is not quitting, and
    /// its connections are not forwarded yet.
    pub(super) const fn may_stay(&self) -> bool {
        match self.progress {
            Progress::Kept | Progress::Quiescing | Progress::AwaitingIdle => true,
            Progress::Quitting | Progress::Stopped | Progress::Killed => false,
        }
    }

    /// Grants more time to end, unless the program was killed or need not end yet. Returns whether the limit moved.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        let ends = !matches!(self.progress, Progress::Kept | Progress::Killed);
        let later = ends && until > self.until;
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
