use std::time::Duration;

use crate::reload::{GenEffect, Policy, Stopped, Time};

/// How far a draining generation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// It has just lost the traffic and still takes the connections in its queues.
    Quiescing,
    /// It became quiescent before the least delay of the stop signal had passed.
    Quiescent,
    /// The driver is checking whether it handles the stop signal.
    CheckingStopSignal,
    /// It would die of the stop signal, so its connections finish first.
    AwaitingIdle,
    /// The stop signal was sent.
    Stopped,
    /// It was killed.
    Killed,
    /// It ended without being asked; the rest of its tree is expected to go at any moment.
    Ended,
}

/// The end of a generation: it gets no new connections, and its time is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    pub(super) since: Time,
    pub(super) how: Stopped,
    step: Step,
    /// When it is killed at the latest.
    until: Time,
}

/// What the driver must do next to a draining generation, in order.
type Effects = Vec<GenEffect>;

impl Drain {
    /// It was live until now.
    pub(super) fn retired(now: Time, policy: &Policy) -> Self {
        Self::new(now, policy.stop_delay_max, policy, Step::Quiescing)
    }

    /// It was never live, or hotrun quits: the stop signal is sent now.
    pub(super) fn stopped(now: Time, policy: &Policy) -> Self {
        Self::new(now, Duration::ZERO, policy, Step::Stopped)
    }

    /// Its first process has ended.
    pub(super) fn ended(now: Time, policy: &Policy) -> Self {
        Self::new(now, Duration::ZERO, policy, Step::Ended)
    }

    fn new(now: Time, delay: Duration, policy: &Policy, step: Step) -> Self {
        Self {
            since: now,
            how: Stopped::Drained,
            step,
            until: now.plus(delay).plus(policy.stop_timeout),
        }
    }

    /// When time alone takes it to the next step.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Time> {
        let after = |delay| Some(self.since.plus(delay).min(self.until));
        match self.step {
            Step::Quiescing => after(policy.stop_delay_max),
            Step::Quiescent => after(policy.stop_delay_min),
            Step::CheckingStopSignal | Step::AwaitingIdle | Step::Stopped | Step::Ended => {
                Some(self.until)
            }
            Step::Killed => None,
        }
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Time, policy: &Policy) -> Effects {
        if self.deadline(policy).is_none_or(|deadline| now < deadline) {
            return Effects::new();
        }
        match self.step {
            Step::Quiescing | Step::Quiescent if now < self.until => {
                self.check_stop_signal(now, policy)
            }
            // It was never asked to stop. A program that seems to die of the signal may still clean up (for a Go
            // program this cannot be seen from outside), so it gets the signal first, and a moment.
            Step::AwaitingIdle => {
                self.until = now.plus(policy.late_grace());
                self.how = Stopped::TimedOut;
                self.stop()
            }
            Step::Quiescing
            | Step::Quiescent
            | Step::CheckingStopSignal
            | Step::Stopped
            | Step::Ended => self.kill(Stopped::TimedOut),
            Step::Killed => Effects::new(),
        }
    }

    /// It has taken the connections in its queues.
    pub(super) fn quiescent(&mut self, now: Time, policy: &Policy) -> Effects {
        if self.step != Step::Quiescing {
            return Effects::new();
        }
        if now.since(self.since) >= policy.stop_delay_min {
            return self.check_stop_signal(now, policy);
        }
        self.step = Step::Quiescent;
        Effects::new()
    }

    /// The check of the stop signal is done.
    pub(super) fn stop_signal_checked(&mut self, handled: bool) -> Effects {
        if self.step != Step::CheckingStopSignal {
            return Effects::new();
        }
        if handled {
            return self.stop();
        }
        self.step = Step::AwaitingIdle;
        vec![GenEffect::AwaitIdle]
    }

    /// Its connections are closed or idle.
    pub(super) fn idle(&mut self) -> Effects {
        match self.step == Step::AwaitingIdle {
            true => self.stop(),
            false => Effects::new(),
        }
    }

    /// hotrun quits: waiting for a good moment gains nothing.
    pub(super) fn quit(&mut self, now: Time, policy: &Policy) -> Effects {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        self.exited()
    }

    /// Its first process has ended on its own: there is nothing left to wait for.
    pub(super) fn exited(&mut self) -> Effects {
        match self.may_stay() {
            true => self.stop(),
            false => Effects::new(),
        }
    }

    /// Whether it could be live again: it has neither ended nor been asked to.
    pub(super) const fn may_stay(&self) -> bool {
        match self.step {
            Step::Quiescing | Step::Quiescent | Step::CheckingStopSignal | Step::AwaitingIdle => {
                true
            }
            Step::Stopped | Step::Killed | Step::Ended => false,
        }
    }

    /// Grants more time, unless it was killed. Returns whether the limit moved.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        let later = self.step != Step::Killed && until > self.until;
        if later {
            self.until = until;
        }
        later
    }

    /// Kills it, unless that was done.
    pub(super) fn kill(&mut self, how: Stopped) -> Effects {
        if self.step == Step::Killed {
            return Effects::new();
        }
        let mut effects = self.vanished();
        effects.push(GenEffect::Kill);
        self.step = Step::Killed;
        self.how = how;
        effects
    }

    /// None of its processes is left, or will be in a moment. Nobody may have seen it end.
    pub(super) fn vanished(&self) -> Effects {
        match self.may_stay() {
            true => vec![GenEffect::Forward],
            false => Effects::new(),
        }
    }

    /// From here on its time runs.
    fn check_stop_signal(&mut self, now: Time, policy: &Policy) -> Effects {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        self.step = Step::CheckingStopSignal;
        vec![GenEffect::CheckStopSignal]
    }

    /// Forwarding comes first: after the signal, the program may close or ignore its sockets.
    fn stop(&mut self) -> Effects {
        self.step = Step::Stopped;
        vec![GenEffect::Forward, GenEffect::Stop]
    }

    /// For the tests: the same for all that it will do.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::canonical::Rename) -> Self {
        let delayed = matches!(self.step, Step::Quiescing | Step::Quiescent);
        let killed = self.step == Step::Killed;
        let keep = |kept: bool, time| if kept { rename.time(time) } else { Time::START };
        Self {
            since: keep(delayed, self.since),
            until: keep(!killed, self.until),
            ..*self
        }
    }
}
