//! Several instances of the program (`--instances`).
//!
//! Each instance has a [`Machine`] of its own, so an instance that crashes is started again under the same limits as a
//! single program. Only the first instance builds. Once it serves a build or has been restarted for a change or a
//! request, the others follow it, one after another. If one of them cannot be started, the roll stops, and the first
//! instance goes back to the artifact before. Those that have followed it then go back, too.

mod roll;
mod state;

pub use state::Instances;

use super::Machine;
use super::generation::Generation;
use crate::reload::{Effect, Event, GenEvent, GenNotice, Notice, Phase, Reaction, Request, Time};

impl Instances {
    /// Handles `event`, which happened at `now`, and returns what follows. `now` must never go backwards.
    pub fn handle(&mut self, now: Time, event: Event) -> Reaction {
        if self.machines.len() == 1 {
            return self.machines[0].handle(now, event);
        }
        let mut all = Reaction::default();
        for index in self.concerned(event) {
            self.step(index, &mut all, |machine| machine.handle(now, event));
        }
        self.follow(now, &mut all);
        self.finish(&mut all);
        all
    }

    /// The instances that an event concerns.
    fn concerned(&self, event: Event) -> Vec<usize> {
        let all = 0..self.machines.len();
        let which = |select: &dyn Fn(&usize) -> bool| {
            let found: Vec<_> = all.clone().filter(select).collect();
            if found.is_empty() { vec![0] } else { found }
        };
        match event {
            // It follows the first instance, which is restarted.
            Event::Generation(id, GenEvent::ReloadSignalSent { handled: false, .. }) => {
                which(&|index| *index == 0 && self.machines[0].phase(id) != Phase::Gone)
            }
            Event::Generation(id, _) => {
                which(&|index| self.machines[*index].phase(id) != Phase::Gone)
            }
            Event::Requested(Request::KillDraining) => {
                which(&|index| self.machines[*index].has_draining())
            }
            // An instance that has not been started yet reads the new files anyway.
            Event::ConfigChanged { .. } => {
                which(&|index| *index == 0 || self.followed[index - 1].is_some())
            }
            Event::Requested(
                Request::Pause | Request::Resume | Request::Quit | Request::QuitNow,
            )
            | Event::Tick => all.collect(),
            Event::Begin
            | Event::ChangeSeen
            | Event::ChangesSettled
            | Event::Changed(_)
            | Event::MemoryMeasured { .. }
            | Event::Requested(
                Request::Reload
                | Request::Undo
                | Request::ShareMore
                | Request::ShareLess
                | Request::ShareAll,
            ) => vec![0],
        }
    }

    /// Lets one machine act, and adds its reaction.
    fn step(
        &mut self,
        index: usize,
        all: &mut Reaction,
        act: impl FnOnce(&mut Machine) -> Reaction,
    ) {
        // No two instances use the same number.
        let upcoming = self.machines.iter().map(|machine| machine.upcoming).max();
        let machine = &mut self.machines[index];
        machine.upcoming = upcoming.unwrap_or(machine.upcoming);
        let Reaction { effects, notices } = act(machine);
        if index > 0 {
            // Only the first instance goes back after a crash; the others follow.
            machine.recovery.blame_until = None;
        }
        for effect in effects {
            self.effect(index, effect, all);
        }
        for notice in notices {
            self.notice(index, notice, all);
        }
        if self.responding && self.machines.iter().any(Machine::is_busy) {
            self.responding = false;
            all.effects.insert(0, Effect::StopResponding);
        }
    }

    /// Passes on an effect of one instance, if the others allow it.
    fn effect(&mut self, index: usize, effect: Effect, all: &mut Reaction) {
        let serves = |machine: &Machine| machine.live().is_some() || machine.is_switching();
        let mut others = self.machines.iter().enumerate();
        let may_hold = !others.any(|(other, machine)| other != index && serves(machine));
        let passes = match effect {
            Effect::Hold => may_hold,
            Effect::RespondUnavailable { .. } => {
                let is_down = self.machines.iter().all(Machine::is_down);
                self.responding |= is_down;
                is_down
            }
            // Requested by `step` and `finish`.
            Effect::StopResponding => false,
            Effect::Finish { clean } => {
                self.clean &= clean;
                false
            }
            Effect::HoldNew
            | Effect::StopHolding
            | Effect::MeasureMemory
            | Effect::Generation(..) => true,
        };
        if passes {
            all.effects.push(effect);
        }
    }

    /// Passes on a notice of one instance, unless it only repeats one of the first instance.
    fn notice(&mut self, index: usize, notice: Notice, all: &mut Reaction) {
        let passes = match notice {
            Notice::Generation(id, notice) => {
                self.note(index, id, notice);
                return all
                    .notices
                    .push(Notice::Generation(id, self.completed(notice)));
            }
            Notice::Waiting => self.machines.iter().all(Machine::is_down),
            Notice::Undone { .. } | Notice::NothingShared | Notice::NothingToKill => true,
            Notice::Paused | Notice::Resumed | Notice::Quitting { .. } | Notice::NothingToUndo => {
                index == 0
            }
        };
        if passes {
            all.notices.push(notice);
        }
    }

    /// Names an instance that is live if the one that has failed is not.
    fn completed(&self, notice: GenNotice) -> GenNotice {
        let GenNotice::Failed { failure, live } = notice else {
            return notice;
        };
        let live = live.or_else(|| self.live().next());
        GenNotice::Failed { failure, live }
    }

    fn finish(&mut self, all: &mut Reaction) {
        let finished = |machine: &Machine| machine.quit.is_some_and(|quit| quit.finished);
        if !self.finished && self.machines.iter().all(finished) {
            self.finished = true;
            let clean = self.clean;
            all.effects.push(Effect::Finish { clean });
        }
    }
}

impl Machine {
    fn has_draining(&self) -> bool {
        self.generations.iter().any(Generation::is_draining)
    }

    fn is_starting(&self) -> bool {
        self.queued.is_some() || self.candidate().is_some()
    }

    /// Whether no generation is live, and none will be until something changes.
    fn is_down(&self) -> bool {
        self.live().is_none() && !self.is_busy() && self.recovery.crash.is_none()
    }
}

#[cfg(test)]
mod tests;
