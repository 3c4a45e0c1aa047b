//! Holds new connections from a change on, for the generation that it causes (`--fresh`).

use super::state::Waiting;
use super::{Machine, Turn};
use crate::reload::{Effect, Fresh};

impl Machine {
    /// Decides whether new connections wait although a generation is live. Called after everything else has been
    /// decided, so it depends only on what is under way, whatever led to it.
    pub(super) fn hold_new(&mut self, turn: &mut Turn) {
        if self.policy.fresh == Fresh::Off {
            return;
        }
        let may_wait = self.live().is_some() && self.quit.is_none();
        let idle = may_wait && !self.is_busy();
        if idle && self.policy.fresh == Fresh::Strict && self.waiting != Waiting::No {
            self.respond_if_failed(turn);
        }
        // A touched file may turn out to be unchanged, so it does not end the error response. Its build does.
        let may_follow = self.change_seen && self.paused.is_none() && !self.responding;
        self.waiting = match self.waiting {
            _ if !may_wait || idle && !may_follow => Waiting::No,
            Waiting::No => Waiting::Until(turn.now.plus(self.policy.ready_timeout)),
            Waiting::Until(until) if turn.now >= until => Waiting::TooLong,
            Waiting::Until(_) | Waiting::TooLong => self.waiting,
        };
        let holds = self.waiting.deadline().is_some() || may_wait && self.responding;
        if std::mem::replace(&mut self.holds_new, holds) == holds {
            return;
        }
        let effects = &mut turn.reaction.effects;
        match holds {
            // Comes first, because the others may take time.
            true => effects.insert(0, Effect::HoldNew),
            // Comes last, because the others decide where the connections go.
            false => effects.push(Effect::StopHolding),
        }
    }
}
