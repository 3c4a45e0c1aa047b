//! The ways in which a generation leaves.

use super::drain::{Drain, Effects};
use super::generation::{Generation, State};
use super::{Machine, Step};
use crate::reload::{Effect, GenEffect, GenId, GenNotice, Policy, Stopped};

impl Machine {
    /// The generation has lost the traffic: it may finish.
    pub(super) fn retire(&mut self, id: GenId, step: &mut Step) {
        self.begin_drain(id, Drain::retired(step.now, &self.policy));
        let timeout = self.policy.stop_timeout;
        step.notice(id, GenNotice::Draining { timeout });
        step.effect(id, GenEffect::AwaitQuiescent);
    }

    /// Stops a generation that was never live. If it was the first one, connections at its sockets continue to wait.
    pub(super) fn dismiss(&mut self, id: GenId, step: &mut Step) {
        self.begin_drain(id, Drain::stopped(step.now, &self.policy));
        self.forward(id, step);
        step.effect(id, GenEffect::Stop);
    }

    /// A newer generation is started instead. While no generation is live, connections wait in this one's listeners. It
    /// may have accepted some, which finish first.
    pub(super) fn supersede(&mut self, id: GenId, step: &mut Step) {
        if self.live().is_some() {
            return self.dismiss(id, step);
        }
        self.begin_drain(id, Drain::superseded(step.now, &self.policy));
        self.forward(id, step);
        step.effect(id, GenEffect::CheckStopSignal);
    }

    /// The candidate ended. If that happened during its switch, the switch may have been made: new connections go back
    /// to the generation that is live.
    pub(super) fn lose_candidate(&mut self, id: GenId, survivors: bool, step: &mut Step) {
        if self.is_switching()
            && let Some(live) = self.live()
        {
            step.effect(live, GenEffect::Switch);
        }
        self.begin_drain(id, Drain::ended(step.now, &self.policy));
        self.clean_up(id, survivors, step);
    }

    /// The generation ended: kill the rest of its tree.
    pub(super) fn clean_up(&mut self, id: GenId, survivors: bool, step: &mut Step) {
        self.forward(id, step);
        if survivors {
            self.drain(id, step, |drain, _| drain.kill(Stopped::Killed));
        }
    }

    pub(super) fn begin_drain(&mut self, id: GenId, drain: Drain) {
        if let Some(known) = self.find_mut(id) {
            known.state = State::Draining(drain);
        }
    }

    /// Forwards what still arrives for this generation, so that no connection is lost with it.
    pub(super) fn forward(&self, id: GenId, step: &mut Step) {
        step.effect(id, GenEffect::Forward);
        self.hold(step);
    }

    /// Lets new connections wait unless a generation is live. Holding would undo a switch that is under way.
    pub(super) fn hold(&self, step: &mut Step) {
        if self.live().is_none() && !self.is_switching() {
            step.effects.push(Effect::Hold);
        }
    }

    /// Removes a draining generation whose processes are gone.
    pub(super) fn release(&mut self, id: GenId, step: &mut Step) {
        let Some(State::Draining(drain)) = self.find(id).map(|known| known.state) else {
            return;
        };
        if drain.may_stay() {
            step.effect(id, GenEffect::Forward);
        }
        self.generations.retain(|known| known.id != id);
        step.effect(id, GenEffect::Release);
        let (how, took) = (drain.how, step.now.since(drain.since));
        step.notice(id, GenNotice::Gone { how, took });
        if let Some(quit) = &mut self.quit {
            quit.clean &= how != Stopped::TimedOut;
        }
    }

    /// Lets a generation take a step, if it is draining.
    pub(super) fn drain(
        &mut self,
        id: GenId,
        step: &mut Step,
        react: impl FnOnce(&mut Drain, &Policy) -> Effects,
    ) {
        let mut known = self.generations.iter_mut().filter(|known| known.id == id);
        if let Some(drain) = known.next().and_then(Generation::drain_mut) {
            for effect in react(drain, &self.policy) {
                step.effect(id, *effect);
            }
        }
    }

    /// Lets all draining generations take a step, and reports those that it kills.
    pub(super) fn drain_all(
        &mut self,
        step: &mut Step,
        react: impl Fn(&mut Drain, &Policy) -> Effects,
    ) {
        for known in &mut self.generations {
            let id = known.id;
            let Some(drain) = known.drain_mut() else {
                continue;
            };
            let effects = react(drain, &self.policy);
            if effects.contains(&GenEffect::Kill) {
                let (why, after) = (drain.how, step.now.since(drain.since));
                step.notice(id, GenNotice::Killing { why, after });
            }
            for effect in effects {
                step.effect(id, *effect);
            }
        }
    }

    pub(super) fn kill_draining(&mut self, step: &mut Step) {
        self.drain_all(step, |drain, _| drain.kill(Stopped::Killed));
    }
}
