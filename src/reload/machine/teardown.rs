//! The ways in which a generation leaves.

use super::drain::Drain;
use super::generation::{Generation, State};
use super::{Machine, Response};
use crate::reload::{Effect, GenEffect, GenId, GenNotice, Policy, Stopped, Time};

impl Machine {
    /// The generation has lost the traffic: it may finish.
    pub(super) fn retire(&mut self, now: Time, id: GenId, out: &mut Response) {
        self.begin_drain(id, Drain::retired(now, &self.policy));
        let timeout = self.policy.stop_timeout;
        out.notice(id, GenNotice::Draining { timeout });
        out.effect(id, GenEffect::AwaitQuiescent);
    }

    /// The generation was never live and must go. If it was the first one, what waits at its sockets continues to wait.
    pub(super) fn dismiss(&mut self, now: Time, id: GenId, out: &mut Response) {
        self.begin_drain(id, Drain::stopped(now, &self.policy));
        self.forward(id, out);
        out.effect(id, GenEffect::Stop);
    }

    /// The candidate ended. If that happened during its switch, the switch may have been made: new connections go back
    /// to the generation that is live.
    pub(super) fn lose_candidate(
        &mut self,
        now: Time,
        id: GenId,
        survivors: bool,
        out: &mut Response,
    ) {
        if self.is_switching()
            && let Some(live) = self.live()
        {
            out.effect(live, GenEffect::Switch);
        }
        self.begin_drain(id, Drain::ended(now, &self.policy));
        self.clean_up(id, survivors, out);
    }

    /// The generation ended: kill the rest of its tree.
    pub(super) fn clean_up(&mut self, id: GenId, survivors: bool, out: &mut Response) {
        self.forward(id, out);
        if survivors {
            self.drain(id, out, |drain, _| drain.kill(Stopped::Killed));
        }
    }

    pub(super) fn begin_drain(&mut self, id: GenId, drain: Drain) {
        if let Some(known) = self.find_mut(id) {
            known.state = State::Draining(drain);
        }
    }

    /// Nothing that was meant for this generation is lost with it.
    pub(super) fn forward(&self, id: GenId, out: &mut Response) {
        out.effect(id, GenEffect::Forward);
        self.hold(out);
    }

    /// Lets new connections wait unless a generation is live. Holding would undo a switch that is under way.
    pub(super) fn hold(&self, out: &mut Response) {
        if self.live().is_none() && !self.is_switching() {
            out.effects.push(Effect::Hold);
        }
    }

    /// Nothing is left of a draining generation.
    pub(super) fn release(&mut self, now: Time, id: GenId, out: &mut Response) {
        let Some(drain) = self.find(id).and_then(Generation::drain).copied() else {
            return;
        };
        for effect in drain.vanished() {
            out.effect(id, effect);
        }
        self.forget(id);
        out.effect(id, GenEffect::Release);
        let (how, took) = (drain.how, now.since(drain.since));
        out.notice(id, GenNotice::Gone { how, took });
    }

    pub(super) fn forget(&mut self, id: GenId) -> Option<Generation> {
        let index = self.generations.iter().position(|known| known.id == id)?;
        Some(self.generations.remove(index))
    }

    /// Lets a generation take a step, if it is draining.
    pub(super) fn drain(
        &mut self,
        id: GenId,
        out: &mut Response,
        step: impl FnOnce(&mut Drain, &Policy) -> Vec<GenEffect>,
    ) {
        let mut known = self.generations.iter_mut().filter(|known| known.id == id);
        if let Some(drain) = known.next().and_then(Generation::drain_mut) {
            for effect in step(drain, &self.policy) {
                out.effect(id, effect);
            }
        }
    }

    pub(super) fn drain_timeouts(&mut self, now: Time, out: &mut Response) {
        self.drain_all(now, out, |drain, policy| drain.tick(now, policy));
    }

    /// Lets all draining generations take a step, and reports those that it kills.
    pub(super) fn drain_all(
        &mut self,
        now: Time,
        out: &mut Response,
        step: impl Fn(&mut Drain, &Policy) -> Vec<GenEffect>,
    ) {
        for known in &mut self.generations {
            let id = known.id;
            let Some(drain) = known.drain_mut() else {
                continue;
            };
            let effects = step(drain, &self.policy);
            if effects.contains(&GenEffect::Kill) {
                let (why, after) = (drain.how, now.since(drain.since));
                out.notice(id, GenNotice::Killing { why, after });
            }
            for effect in effects {
                out.effect(id, effect);
            }
        }
    }
}
