//! The ways to part with a generation.

use super::{Candidate, Failure, Leaving, Machine, Response};
use crate::reload::{Effect, GenEffect, GenId, GenNotice, Notice, Policy, Stopped, Time};

impl Machine {
    /// The generation has lost the traffic: let it finish.
    pub(super) fn retire(&mut self, now: Time, id: GenId, out: &mut Response) {
        self.leaving.push(Leaving::settling(id, now, &self.policy));
        out.notices.push(Notice::Generation(
            id,
            GenNotice::Draining {
                timeout: self.policy.stop_timeout,
            },
        ));
        out.effects
            .push(Effect::Generation(id, GenEffect::AwaitQuiescent));
    }

    /// The generation was never live and shall go. What waits at its sockets, if it was the first, is kept.
    pub(super) fn dismiss(&mut self, now: Time, id: GenId, out: &mut Response) {
        self.leaving.push(Leaving::asked(id, now, &self.policy));
        self.keep_waiting(id, out);
        out.effects.push(Effect::Generation(id, GenEffect::Stop));
    }

    /// The candidate, if it is this one, has ended by itself. When that happens on its way to be live, the switch
    /// may have been made: new connections go back to the generation that is live in truth.
    pub(super) fn lose_candidate(&mut self, id: GenId, out: &mut Response) -> Option<Candidate> {
        let candidate = self.candidate.take_if(|candidate| candidate.id == id)?;
        if candidate.ready.is_some()
            && let Some(id) = self.live
        {
            out.effects.push(Effect::Generation(id, GenEffect::Switch));
        }
        Some(candidate)
    }

    /// The generation has ended by itself; kill what it left behind.
    pub(super) fn abandon(&mut self, now: Time, id: GenId, survivors: bool, out: &mut Response) {
        let mut leaving = Leaving::ended(id, now, &self.policy);
        self.keep_waiting(id, out);
        if survivors {
            out.effects.extend(leaving.kill(Stopped::Killed));
        }
        self.leaving.push(leaving);
    }

    /// Nothing that was meant for this generation is lost with it.
    pub(super) fn keep_waiting(&self, id: GenId, out: &mut Response) {
        out.effects.push(Effect::Generation(id, GenEffect::Forward));
        self.hold(out);
    }

    /// Who connects waits, unless somebody serves. Holding would undo a switch that is under way.
    pub(super) fn hold(&self, out: &mut Response) {
        let switching = self.candidate.is_some_and(|next| next.ready.is_some());
        if self.live.is_none() && !switching {
            out.effects.push(Effect::Hold);
        }
    }

    /// Nothing is left of a generation that was leaving.
    pub(super) fn release(&mut self, now: Time, id: GenId, out: &mut Response) {
        let Some(index) = self.leaving.iter().position(|leaving| leaving.id == id) else {
            return;
        };
        let leaving = self.leaving.remove(index);
        out.effects.extend(leaving.vanished());
        self.forget(id, out);
        out.notices.push(Notice::Generation(
            id,
            GenNotice::Gone {
                how: leaving.how,
                took: now.since(leaving.since),
            },
        ));
    }

    /// Nothing is left of a generation.
    pub(super) fn forget(&mut self, id: GenId, out: &mut Response) {
        self.listening.retain(|listening| *listening != id);
        self.servers.retain(|server| *server != id);
        self.watchdogs.retain(|watchdog| watchdog.id != id);
        out.effects.push(Effect::Generation(id, GenEffect::Release));
    }

    pub(super) fn failed(&self, id: GenId, failure: Failure, out: &mut Response) {
        if self.quit.is_none() {
            out.notices.push(Notice::Generation(
                id,
                GenNotice::Failed {
                    failure,
                    live: self.live,
                },
            ));
        }
    }

    /// It was started and is never live.
    pub(super) fn failed_to_follow(
        &mut self,
        candidate: &Candidate,
        failure: Failure,
        out: &mut Response,
    ) {
        self.lose_successor(candidate, failure);
        self.failed(candidate.id, failure, out);
    }

    /// The generation, if it is leaving, takes a step.
    pub(super) fn leave(
        &mut self,
        id: GenId,
        out: &mut Response,
        step: impl FnOnce(&mut Leaving, &Policy) -> Vec<Effect>,
    ) {
        if let Some(leaving) = self.leaving.iter_mut().find(|leaving| leaving.id == id) {
            out.effects.extend(step(leaving, &self.policy));
        }
    }
}
