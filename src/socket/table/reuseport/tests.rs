//! Reuse-port groups against a model of the kernel's array that runs the real steering programs.
//!
//! Long because the model serves the random walks and the examples alike.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::os::Instruction;

mod program;

use program::{Packet, run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(u64);

const NOBODY: Owner = Owner::Nobody;

fn generation(number: u32) -> Owner {
    Owner::Generation(GenId::new(number))
}

/// A group as the table keeps it.
struct Roster {
    members: Vec<(Key, Owner)>,
    target: Owner,
    reuseport: Reuseport,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            target: Owner::Next,
            reuseport: Reuseport::default(),
        }
    }
}

impl Roster {
    fn members(&self, forwarded: &[Key]) -> Vec<Member> {
        let members = self.members.iter().map(|(key, owner)| Member {
            owner: *owner,
            forwarded: forwarded.contains(key),
        });
        members.collect()
    }

    fn join(&mut self, key: Key, owner: Owner) {
        self.members.push((key, owner));
    }

    fn leave(&mut self, key: Key) {
        let index = self.members.iter().position(|(this, _)| *this == key);
        self.members.swap_remove(index.unwrap());
        if self.members.is_empty() {
            self.reuseport.ended();
        }
    }

    fn aim(&mut self, owner: Owner) {
        self.target = owner;
    }

    fn lacking(&self) -> Option<Steering> {
        self.reuseport.lacking(&self.members(&[]), self.target)
    }

    fn attached(&mut self, steering: Steering) {
        self.reuseport.attached(steering);
    }

    fn divert(&mut self, port: u16, id: GenId) {
        self.reuseport.divert(port, id);
    }

    fn restore(&mut self, port: u16) {
        self.reuseport.restore(port);
    }

    fn owner(&self, key: Key) -> Option<Owner> {
        let mut members = self.members.iter();
        members
            .find(|(this, _)| *this == key)
            .map(|(_, owner)| *owner)
    }

    fn may_leave(&self, key: Key, forwarded: &[Key]) -> bool {
        let index = self.members.iter().position(|(this, _)| *this == key);
        let members = self.members(forwarded);
        self.reuseport
            .may_leave(&members, index.unwrap(), self.target)
    }
}

/// The kernel's side: `struct sock_reuseport`.
#[derive(Default)]
struct Kernel {
    socks: Vec<Key>,
    program: Option<Vec<Instruction>>,
}

impl Kernel {
    fn remove(&mut self, key: Key) {
        let index = self.socks.iter().position(|this| *this == key).unwrap();
        self.socks.swap_remove(index);
    }

    /// Every slot in which a connection from this port may land.
    fn landings(&self, source_port: u16) -> HashSet<Key> {
        let all = || self.socks.iter().copied().collect();
        let Some(program) = &self.program else {
            return all();
        };
        let chosen = (0..60).map(|random| {
            run(
                program,
                &Packet {
                    v6: false,
                    source_port,
                    random,
                },
            )
        });
        let mut landings = HashSet::new();
        for index in chosen.collect::<HashSet<_>>() {
            match self.socks.get(index as usize) {
                Some(key) => landings.extend([*key]),
                None => landings.extend(all()),
            }
        }
        landings
    }
}

const ORDINARY: u16 = 1;

struct World {
    kernel: Kernel,
    roster: Roster,
    owners: Vec<(Key, Owner)>,
    target: Owner,
    diverted: Vec<(u16, GenId)>,
    next: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            kernel: Kernel::default(),
            roster: Roster::default(),
            owners: Vec::new(),
            target: Owner::Next,
            diverted: Vec::new(),
            next: 0,
        }
    }
}

impl World {
    fn slots(&self, owner: Owner) -> HashSet<Key> {
        self.owners
            .iter()
            .filter(|(_, this)| *this == owner)
            .map(|(key, _)| *key)
            .collect()
    }

