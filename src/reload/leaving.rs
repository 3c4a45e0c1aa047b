use super::{Effect, GenEffect, GenId, Policy, Stopped, Time};

/// How far a generation that must go has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It has just lost the traffic and still takes what is its own.
    Settling,
    /// It has taken what is its own, sooner than the least time.
    Settled,
    /// The driver finds out whether it handles the stop signal.
    Inspecting,
    /// It would die of the stop signal, so its connections come first.
    AwaitingIdle,
    /// The stop signal was sent.
    Asked,
    /// It was killed.
    Killed,
    /// It ended by itself; the rest of its tree is expected to be gone at any moment.
    Ended,
}

/// A generation on its way out: it gets no new connections, and its end is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    pub(super) id: GenId,
    pub(super) since: Time,
    pub(super) how: Stopped,
    stage: Stage,
    /// When it is killed, whatever it does.
    until: Time,
}

/// What a leaving generation wants to be done, in order.
type Step = Vec<Effect>;

impl Leaving {
    /// It was live until now.
    pub(super) fn settling(id: GenId, now: Time, policy: &Policy) -> Self {
        Self::new(id, now, policy, Stage::Settling)
    }

    /// It has to go and has nothing to finish.
    pub(super) fn asked(id: GenId, now: Time, policy: &Policy) -> Self {
        Self::new(id, now, policy, Stage::Asked)
    }

    /// Its first process has ended.
    pub(super) fn ended(id: GenId, now: Time, policy: &Policy) -> Self {
        Self::new(id, now, policy, Stage::Ended)
    }

    fn new(id: GenId, now: Time, policy: &Policy, stage: Stage) -> Self {
        let settle = match stage {
            Stage::Settling => policy.stop_delay_max,
            Stage::Settled
            | Stage::Inspecting
            | Stage::AwaitingIdle
            | Stage::Asked
            | Stage::Killed
            | Stage::Ended => std::time::Duration::ZERO,
        };
        let until = now.plus(settle).plus(policy.stop_timeout);
        Self {
            id,
            since: now,
            how: Stopped::Drained,
            stage,
            until,
        }
    }

    /// When time alone moves it on.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Time> {
        match self.stage {
            Stage::Settling => Some(self.since.plus(policy.stop_delay_max).min(self.until)),
            Stage::Settled => Some(self.since.plus(policy.stop_delay_min).min(self.until)),
            Stage::Inspecting | Stage::AwaitingIdle | Stage::Asked | Stage::Ended => {
                Some(self.until)
            }
            Stage::Killed => None,
        }
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Time, policy: &Policy) -> Step {
        if self.deadline(policy).is_none_or(|deadline| now < deadline) {
            return Step::new();
        }
        match self.stage {
            Stage::Settling | Stage::Settled if now < self.until => self.inspect(now, policy),
            // It was never asked. What looks as if it would die of the signal may still clean up (a Go program
            // can't be told from outside), so it gets the signal first, and a moment.
            Stage::AwaitingIdle => {
                self.until = now.plus(policy.late_grace());
                self.how = Stopped::TimedOut;
                self.ask()
            }
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::Asked | Stage::Ended => {
                self.kill(Stopped::TimedOut)
            }
            Stage::Killed => Step::new(),
        }
    }

    /// It has taken what is its own.
    pub(super) fn settled(&mut self, now: Time, policy: &Policy) -> Step {
        if self.stage != Stage::Settling {
            return Step::new();
        }
        if now.since(self.since) >= policy.stop_delay_min {
            return self.inspect(now, policy);
        }
        self.stage = Stage::Settled;
        Step::new()
    }

    /// It is known whether the program handles the stop signal.
    pub(super) fn inspected(&mut self, handles_stop: bool) -> Step {
        if self.stage != Stage::Inspecting {
            return Step::new();
        }
        if handles_stop {
            return self.ask();
        }
        self.stage = Stage::AwaitingIdle;
        vec![Effect::Generation(self.id, GenEffect::AwaitIdle)]
    }

    /// Its connections are closed or idle.
    pub(super) fn idle(&mut self) -> Step {
        if self.stage == Stage::AwaitingIdle {
            self.ask()
        } else {
            Step::new()
        }
    }

    /// The user quits: nothing is gained by waiting for a good moment.
    pub(super) fn hurry(&mut self, now: Time, policy: &Policy) -> Step {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        match self.stage {
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::AwaitingIdle => {
                self.ask()
            }
            Stage::Asked | Stage::Killed | Stage::Ended => Step::new(),
        }
    }

    /// Whether it would serve on if it was let: nobody has asked it to end, and it has not.
    pub(super) const fn may_stay(&self) -> bool {
        match self.stage {
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::AwaitingIdle => true,
            Stage::Asked | Stage::Killed | Stage::Ended => false,
        }
    }

    /// It asks for more time. Says whether it gets any.
    pub(super) fn extend(&mut self, until: Time) -> bool {
        match self.stage {
            Stage::Settling
            | Stage::Settled
            | Stage::Inspecting
            | Stage::AwaitingIdle
            | Stage::Asked
            | Stage::Ended => {
                let later = until > self.until;
                self.until = self.until.max(until);
                later
            }
            Stage::Killed => false,
        }
    }

    /// Kill it, unless that was done.
    pub(super) fn kill(&mut self, how: Stopped) -> Step {
        let kill = Effect::Generation(self.id, GenEffect::Kill);
        let step = match self.stage {
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::AwaitingIdle => {
                vec![Effect::Generation(self.id, GenEffect::Forward), kill]
            }
            Stage::Asked | Stage::Ended => vec![kill],
            Stage::Killed => return Step::new(),
        };
        self.stage = Stage::Killed;
        self.how = how;
        step
    }

    /// Its first process has ended without being asked to: nobody is left to ask.
    pub(super) fn exited(&mut self) -> Step {
        match self.stage {
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::AwaitingIdle => {
                self.ask()
            }
            Stage::Asked | Stage::Killed | Stage::Ended => Step::new(),
        }
    }

    /// Nothing of it is left, and it may be that nobody saw it end.
    pub(super) fn vanished(&self) -> Step {
        match self.stage {
            Stage::Settling | Stage::Settled | Stage::Inspecting | Stage::AwaitingIdle => {
                vec![Effect::Generation(self.id, GenEffect::Forward)]
            }
            Stage::Asked | Stage::Killed | Stage::Ended => Step::new(),
        }
    }

    /// From here on its time runs.
    fn inspect(&mut self, now: Time, policy: &Policy) -> Step {
        self.until = self.until.min(now.plus(policy.stop_timeout));
        self.stage = Stage::Inspecting;
        vec![Effect::Generation(self.id, GenEffect::CheckStopSignal)]
    }

    /// The relay comes first: from the signal on, the program may close or ignore its sockets.
    fn ask(&mut self) -> Step {
        self.stage = Stage::Asked;
        vec![
            Effect::Generation(self.id, GenEffect::Forward),
            Effect::Generation(self.id, GenEffect::Stop),
        ]
    }

    /// For the tests alone: the same for all that it will do.
    #[cfg(test)]
    pub(super) fn canonical(&self, rename: &super::machine::canonical::Rename) -> Self {
        let settling = matches!(self.stage, Stage::Settling | Stage::Settled);
        let killed = self.stage == Stage::Killed;
        let keep = |kept: bool, time| if kept { rename.time(time) } else { Time::START };
        Self {
            id: rename.id(self.id),
            since: keep(settling, self.since),
            until: keep(!killed, self.until),
            ..*self
        }
    }
}
