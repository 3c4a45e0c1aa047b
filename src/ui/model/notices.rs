//! What each notice changes in the model.

use std::time::Duration;

use super::{Last, Model};
use crate::reload::{Cause, GenId, GenNotice, Notice, Phase};

impl Model {
    pub(super) fn fold_notice(&mut self, notice: &Notice, now: Duration) {
        match notice {
            Notice::Generation(id, notice) => self.fold_generation(*id, notice, now),
            Notice::Quitting { timeout } => self.quitting = Some((now, *timeout)),
            Notice::Waiting => self.waiting = true,
            Notice::Paused => self.paused = true,
            Notice::Resumed => (self.paused, self.held) = (false, false),
            Notice::NothingToUndo => {}
        }
    }

    fn fold_generation(&mut self, id: GenId, notice: &GenNotice, now: Duration) {
        match notice {
            GenNotice::Building { cause } => {
                self.building(id, *cause, now);
            }
            GenNotice::Built { took } => {
                self.building = None;
                self.last.built = Some(*took);
                self.broken = None;
            }
            GenNotice::Starting { cause } => {
                self.because(*cause);
                if !self.generations.contains_key(&id) {
                    self.because_of_files(*cause);
                    // Without a build of its own: what the last one was like is not told of this one.
                    self.last = Last::default();
                }
                self.enter(id, Phase::Starting, now);
            }
            GenNotice::Live { .. } => {
                self.enter(id, Phase::Live, now);
                self.generation(id, now).served = Some(now);
                self.serves(id);
                self.undoable |=
                    self.artifact == Some(id) && std::mem::replace(&mut self.served, true);
                // Who is back after a crash does not mend what crashed, and no more if it is started anew.
                self.back &= self.cause == Some(Cause::Crash);
                self.back |= self.cause == Some(Cause::RollBack);
                self.undoable &= !self.back;
                self.problem.take_if(|_| !self.back);
            }
            GenNotice::Restored => {
                self.enter(id, Phase::Live, now);
                self.serves(id);
                self.undoable = false;
                let generation = self.generation(id, now);
                // It has been up all the time.
                (generation.drain, generation.since) = (None, generation.served.unwrap_or(now));
            }
            GenNotice::Ready { took } => {
                self.enter(id, Phase::Ready, now);
                self.generation(id, now).ready = Some(*took);
                self.last.ready = Some(*took);
            }
            GenNotice::Draining { timeout } => {
                self.enter(id, Phase::Draining, now);
                self.generation(id, now).drain = Some(*timeout);
            }
            GenNotice::Superseded => self.fail(id, now),
            GenNotice::Failed { failure, .. } => {
                self.failed(id, *failure, now);
            }
            GenNotice::BuildCancelled | GenNotice::Outdated => {
                self.building = None;
                self.generations.remove(&id);
            }
            GenNotice::Gone { .. } => drop(self.generations.remove(&id)),
            GenNotice::Killing { why, .. } => self.killing(id, *why, now),
            GenNotice::TimeoutExtended { left } => {
                let generation = self.generation(id, now);
                let age = now.saturating_sub(generation.since);
                generation.drain = generation.drain.map(|drain| drain.max(age + *left));
            }
            GenNotice::ReloadSignalSent { .. }
            | GenNotice::ReloadSignalUnhandled { .. }
            | GenNotice::StoredFds
            | GenNotice::RestartScheduled { .. }
            | GenNotice::Aborting { .. } => {}
            GenNotice::Unchanged { like } => {
                self.building = None;
                self.generations.remove(&id);
                self.last.unchanged = true;
                self.broken = None;
                // Whatever failed since, the sources are again those of what serves.
                let serves = self.live() == Some(*like);
                self.problem.take_if(|_| serves);
            }
        }
    }
}
