//! Tests reuseport groups against a model of the kernel's socket array that runs the real steering programs.
//!
//! The file is long because the random walks and the examples share the model.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::os::Instruction;

mod examples;
mod program;

use program::{Packet, run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(u64);

const NOBODY: Owner = Owner::Nobody;

fn generation(number: u32) -> Owner {
    Owner::Generation(GenId(number))
}

/// A group, as the table represents it. `share`: the owner of half of the new connections, if it has a member.
struct Members {
    members: Vec<(Key, Owner)>,
    target: Owner,
    share: Option<Owner>,
    reuseport: Reuseport,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            target: Owner::Next,
            share: None,
            reuseport: Reuseport::default(),
        }
    }
}

impl Members {
    fn members(&self, forwarded: &[Key]) -> Vec<GroupMember> {
        let members = self.members.iter().map(|(key, owner)| GroupMember {
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
            self.reuseport.attached = None;
        }
    }

    fn set_target(&mut self, owner: Owner) {
        self.target = owner;
    }

    fn pool(&self) -> Vec<(u8, Vec<Owner>)> {
        let has = |share: &Owner| self.members.iter().any(|(_, owner)| owner == share);
        let share = self.share.filter(has).map(|share| (50, share));
        let rest = 100 - share.map_or(0, |(percent, _)| percent);
        let pool = share.into_iter().chain([(rest, self.target)]);
        pool.map(|(percent, owner)| (percent, vec![owner]))
            .collect()
    }

    fn lacking(&self) -> Option<Steering> {
        self.reuseport.lacking(&self.members(&[]), &self.pool())
    }

    fn attached(&mut self, steering: Steering) {
        self.reuseport.attached = Some(steering);
    }

    fn divert(&mut self, port: u16, id: GenId) {
        self.reuseport.divert(port, Some(id));
    }

    fn stop_diverting(&mut self, port: u16) {
        self.reuseport.divert(port, None);
    }

    fn owner(&self, key: Key) -> Option<Owner> {
        let mut members = self.members.iter();
        members
            .find(|(this, _)| *this == key)
            .map(|(_, owner)| *owner)
    }

    /// Whether a member may leave. Members of the pool are never closed.
    fn may_leave(&self, key: Key, forwarded: &[Key]) -> bool {
        let owner = self.owner(key);
        let pool = self.pool();
        if owner.is_some_and(|owner| is_in(&pool, owner)) {
            return false;
        }
        let index = self.members.iter().position(|(this, _)| *this == key);
        let members = self.members(forwarded);
        self.reuseport.may_leave(&members, index.unwrap(), &pool)
    }
}

/// A group, as the kernel represents it (`struct sock_reuseport`).
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

