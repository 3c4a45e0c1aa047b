//! The machine and the world, side by side.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::ledger::{Ledger, Rule};
use super::world::World;
use crate::reload::{
    Action, BuildOutcome, Effect, Event, GenEvent, Machine, Notice, Policy, Reaction, Request,
};

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The machine gets this event.
    Send(Event),
    /// The machine gets this event, and the switch that it leads to is refused.
    SendAndRefuse(Event),
    /// Time passes, and the machine gets a tick if its deadline is reached.
    Pass(Duration),
}

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) machine: Machine,
    pub(super) world: World,
}

impl Pair {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            machine: Machine::new(policy.clone()),
            world: World::new(policy.clone()),
        }
    }

    /// The moves in which the driver reports an event.
    pub(super) fn reports(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for event in self.world.reports() {
            moves.push(Move::Send(event));
            if self.world.may_switch_after(event) {
                moves.push(Move::SendAndRefuse(event));
            }
        }
        moves
    }

    pub(super) fn step(&mut self, action: Move, ledger: &mut Ledger) {
        match action {
            Move::Send(event) => self.send(event, ledger),
            Move::SendAndRefuse(event) => {
                self.world.refuse = true;
                self.send(event, ledger);
                self.world.refuse = false;
            }
            Move::Pass(time) => {
                self.world.now = self.world.now.plus(time);
                if self.is_due() {
                    self.send(Event::Tick, ledger);
                }
            }
        }
    }

    pub(super) fn is_due(&self) -> bool {
        let deadline = self.machine.deadline();
        deadline.is_some_and(|deadline| deadline <= self.world.now)
    }

    fn send(&mut self, event: Event, ledger: &mut Ledger) {
        let live = self.machine.live();
        if let Event::Generation(
            _,
            GenEvent::BuildEnded(BuildOutcome::Built {
                artifact,
                kept: true,
            }),
        ) = event
        {
            let needed = |kept| self.machine.needed().any(|needed| needed == kept);
            let needs = |kept| kept == artifact || needed(kept);
            self.world.past.let_go(needs);
        }
        self.world.happen(event);
        let reaction = self.machine.handle(self.world.now, event);
        let nothing = reaction.notices.contains(&Notice::NothingToUndo);
        if event == Event::Requested(Request::Undo) && !nothing {
            self.world.undo = true;
            self.world.undone |= !self.world.builds.is_empty();
            self.world.new_reason();
        }
        self.world
            .failure_spares_live(live, event, &reaction, ledger);
        World::cut_connections_are_reported(event, &reaction, ledger);
        self.one_finish(&reaction, ledger);
        for notice in &reaction.notices {
            self.world.notified(notice, ledger);
        }
        self.world.unchanged_is_kept(ledger);
        for effect in reaction.effects {
            self.world.perform(effect, ledger);
        }
        self.world.new_connections_wait(&self.machine, ledger);
        self.world.forget_crash(&self.machine);
        self.world.after(event, &self.machine, ledger);
        let overdue = event == Event::Tick && self.world.overdue();
        ledger.check(Rule::OneFinish, !overdue, || {
            "hotrun should have finished by now".into()
        });
    }

    fn one_finish(&self, reaction: &Reaction, ledger: &mut Ledger) {
        let is_finish = |effect: &&Effect| matches!(effect, Effect::Finish { .. });
        let finishes = reaction.effects.iter().filter(is_finish).count();
        let most = usize::from(!self.world.finished);
        ledger.check(Rule::OneFinish, finishes <= most, || {
            format!("{finishes} finishes")
        });
    }

    /// Checks that stale events change nothing: late or repeated ones, and those from generations that are gone.
    pub(super) fn ignores_stale_events(&self, ledger: &mut Ledger) {
        let mut events = self.world.stale();
        if self.world.quitting.is_some() {
            let changed = Event::Changed(Action::Build);
            events.extend([Event::Begin, changed, Event::Requested(Request::Reload)]);
        }
        if !self.is_due() {
            events.push(Event::Tick);
        }
        let mut machine = self.machine.clone();
        for event in events {
            let reaction = machine.handle(self.world.now, event);
            let nothing = reaction == Reaction::default() && machine == self.machine;
            ledger.check(Rule::StaleChangesNothing, nothing, || {
                format!("{event:?} leads to {reaction:?}")
            });
            if !nothing {
                machine = self.machine.clone();
            }
        }
    }

    /// The next move in a cooperative world, or `None` at rest.
    pub(super) fn cooperate(&self, unit: Duration) -> Option<Move> {
        if self.world.finished {
            return None;
        }
        let event = self.world.cooperate().map(Move::Send);
        let waits = self.machine.deadline().is_some();
        event.or(waits.then_some(Move::Pass(unit)))
    }

    /// Two hashes: the first is equal for pairs with the same future, the second for machines with the same future.
    pub(super) fn fingerprint(&self, rest: impl Hash) -> (u128, u64) {
        let rename = self.machine.rename(self.world.now);
        let mut fold = Fold::default();
        self.machine.canonical(&rename).hash(&mut fold);
        let machine = fold.finish();
        (self.world.canonical(&rename), rest).hash(&mut fold);
        (fold.0, machine)
    }
}

/// A 128-bit hash that is fast in debug builds, where hashing with the standard library would take most of the time.
#[derive(Default)]
struct Fold(u128);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        // An odd factor loses no bits, and the rotation moves the high bits back down.
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = (self.0 ^ u128::from(value))
            .wrapping_add(1)
            .wrapping_mul(FACTOR)
            .rotate_right(59);
    }

    fn finish(&self) -> u64 {
        (self.0 >> 64) as u64 ^ self.0 as u64
    }
}
