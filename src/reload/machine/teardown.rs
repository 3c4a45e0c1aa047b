//! How generations are drained and stopped.
//!
//! | function | when | the program | its connections |
//! | --- | --- | --- | --- |
//! | `keep` | was live; another one is live | is retired later | it keeps them |
//! | `retire` | was live; another one is live or needs its place | gets the stop signal later | it finishes them |
//! | `stop_candidate` | was never live; failed, or is replaced | gets the stop signal now | are forwarded |
//! | `stop_candidate` | had a share; failed, or is replaced | gets the stop signal later | it finishes them |
//! | `supersede` | was never live, nor is another one; is replaced | may finish its connections first | new ones wait |
//! | `candidate_ended`, `live_ended` | its first process has ended | the rest of its tree is killed | are forwarded |
//! | `begin_quit` | hotrun is quitting | gets the stop signal once it is idle | it keeps them |
//! | `Drain::kill` | is draining; its time is up or the user asks | is killed | are forwarded |
//! | `release` | is draining; no process is left | | the driver closes its sockets |
//!
//! The first six rows start a [`Drain`]. **A generation is gone** once it is removed from `Machine::generations`: by
//! `release` when the driver reports `Gone`, or by `start_failed` if the program could not be started. Its later events
//! change nothing.

use super::drain::{Drain, Effects, Progress};
use super::generation::{GenState, Generation};
use super::{Machine, Turn};
use crate::reload::{Effect, GenEffect, GenFailure, GenId, GenNotice, Policy, Stopped};

impl Machine {
    /// Starts draining a generation that gets no more new connections.
    pub(super) fn retire(&mut self, id: GenId, turn: &mut Turn) {
        self.begin_drain(id, Progress::Quiescing, turn);
        let timeout = self.policy.stop_timeout;
        turn.notice(id, GenNotice::Draining { timeout });
        turn.effect(id, GenEffect::AwaitQuiescent);
    }

    /// Leaves a generation as it is for a while, because it may go live again, unless there is a reason to retire it now.
    /// `undone`: whether the user has undone it.
    pub(super) fn keep_or_retire(&mut self, id: GenId, undone: bool, turn: &mut Turn) {
        let time = self.policy.keep;
        let works = |known: &Generation| !known.sick && !known.watchdog.fired;
        let may_stay = |known| works(known) && self.may_start_beside(known);
        if undone || time.is_zero() || !self.find(id).is_some_and(may_stay) {
            return self.retire(id, turn);
        }
        // At most one is kept.
        if let Some(older) = self.kept() {
            self.retire(older, turn);
        }
        self.begin_drain(id, Progress::Kept, turn);
        turn.notice(id, GenNotice::Kept { time });
        turn.effect(id, GenEffect::Keep);
    }

    /// Retires the kept generation when its time is over.
    pub(super) fn keep_timeout(&mut self, turn: &mut Turn) {
        let kept = self.kept().and_then(|id| self.find(id));
        if let Some(known) =
            kept.filter(|known| known.deadline(false).is_some_and(|at| turn.now >= at))
        {
            self.retire(known.id, turn);
        }
    }

    /// Handles the end of a generation that is kept, which leaves nothing to wait for.
    pub(super) fn kept_ended(&mut self, id: GenId, failure: GenFailure, turn: &mut Turn) {
        if self.kept() == Some(id) {
            self.begin_drain(id, Progress::AwaitingIdle, turn);
            turn.notice(id, GenNotice::KeptEnded { failure });
        }
    }

    /// Stops a generation that was never live. If it has had a share, it finishes its connections first.
    pub(super) fn stop_candidate(&mut self, id: GenId, turn: &mut Turn) {
        if self.find(id).is_some_and(|known| known.shared) {
            if self.live().is_none() {
                return self.supersede(id, turn);
            }
            turn.effect(id, GenEffect::Share { percent: 0 });
            return self.retire(id, turn);
        }
        self.begin_drain(id, Progress::Stopped, turn);
        self.forward(id, turn);
        turn.effect(id, GenEffect::Stop);
    }

    /// Reports that a candidate is stopped because a newer generation replaces it or the user has undone it. If it has had
    /// a share, the report of its drain suffices.
    pub(super) fn superseded(&self, id: GenId, turn: &mut Turn) {
        if self.find(id).is_some_and(|known| !known.shared) {
            turn.notice(id, GenNotice::Superseded);
        }
    }

