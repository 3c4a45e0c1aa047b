//! How hotrun quits.

use super::drain::Drain;
use super::generation::State;
use super::state::Quit;
use super::{Machine, Step};
use crate::reload::{Effect, GenEffect, Notice};

impl Machine {
    /// Starts to quit. Further calls do nothing, because a closed terminal leads to several requests.
    pub(super) fn begin_quit(&mut self, step: &mut Step) {
        if self.quit.is_some() {
            return;
        }
        let timeout = self.policy.stop_timeout;
        self.quit = Some(Quit {
            until: step.now.plus(timeout).plus(self.policy.kill_timeout),
            clean: true,
            finished: false,
        });
        self.pending = None;
        self.queued = None;
        self.paused = None;
        step.notices.push(Notice::Quitting { timeout });
        self.cancel_build(step);
        for known in self.generations.iter_mut().rev() {
            let effects = match known.drain_mut() {
                Some(drain) => drain.quit(step.now, &self.policy),
                // Don't forward: no generation will be live, and this one may still respond.
                None => {
                    known.state = State::Draining(Drain::stopped(step.now, &self.policy));
                    &[GenEffect::Stop]
                }
            };
            for effect in effects {
                step.effect(known.id, *effect);
            }
        }
    }

    pub(super) fn quit_now(&mut self, step: &mut Step) {
        self.begin_quit(step);
        self.kill_draining(step);
        let until = step.now.plus(self.policy.kill_timeout);
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.min(until);
        }
    }

    /// Ends hotrun once nothing is running, or when the time limit has passed.
    pub(super) fn finish(&mut self, step: &mut Step) {
        let left = self.building.is_some() || !self.generations.is_empty();
        if let Some(quit) = self.quit.as_mut()
            && (!left || step.now >= quit.until)
        {
            quit.finished = true;
            let clean = quit.clean && !left;
            step.effects.push(Effect::Finish { clean });
        }
    }
}
