//! The end of hotrun.

use super::drain::Drain;
use super::generation::State;
use super::state::{HeldBack, Quit};
use super::{Machine, Response};
use crate::reload::{Effect, GenEffect, GenNotice, Notice, Stopped, Time};

impl Machine {
    pub(super) fn begin_quit(&mut self, now: Time, out: &mut Response) {
        let timeout = self.policy.stop_timeout;
        let until = now.plus(timeout).plus(self.policy.kill_timeout);
        self.quit = Some(Quit {
            until,
            clean: true,
            finished: false,
        });
        self.pending = None;
        self.queued = None;
        self.paused = self.paused.map(|_| HeldBack::default());
        out.notices.push(Notice::Quitting { timeout });
        self.cancel_build(out);
        for known in self.generations.iter_mut().rev() {
            let effects = match known.drain_mut() {
                Some(drain) => drain.quit(now, &self.policy),
                // Nothing to forward: no generation will be live, and this one may still respond.
                None => {
                    known.state = State::Draining(Drain::stopped(now, &self.policy));
                    vec![GenEffect::Stop]
                }
            };
            for effect in effects {
                out.effect(known.id, effect);
            }
        }
    }

    pub(super) fn quit_now(&mut self, now: Time, out: &mut Response) {
        if self.quit.is_none() {
            self.begin_quit(now, out);
        }
        self.kill_draining(now, out);
        let until = now.plus(self.policy.kill_timeout);
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.min(until);
        }
    }

    pub(super) fn cancel_build(&mut self, out: &mut Response) {
        let building = self.building.as_mut();
        if let Some(building) = building.filter(|building| !building.cancelled) {
            building.cancelled = true;
            out.effect(building.id, GenEffect::CancelBuild);
        }
    }

    /// Ends hotrun once nothing is left.
    pub(super) fn finish(&mut self, out: &mut Response) {
        let timed_out = |notice: &Notice| {
            let how = Stopped::TimedOut;
            matches!(notice, Notice::Generation(_, GenNotice::Gone { how: found, .. }) if *found == how)
        };
        let clean = !out.notices.iter().any(timed_out);
        let left = self.building.is_some() || !self.generations.is_empty();
        let Some(quit) = self.quit.as_mut().filter(|quit| !quit.finished) else {
            return;
        };
        quit.clean &= clean;
        if !left {
            quit.finished = true;
            out.effects.push(Effect::Finish { clean: quit.clean });
        }
    }
}