    /// Returns every listener where a connection from this port may land.
    fn landings(&self, source_port: u16) -> HashSet<Key> {
        let all = || self.socks.iter().copied().collect();
        let Some(program) = &self.program else {
            return all();
        };
        let chosen = (0..STEPS).map(|random| {
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
/// Enough for every choice among a few members, and for both sides of a boundary at 50 %.
const STEPS: u32 = 300;

struct World {
    kernel: Kernel,
    group: Members,
    owners: Vec<(Key, Owner)>,
    target: Owner,
    diverted: Vec<(u16, GenId)>,
    next: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            kernel: Kernel::default(),
            group: Members::default(),
            owners: Vec::new(),
            target: Owner::Next,
            diverted: Vec::new(),
            next: 0,
        }
    }
}

impl World {
    fn listeners(&self, owner: Owner) -> HashSet<Key> {
        self.owners
            .iter()
            .filter(|(_, this)| *this == owner)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Checks what must hold at all times, even between two steps of hotrun.
    fn check(&self, when: &str) {
        let landings = self.kernel.landings(ORDINARY);
        assert!(!landings.is_empty(), "{when}: connections are refused");
        let mut pool = self.listeners(self.target);
        pool.extend(self.group.share.iter().flat_map(|one| self.listeners(*one)));
        assert!(landings.is_subset(&pool), "{when}: {landings:?} {self:?}");
        for (port, id) in &self.diverted {
            let own = self.listeners(Owner::Generation(*id));
            let landings = self.kernel.landings(*port);
            assert!(
                own.is_empty() || landings.is_subset(&own),
                "{when}: port {port} {landings:?} {self:?}"
            );
        }
    }

    fn attach(&mut self) {
        if let Some(steering) = self.group.lacking() {
            self.kernel.program = Some(steering.program());
            self.group.attached(steering);
        }
        assert_eq!(self.group.lacking(), None);
        // The random numbers of the model reach every member of the pool.
        let mut pool = self.listeners(self.target);
        pool.extend(self.group.share.iter().flat_map(|one| self.listeners(*one)));
        assert!(self.listeners(self.target).is_empty() || self.kernel.landings(ORDINARY) == pool);
        self.check("after attaching the program");
    }

    fn open(&mut self, owner: Owner) -> Key {
        let key = Key(self.next);
        self.next += 1;
        self.kernel.socks.push(key);
        if self.kernel.socks.len() > 1 {
            self.check("after a listener joined");
        }
        self.owners.push((key, owner));
        self.group.join(key, owner);
        self.attach();
        key
    }

    fn set_target(&mut self, owner: Owner) {
        if self.listeners(owner).is_empty() {
            return;
        }
        self.target = owner;
        self.group.set_target(owner);
        self.group.share = self.group.share.filter(|share| *share != owner);
        self.attach();
    }

    fn set_share(&mut self, owner: Option<Owner>) {
        self.group.share = owner;
        self.attach();
    }

    fn close(&mut self, key: Key) -> bool {
        let may = self.group.may_leave(key, &[]);
        if may {
            self.owners.retain(|(this, _)| *this != key);
            self.kernel.remove(key);
            self.check("after a listener left");
            self.group.leave(key);
            self.attach();
        }
        may
    }

    /// Simulates a program that shuts its listener down, whether or not `may_leave` allows it.
    fn shut_down(&mut self, key: Key) {
        let owner = self.group.owner(key).unwrap();
        if owner == self.target && self.listeners(owner).len() == 1 {
            return;
        }
        self.owners.retain(|(this, _)| *this != key);
        self.kernel.remove(key);
        self.group.leave(key);
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
        write!(f, "{:?} with target {:?}", self.owners, self.target)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    SetTarget(u32),
    Share(u32),
    StopSharing,
    Close(usize),
    ShutDown(usize),
    Divert(u16, u32),
    StopDiverting(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u32).prop_map(Step::Open),
        3 => (1..6_u32).prop_map(Step::SetTarget),
        2 => (1..6_u32).prop_map(Step::Share),
        1 => Just(Step::StopSharing),
        5 => (0..8_usize).prop_map(Step::Close),
        1 => (0..8_usize).prop_map(Step::ShutDown),
        1 => (2..5_u16, 1..6_u32).prop_map(|(port, id)| Step::Divert(port, id)),
        1 => (2..5_u16).prop_map(Step::StopDiverting),
    ]
}

fn apply(world: &mut World, step: &Step) {
    let nth = |world: &World, at: usize| world.owners[at % world.owners.len()].0;
    match *step {
        Step::Open(id) if world.owners.len() < 8 => drop(world.open(generation(id))),
        Step::Open(_) => {}
        Step::SetTarget(id) => world.set_target(generation(id)),
        Step::Share(id) if generation(id) != world.target => world.set_share(Some(generation(id))),
        Step::Share(_) | Step::StopSharing => world.set_share(None),
        Step::Close(at) => drop(world.close(nth(world, at))),
        Step::ShutDown(at) => world.shut_down(nth(world, at)),
        Step::Divert(port, id) => {
            world.diverted.retain(|(this, _)| *this != port);
            world.diverted.push((port, GenId(id)));
            world.group.divert(port, GenId(id));
            world.attach();
        }
        Step::StopDiverting(port) => {
            world.diverted.retain(|(this, _)| *this != port);
            world.group.stop_diverting(port);
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

    /// A connection never lands in a listener that is not meant for it: neither after a listener joins, nor between a
    /// listener leaving and the next program being attached, nor later. Listeners that their program shuts down are the
    /// exception.
    #[test]
    fn no_connection_lands_in_a_listener_of_another_owner(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        world.open(Owner::Next);
        for step in &steps {
            apply(&mut world, step);
        }
    }

    /// Closing a listener cannot be deferred forever: every reload closes at least the listener that has waited
    /// longest.
    #[test]
    fn no_listener_is_kept_forever(lives in prop::collection::vec(0..5_u32, 4..40)) {
        let mut world = World { target: generation(1), ..World::default() };
        world.group.set_target(world.target);
        let first = world.open(generation(1));
        let mut draining = vec![(first, 1)];
        let mut released: Vec<Key> = Vec::new();
        for (number, drains_for) in (2..).zip(&lives) {
            let before = released.clone();
            let key = world.open(generation(number));
            world.sweep(&mut released);
            world.set_target(generation(number));
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
