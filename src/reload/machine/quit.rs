//! How hotrun quits.

use super::drain::{Drain, Progress};
use super::generation::GenState;
use super::state::Quit;
use super::{Machine, Turn};
use crate::reload::{Effect, GenEffect, Notice};

impl Machine {
    /// Starts quitting. Further calls do nothing, because a closed terminal may cause several requests.
    pub(super) fn begin_quit(&mut self, turn: &mut Turn) {
        if self.quit.is_some() {
            return;
        }
        let timeout = self.policy.stop_timeout;
        self.quit = Some(Quit {
            until: turn.now.plus(timeout).plus(self.policy.kill_timeout),
            clean: true,
            finished: false,
        });
        self.pending = None;
        self.queued = None;
        self.paused = None;
        turn.reaction.notices.push(Notice::Quitting { timeout });
        self.cancel_build(turn);
        for known in self.generations.iter_mut().rev() {
            // The connections of a generation that is not draining yet are not forwarded: no generation will be live, and
            // this one may still respond.
            let is_starting = matches!(known.state, GenState::Starting { .. });
            let serves = known.is_server && !is_starting && !known.watchdog.fired;
            let effects = match known.drain_mut() {
                Some(drain) => drain.quit(turn.now, &self.policy),
                None if serves => {
                    let mut drain = Drain::begin(turn.now, &self.policy, Progress::Quitting);
                    let effects = drain.quit(turn.now, &self.policy);
                    known.state = GenState::Draining(drain);
                    effects
                }
                None => {
                    known.state =
                        GenState::Draining(Drain::begin(turn.now, &self.policy, Progress::Stopped));
                    &[GenEffect::Stop]
                }
            };
            for effect in effects {
                turn.effect(known.id, *effect);
            }
        }
    }

    pub(super) fn quit_now(&mut self, turn: &mut Turn) {
        self.begin_quit(turn);
        self.kill_draining(turn);
        let until = turn.now.plus(self.policy.kill_timeout);
        if let Some(quit) = &mut self.quit {
            quit.until = quit.until.min(until);
        }
    }

    /// Finishes once nothing is running or the time limit has passed.
    pub(super) fn finish(&mut self, turn: &mut Turn) {
        let left = self.building.is_some() || !self.generations.is_empty();
        if let Some(quit) = self.quit.as_mut()
            && (!left || turn.now >= quit.until)
        {
            quit.finished = true;
            let clean = quit.clean && !left;
            turn.reaction.effects.push(Effect::Finish { clean });
        }
    }
}
