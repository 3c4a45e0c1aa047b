//! Gives a new generation a share of the new connections before it goes live (`--share`).
//!
//! A generation that is ready then goes through the steps of the policy, beside the live one. Each step after the first
//! follows after a while, or when the user asks for it. With a check, every other step needs one that succeeds. A step of
//! 100 % is the ordinary switch.

use std::time::Duration;

use super::generation::{GenState, Generation, Share, ShareCheck};
use super::{Machine, Turn};
use crate::reload::{GenEffect, GenFailure, GenId, GenNotice, Notice};

/// How often the check runs while a generation has a share.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// By how many percentage points the user changes a share if the policy has only one step.
const POINTS: u8 = 10;

impl Machine {
    /// Handles that a generation is ready: it gets a share or, if no generation is live, everything.
    pub(super) fn go_live(&mut self, id: GenId, turn: &mut Turn) {
        let shares = self.find(id).is_some_and(|known| known.may_share) && self.live().is_some();
        let state = match shares {
            true => GenState::Sharing(Share {
                ready_at: turn.now,
                percent: 0,
                step_at: Some(turn.now),
                check: match self.policy.share_check {
                    true => ShareCheck::Due(turn.now),
                    false => ShareCheck::Off,
                },
            }),
            false => GenState::Ready { at: turn.now },
        };
        if let Some(known) = self.find_mut(id) {
            known.state = state;
        }
        match shares {
            true => self.share_on_time(turn),
            false => turn.effect(id, GenEffect::Switch),
        }
    }

    /// Returns the generation that has a share or is about to get one, unless it hangs.
    fn sharing(&self) -> Option<(GenId, Share)> {
        let shares = |known: &Generation| match known.state {
            GenState::Sharing(share) if !known.watchdog.fired => Some((known.id, share)),
            GenState::Starting { .. }
            | GenState::Ready { .. }
            | GenState::Sharing(_)
            | GenState::Live
            | GenState::Draining(_) => None,
        };
        self.generations.iter().find_map(shares)
    }

    fn set_share(&mut self, id: GenId, share: Share) {
        if let Some(known) = self.find_mut(id) {
            known.state = GenState::Sharing(share);
        }
    }

    /// Takes the step or starts the check that is due.
    pub(super) fn share_on_time(&mut self, turn: &mut Turn) {
        let paused = self.paused.is_some();
        let due = |share: &Share| share.deadline(paused).is_some_and(|at| turn.now >= at);
        let Some((id, share)) = self.sharing().filter(|(_, share)| due(share)) else {
            return;
        };
        if share.check == ShareCheck::Off {
            return self.next_step(id, share, turn);
        }
        let check = ShareCheck::Running;
        self.set_share(id, Share { check, ..share });
        turn.effect(id, GenEffect::CheckShare);
    }

    pub(super) fn share_checked(&mut self, id: GenId, passed: bool, turn: &mut Turn) {
        let runs = |share: &Share| share.check == ShareCheck::Running;
        let sharing = self.sharing().filter(|(sharing, _)| *sharing == id);
        let Some((_, share)) = sharing.filter(|(_, share)| runs(share)) else {
            return;
        };
        if !passed {
            self.stop_candidate(id, turn);
            return self.candidate_failed(id, GenFailure::ShareCheck, turn);
        }
        let check = ShareCheck::Due(turn.now.plus(CHECK_EVERY));
        let share = Share { check, ..share };
        self.set_share(id, share);
        if self.paused.is_none() && share.step_at.is_some_and(|at| turn.now >= at) {
            self.next_step(id, share, turn);
        }
    }

    pub(super) fn share_failed(&mut self, id: GenId, turn: &mut Turn) {
        let has = |share: &Share| share.percent > 0;
        if matches!(self.sharing(), Some((sharing, share)) if sharing == id && has(&share)) {
            self.stop_candidate(id, turn);
            self.candidate_failed(id, GenFailure::Switch, turn);
        }
    }

    fn next_step(&mut self, id: GenId, share: Share, turn: &mut Turn) {
        if let Some(percent) = self.policy.share.after(share.percent) {
            self.step_to(percent, id, share, turn);
        }
    }

    fn step_to(&mut self, percent: u8, id: GenId, share: Share, turn: &mut Turn) {
        if percent >= 100 {
            return self.take_all(turn);
        }
        let every = self.policy.share_every;
        let follows = self.policy.share.after(percent).is_some();
        let step_at = every.filter(|_| follows).map(|every| turn.now.plus(every));
        let share = Share {
            percent,
            step_at,
            ..share
        };
        self.set_share(id, share);
        if let Some(known) = self.find_mut(id) {
            known.shared = true;
        }
        turn.effect(id, GenEffect::Share { percent });
        turn.notice(id, GenNotice::Sharing { percent });
    }

    /// Switches to the generation that has a share or is about to get one, if there is one: its share has become 100 %,
    /// or the live generation has ended or no longer works.
    pub(super) fn take_all(&mut self, turn: &mut Turn) {
        if let Some((id, share)) = self.sharing()
            && let Some(known) = self.find_mut(id)
        {
            known.state = GenState::Ready { at: share.ready_at };
            turn.effect(id, GenEffect::Switch);
        }
    }

    /// Takes the next step or returns to the previous one, because the user asks for it.
    pub(super) fn change_share(&mut self, more: bool, turn: &mut Turn) {
        let Some((id, share)) = self.sharing() else {
            return turn.reaction.notices.push(Notice::NothingShared);
        };
        let (steps, percent) = (&self.policy.share, share.percent);
        let to = match (more, steps.is_single() && percent > 0) {
            (true, true) => Some(percent.saturating_add(POINTS).min(99)),
            (true, false) => steps.after(percent),
            (false, true) => Some(percent.saturating_sub(POINTS).max(1)),
            (false, false) => steps.before(percent),
        };
        if let Some(to) = to.filter(|to| *to != percent) {
            self.step_to(to, id, share, turn);
        }
    }

    /// Gives the generation that has a share everything, because the user asks for it.
    pub(super) fn share_all(&mut self, turn: &mut Turn) {
        match self.sharing() {
            Some(_) => self.take_all(turn),
            None => turn.reaction.notices.push(Notice::NothingShared),
        }
    }
}
