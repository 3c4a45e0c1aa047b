//! Explores what a few instances may do, with a model of their programs.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;

use super::*;
use crate::reload::{Action, ArtifactId, BuildOutcome, Ended, GenEffect, GenId, Policy};

/// What the driver would know about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Program {
    Starting,
    Switching,
    Live,
    AwaitsQuiescent,
    AwaitsIdle,
    Stopping,
    Ended,
}

/// How much may happen that is not caused by hotrun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    changes: u8,
    failed_starts: u8,
    crashes: u8,
    quits: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    instances: Instances,
    programs: BTreeMap<GenId, Program>,
    build: Option<(GenId, bool)>,
    built: u32,
    budget: Budget,
    now: Time,
    /// Whether all instances have served at the same time.
    complete: bool,
    finished: bool,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Change,
    Undo,
    Quit,
    Fail(GenId),
    Crash(GenId),
    Go(Event),
    /// The program ends after a stop signal or a kill.
    End(GenId),
    Wait(Time),
}

impl World {
    fn new(count: usize, budget: Budget) -> Self {
        let mut this = Self {
            instances: Instances::new(Policy::default(), count),
            programs: BTreeMap::new(),
            build: None,
            built: 0,
            budget,
            now: Time::START,
            complete: false,
            finished: false,
        };
        this.send(Event::Begin);
        this
    }

    /// What happens without anything new: builds succeed, programs start and end.
    fn cooperations(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if let Some((id, cancelled)) = self.build {
            let artifact = ArtifactId(self.built + 1);
            let outcome = match cancelled {
                true => BuildOutcome::Cancelled,
                false => BuildOutcome::Built {
                    artifact,
                    kept: true,
                },
            };
            moves.push(Move::Go(Event::Generation(
                id,
                GenEvent::BuildEnded(outcome),
            )));
        }
        for (id, program) in &self.programs {
            let event = match program {
                Program::Starting => GenEvent::Ready,
                Program::Switching => GenEvent::Switched,
                Program::AwaitsQuiescent => GenEvent::Quiescent,
                Program::AwaitsIdle => GenEvent::Idle,
                Program::Stopping | Program::Ended => {
                    moves.push(Move::End(*id));
                    continue;
                }
                Program::Live => continue,
            };
            moves.push(Move::Go(Event::Generation(*id, event)));
        }
        if moves.is_empty()
            && let Some(deadline) = self.instances.deadline()
        {
            moves.push(Move::Wait(deadline));
        }
        moves
    }

    fn surprises(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.budget.changes > 0 {
            moves.extend([Move::Change, Move::Undo]);
        }
        if self.budget.quits > 0 {
            moves.push(Move::Quit);
        }
        for (id, program) in &self.programs {
            match program {
                Program::Starting if self.budget.failed_starts > 0 => moves.push(Move::Fail(*id)),
                Program::Live if self.budget.crashes > 0 => moves.push(Move::Crash(*id)),
                Program::Starting
                | Program::Switching
                | Program::Live
                | Program::AwaitsQuiescent
                | Program::AwaitsIdle
                | Program::Stopping
                | Program::Ended => {}
            }
        }
        moves
    }

    fn act(&mut self, action: Move) {
        match action {
            Move::Change => {
                self.budget.changes -= 1;
                self.send(Event::Changed(Action::Build));
            }
            Move::Undo => {
                self.budget.changes -= 1;
                self.send(Event::Requested(Request::Undo));
            }
            Move::Quit => {
                self.budget.quits -= 1;
                self.send(Event::Requested(Request::Quit));
            }
            Move::Fail(id) => {
                self.budget.failed_starts -= 1;
                self.end(id);
            }
            Move::Crash(id) => {
                self.budget.crashes -= 1;
                self.end(id);
            }
            Move::End(id) => self.end(id),
            Move::Wait(until) => {
                self.now = until;
                self.send(Event::Tick);
            }
            Move::Go(event) => {
                if let Event::Generation(_, GenEvent::BuildEnded(outcome)) = event {
                    self.build = None;
                    self.built += u32::from(outcome != BuildOutcome::Cancelled);
                }
                if let Event::Generation(id, GenEvent::Switched) = event {
                    self.programs.insert(id, Program::Live);
                }
                self.send(event);
            }
        }
    }

    /// Reports the end of a program and of its tree.
    fn end(&mut self, id: GenId) {
        self.programs.insert(id, Program::Ended);
        let ended = Ended::Code(1);
        let survivors = false;
        self.send(Event::Generation(id, GenEvent::Exited { ended, survivors }));
        self.send(Event::Generation(id, GenEvent::Gone { in_use: None }));
    }