    /// What must hold at every instant, also between two steps of ours.
    fn check(&self, when: &str) {
        let landings = self.kernel.landings(ORDINARY);
        assert!(!landings.is_empty(), "{when}: refused");
        assert!(
            landings.is_subset(&self.slots(self.target)),
            "{when}: {landings:?} {self:?}"
        );
        for (port, id) in &self.diverted {
            let own = self.slots(Owner::Generation(*id));
            let landings = self.kernel.landings(*port);
            assert!(
                own.is_empty() || landings.is_subset(&own),
                "{when}: port {port} {landings:?} {self:?}"
            );
        }
    }

    fn attach(&mut self) {
        if let Some(steering) = self.roster.lacking() {
            self.kernel.program = Some(steering.program());
            self.roster.attached(steering);
        }
        assert_eq!(self.roster.lacking(), None);
        self.check("after the program");
    }

    fn open(&mut self, owner: Owner) -> Key {
        let key = Key(self.next);
        self.next += 1;
        self.kernel.socks.push(key);
        if self.kernel.socks.len() > 1 {
            self.check("after the join");
        }
        self.owners.push((key, owner));
        self.roster.join(key, owner);
        self.attach();
        key
    }

    fn aim(&mut self, owner: Owner) {
        if self.slots(owner).is_empty() {
            return;
        }
        self.target = owner;
        self.roster.aim(owner);
        self.attach();
    }

    fn close(&mut self, key: Key) -> bool {
        let may = self.roster.may_leave(key, &[]);
        if may {
            self.owners.retain(|(this, _)| *this != key);
            self.kernel.remove(key);
            self.check("after the leave");
            self.roster.leave(key);
            self.attach();
        }
        may
    }

    /// The program behind the slot shuts it down: no question is asked.
    fn shut_down(&mut self, key: Key) {
        let owner = self.roster.owner(key).unwrap();
        if owner == self.target && self.slots(owner).len() == 1 {
            return;
        }
        self.owners.retain(|(this, _)| *this != key);
        self.kernel.remove(key);
        self.roster.leave(key);
        self.attach();
    }

    fn sweep(&mut self, released: &mut Vec<Key>) {
        while let Some(at) = released.iter().position(|key| self.close(*key)) {
            released.remove(at);
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} aimed at {:?}", self.owners, self.target)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Aim(u32),
    Close(usize),
    ShutDown(usize),
    Divert(u16, u32),
    Restore(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u32).prop_map(Step::Open),
        3 => (1..6_u32).prop_map(Step::Aim),
        5 => (0..8_usize).prop_map(Step::Close),
        1 => (0..8_usize).prop_map(Step::ShutDown),
        1 => (2..5_u16, 1..6_u32).prop_map(|(port, id)| Step::Divert(port, id)),
        1 => (2..5_u16).prop_map(Step::Restore),
    ]
}

