//! The end: what the user asked for, and what hotrun makes of it.

use super::{Machine, Quit, Response};
use crate::reload::leaving::Leaving;
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
        self.wanted = None;
        self.held = None;
        self.next = None;
        out.notices.push(Notice::Quitting { timeout });
        if let Some(building) = self
            .building
            .as_mut()
            .filter(|building| !building.cancelled)
        {
            building.cancelled = true;
            out.effects
                .push(Effect::Generation(building.id, GenEffect::CancelBuild));
        }
        // No relay for these: there is nobody to carry to, and what still accepts may still answer.
        let running = self
            .candidate
            .take()
            .map(|candidate| candidate.id)
            .into_iter()
            .chain(self.live.take());
        for id in running {
            self.leaving.push(Leaving::asked(id, now, &self.policy));
            out.effects.push(Effect::Generation(id, GenEffect::Stop));
        }
        for leaving in &mut self.leaving {
            out.effects.extend(leaving.hurry(now, &self.policy));
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

    pub(super) fn finish(&mut self, out: &mut Response) {
        let timed_out = |notice: &Notice| {
            matches!(
                notice,
                Notice::Generation(
                    _,
                    GenNotice::Gone {
                        how: Stopped::TimedOut,
                        ..
                    }
                )
            )
        };
        let clean = !out.notices.iter().any(timed_out);
        let left = self.building.is_some() || !self.leaving.is_empty();
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