    fn send(&mut self, event: Event) {
        let served = self.instances.live().count();
        let dies = match event {
            Event::Generation(id, GenEvent::Exited { .. } | GenEvent::Gone { .. }) => {
                self.instances.phase(id) == Phase::Live
            }
            Event::Generation(..)
            | Event::Begin
            | Event::ChangeSeen
            | Event::ChangesSettled
            | Event::Changed(_)
            | Event::ConfigChanged { .. }
            | Event::MemoryMeasured { .. }
            | Event::Requested(_)
            | Event::Tick => false,
        };
        let reaction = self.instances.handle(self.now, event);
        for effect in reaction.effects {
            assert!(!self.finished, "{effect:?} after the end");
            self.perform(effect, served);
        }
        let serving = self.instances.live().count();
        let lost = serving + usize::from(dies) < served;
        assert!(
            !lost || self.instances.is_quitting(),
            "{event:?} stops an instance"
        );
        self.complete |= serving == self.instances.machines.len();
        for id in self.instances.live() {
            // One that goes live again, because its successor has ended, is switched to first.
            let program = self.programs.get(&id);
            let serves = matches!(program, Some(Program::Live | Program::Switching));
            assert!(serves, "{id} is live, but {program:?}");
        }
        let starting =
            |program: &&Program| matches!(program, Program::Starting | Program::Switching);
        let starting = self.programs.values().filter(starting).count();
        assert!(starting <= 2, "{starting} generations are starting");
    }

    fn perform(&mut self, effect: Effect, served: usize) {
        let live = self.instances.live().count();
        match effect {
            Effect::Generation(id, effect) => self.perform_on(id, effect),
            Effect::Hold | Effect::RespondUnavailable { .. } => {
                assert_eq!(
                    live, 0,
                    "{effect:?} although instances are live, {served} before"
                );
            }
            Effect::StopResponding => {}
            Effect::MeasureMemory => panic!("none is kept"),
            Effect::HoldNew | Effect::StopHolding => panic!("not fresh"),
            Effect::Finish { .. } => {
                assert!(self.programs.is_empty() && self.build.is_none());
                self.finished = true;
            }
        }
    }

    fn perform_on(&mut self, id: GenId, effect: GenEffect) {
        let program = match effect {
            GenEffect::Build => return self.build = Some((id, false)),
            GenEffect::CancelBuild => return self.build = Some((id, true)),
            GenEffect::Release => {
                assert_eq!(self.programs.remove(&id), Some(Program::Ended), "{id}");
                return;
            }
            GenEffect::Start { .. } => Program::Starting,
            GenEffect::Switch => Program::Switching,
            GenEffect::AwaitQuiescent => Program::AwaitsQuiescent,
            GenEffect::AwaitIdle { .. } => Program::AwaitsIdle,
            GenEffect::Share { .. } | GenEffect::CheckShare | GenEffect::Keep => {
                panic!("not shared, not kept")
            }
            GenEffect::Stop | GenEffect::Kill if self.programs[&id] != Program::Ended => {
                Program::Stopping
            }
            GenEffect::Stop
            | GenEffect::Kill
            | GenEffect::Forward
            | GenEffect::KeepPaths
            | GenEffect::RestorePaths
            | GenEffect::SendReloadSignal { .. }
            | GenEffect::Abort => return,
        };
        self.programs.insert(id, program);
    }

    /// Checks what must be true once nothing more happens by itself. `full`: the budget at the beginning.
    fn at_rest(&self, full: Budget) {
        if self.instances.is_quitting() {
            return assert!(self.finished, "hotrun does not finish");
        }
        let artifacts: Vec<_> = self
            .instances
            .live()
            .map(|id| self.instances.artifact(id))
            .collect();
        let count = self.instances.machines.len();
        let failed = full.failed_starts > self.budget.failed_starts;
        let crashed = full.crashes > self.budget.crashes;
        // One that crashes and cannot be started again waits for a change.
        let serving = artifacts.len() + usize::from(failed && crashed);
        assert!(
            serving >= count || failed && !self.complete,
            "{} serve",
            artifacts.len()
        );
        let same = artifacts.iter().all(|artifact| *artifact == artifacts[0]);
        assert!(same || crashed, "a mix serves: {artifacts:?}");
    }
}

/// Visits every state, and returns how many there are.
fn explore(count: usize, full: Budget) -> usize {
    let first = World::new(count, full);
    let (mut seen, mut next) = (HashSet::from([first.clone()]), vec![first]);
    while let Some(world) = next.pop() {
        let cooperations = world.cooperations();
        if cooperations.is_empty() {
            world.at_rest(full);
        }
        for action in cooperations.into_iter().chain(world.surprises()) {
            let mut after = world.clone();
            after.act(action);
            if seen.insert(after.clone()) {
                next.push(after);
            }
        }
    }
    seen.len()
}

#[test]
fn instances_follow_the_first_one_in_every_order_of_events() {
    let budget = |changes, failed_starts, crashes, quits| Budget {
        changes,
        failed_starts,
        crashes,
        quits,
    };
    for (count, budget) in [
        (3, budget(1, 0, 0, 0)),
        (2, budget(2, 0, 0, 1)),
        (3, budget(1, 1, 0, 0)),
        (2, budget(1, 1, 1, 0)),
    ] {
        let states = explore(count, budget);
        let text = format!("{count} instances, {budget:?}: {states} states");
        let _ = writeln!(std::io::stderr(), "{text}");
        assert!(states > 100);
    }
}