    /// Stops a candidate because a newer generation replaces it. If no generation is live, the candidate may already have
    /// accepted connections, which finish first.
    pub(super) fn supersede(&mut self, id: GenId, turn: &mut Turn) {
        if self.live().is_some() {
            return self.stop_candidate(id, turn);
        }
        self.begin_drain(id, Progress::Quiescing, turn);
        self.forward(id, turn);
        let now = turn.now;
        self.with_drain(id, turn, |drain, policy| {
            drain.quiescent(false, now, policy)
        });
    }

    /// Handles the end of the candidate. If it ended during its switch, new connections may already go to it, so they are
    /// sent back to the live generation.
    pub(super) fn candidate_ended(&mut self, id: GenId, survivors: bool, turn: &mut Turn) {
        if self.is_switching()
            && let Some(live) = self.live()
        {
            turn.effect(live, GenEffect::Switch);
        }
        self.begin_drain(id, Progress::Stopped, turn);
        self.forward_and_kill(id, survivors, turn);
    }

    /// Forwards the connections of a generation that has ended, and kills the rest of its process tree.
    pub(super) fn forward_and_kill(&mut self, id: GenId, survivors: bool, turn: &mut Turn) {
        self.forward(id, turn);
        if survivors {
            self.with_drain(id, turn, |drain, _| drain.kill(Stopped::Killed));
        }
    }

    pub(super) fn begin_drain(&mut self, id: GenId, progress: Progress, turn: &Turn) {
        let drain = Drain::begin(turn.now, &self.policy, progress);
        if let Some(known) = self.find_mut(id) {
            known.state = GenState::Draining(drain);
        }
    }

    /// Forwards connections that still arrive at this generation's listeners, so that none is lost.
    pub(super) fn forward(&self, id: GenId, turn: &mut Turn) {
        turn.effect(id, GenEffect::Forward);
        self.hold(turn);
    }

    /// Holds new connections, unless a generation is live or a switch is in progress: holding would undo the switch.
    pub(super) fn hold(&self, turn: &mut Turn) {
        if self.live().is_none() && !self.is_switching() {
            turn.reaction.effects.push(Effect::Hold);
        }
    }

    /// Removes a draining generation whose processes are gone. `in_use`: how many connections were in use at the last
    /// check, if that is known.
    pub(super) fn release(&mut self, id: GenId, in_use: Option<u32>, turn: &mut Turn) {
        let Some(GenState::Draining(drain)) = self.find(id).map(|known| known.state) else {
            return;
        };
        if drain.may_stay() {
            turn.effect(id, GenEffect::Forward);
        }
        self.generations.retain(|known| known.id != id);
        turn.effect(id, GenEffect::Release);
        let (how, took) = (drain.how, turn.now.since(drain.since));
        turn.notice(id, GenNotice::Gone { how, in_use, took });
        if let Some(quit) = &mut self.quit {
            quit.clean &= how != Stopped::TimedOut;
        }
    }

    /// Applies `react` to a generation, if it is draining.
    pub(super) fn with_drain(
        &mut self,
        id: GenId,
        turn: &mut Turn,
        react: impl FnOnce(&mut Drain, &Policy) -> Effects,
    ) {
        let mut known = self.generations.iter_mut().filter(|known| known.id == id);
        if let Some(drain) = known.next().and_then(Generation::drain_mut) {
            for effect in react(drain, &self.policy) {
                turn.effect(id, *effect);
            }
        }
    }

    /// Applies `react` to all draining generations, and reports those that are killed.
    pub(super) fn with_all_drains(
        &mut self,
        turn: &mut Turn,
        react: impl Fn(&mut Drain, &Policy) -> Effects,
    ) {
        for known in &mut self.generations {
            let id = known.id;
            let Some(drain) = known.drain_mut() else {
                continue;
            };
            let effects = react(drain, &self.policy);
            if effects.contains(&GenEffect::Kill) {
                let (why, after) = (drain.how, turn.now.since(drain.since));
                turn.notice(id, GenNotice::Killing { why, after });
            }
            for effect in effects {
                turn.effect(id, *effect);
            }
        }
    }

    pub(super) fn kill_draining(&mut self, turn: &mut Turn) {
        self.with_all_drains(turn, |drain, _| drain.kill(Stopped::Killed));
    }
}