fn apply(world: &mut World, step: &Step) {
    let nth = |world: &World, at: usize| world.owners[at % world.owners.len()].0;
    match *step {
        Step::Open(id) if world.owners.len() < 8 => drop(world.open(generation(id))),
        Step::Open(_) => {}
        Step::Aim(id) => world.aim(generation(id)),
        Step::Close(at) => drop(world.close(nth(world, at))),
        Step::ShutDown(at) => world.shut_down(nth(world, at)),
        Step::Divert(port, id) => {
            world.diverted.retain(|(this, _)| *this != port);
            world.diverted.push((port, GenId::new(id)));
            world.roster.divert(port, GenId::new(id));
            world.attach();
        }
        Step::Restore(port) => {
            world.diverted.retain(|(this, _)| *this != port);
            world.roster.restore(port);
            world.attach();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 300 } else { 5000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// At no instant does a connection land in a slot that is not meant for it: not after a join, not between
    /// the leave of a slot and the next program, not after it. Slots that shut themselves down are the exception.
    #[test]
    fn no_connection_lands_where_nobody_serves(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        world.open(Owner::Next);
        for step in &steps {
            apply(&mut world, step);
        }
    }

    /// Deferring has an end: every reload closes at least the one that has waited longest.
    #[test]
    fn no_slot_is_kept_for_ever(lives in prop::collection::vec(0..5_u32, 4..40)) {
        let mut world = World { target: generation(1), ..World::default() };
        world.roster.aim(world.target);
        let first = world.open(generation(1));
        let mut draining = vec![(first, 1)];
        let mut released: Vec<Key> = Vec::new();
        for (number, drains_for) in (2..).zip(&lives) {
            let before = released.clone();
            let key = world.open(generation(number));
            world.sweep(&mut released);
            world.aim(generation(number));
            world.sweep(&mut released);
            let oldest = before.first();
            prop_assert!(!oldest.is_some_and(|key| released.contains(key)), "kept in {world:?}");
            let gone = |(_, until): &(Key, u32)| *until < number;
            released.extend(draining.iter().filter(|old| gone(old)).map(|(key, _)| *key));
            draining.retain(|old| !gone(old));
            world.sweep(&mut released);
            draining.push((key, number + drains_for));
        }
    }
}

fn key(number: u64) -> Key {
    Key(number)
}

fn roster_of(owners: &[u32], target: u32) -> Roster {
    let mut roster = Roster::default();
    for (number, owner) in (0..).zip(owners) {
        roster.join(key(number), generation(*owner));
    }
    roster.aim(generation(target));
    let steering = roster.lacking().unwrap();
    roster.attached(steering);
    roster
}

#[test]
fn with_two_members_the_fallback_is_the_survivor() {
    let roster = roster_of(&[1, 2], 2);
    assert!(roster.may_leave(key(0), &[]));
    assert!(!roster.may_leave(key(1), &[]), "the live one");
}

#[test]
fn the_live_slot_must_not_move_while_others_are_there() {
    let roster = roster_of(&[1, 2, 3], 3);
    assert!(
        !roster.may_leave(key(0), &[]),
        "index 2 would fall to 2 or 3 by a hash"
    );
    assert!(
        !roster.may_leave(key(1), &[]),
        "index 2 would fall to 1 or 3 by a hash"
    );
}

#[test]
fn a_later_member_makes_the_deferred_leave_safe() {
    let mut roster = roster_of(&[1, 2, 3], 3);
    roster.join(key(3), generation(4));
    assert!(roster.may_leave(key(0), &[]));
    roster.leave(key(0));
    assert!(!roster.may_leave(key(1), &[]), "slot 3 is last again");
    roster.aim(generation(4));
    roster.attached(roster.lacking().unwrap());
    assert!(roster.may_leave(key(1), &[]));
}

#[test]
fn a_probe_under_way_keeps_its_slot_where_it_is() {
    let mut roster = roster_of(&[1, 2, 3], 2);
    roster.divert(9, GenId::new(3));
    roster.attached(roster.lacking().unwrap());
    assert!(!roster.may_leave(key(0), &[]), "the probed slot would move");
    roster.restore(9);
    roster.attached(roster.lacking().unwrap());
    assert!(roster.may_leave(key(0), &[]));
}

#[test]
fn nothing_may_leave_before_the_first_program() {
    let mut roster = Roster::default();
    roster.join(key(0), Owner::Next);
    roster.join(key(1), generation(1));
    assert!(
        roster.may_leave(key(1), &[]),
        "whatever the hash, the target is all that is left"
    );
    roster.join(key(2), generation(2));
    assert!(!roster.may_leave(key(1), &[]));
}

#[test]
fn a_slot_leaves_where_only_what_is_carried_may_get_what_goes_astray() {
    let mut roster = Roster::default();
    roster.join(key(0), NOBODY);
    roster.join(key(1), NOBODY);
    roster.join(key(2), generation(1));
    roster.aim(generation(1));
    roster.attached(roster.lacking().unwrap());
    assert!(!roster.may_leave(key(0), &[]));
    assert!(roster.may_leave(key(0), &[key(1)]));
    roster.divert(7, GenId::new(1));
    roster.attached(roster.lacking().unwrap());
    assert!(
        !roster.may_leave(key(0), &[key(1)]),
        "a probe would go astray"
    );
}
