//! Explores the states that a setting can reach, first breadth-first and then in a narrow beam. Checks that the world
//! comes to rest from each of them if all parties cooperate.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use super::rules::{RULES, Rule};
use super::setting::{Failing, Move, Setting};
use super::world::World;

/// The result of an exploration.
pub(super) struct Report {
    pub(super) name: &'static str,
    pub(super) states: usize,
    pub(super) edges: u64,
    deepest: usize,
    took: Duration,
    pub(super) checked: [u64; RULES],
    pub(super) broken: Vec<(Rule, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            states,
            edges,
            deepest,
            took,
            ..
        } = self;
        write!(
            f,
            "{name}: {states} states, {edges} edges, {deepest} deep, {took:.1?}"
        )
    }
}

/// A move, and which of its fallible ops failed.
type Edge = (Move, Option<Failing>);

pub(super) struct Exploration<'a> {
    setting: &'a Setting,
    seen: HashMap<u64, u32>,
    /// For each state, the previous state and the edge by which it was first reached.
    origins: Vec<(u32, Option<Edge>)>,
    /// For each state, the next state if all parties cooperate, or the state itself if it is at rest.
    cooperations: Vec<u32>,
    edges: u64,
    checked: [u64; RULES],
    broken: Vec<(Rule, String)>,
}

impl<'a> Exploration<'a> {
    /// The exploration stops after this many broken rules.
    const ENOUGH: usize = 3;
    /// All states are explored, depth by depth, until more than this many have been found.
    const WHOLE: usize = 1_500;
    /// After that, at most this many states of each depth are explored: those with the lowest fingerprints.
    const WIDTH: usize = 60;

    pub(super) fn run(setting: &'a Setting) -> Report {
        let started = Instant::now();
        let mut this = Self {
            setting,
            seen: HashMap::new(),
            origins: Vec::new(),
            cooperations: Vec::new(),
            edges: 0,
            checked: [0; RULES],
            broken: Vec::new(),
        };
        let mut layer = Vec::new();
        this.visit(World::new(setting), (0, None), &mut layer);
        let mut deepest = 0;
        while !layer.is_empty() && this.broken.len() < Self::ENOUGH {
            deepest += 1;
            let mut next = Vec::new();
            for (index, world) in layer {
                this.expand(index, &world, &mut next);
            }
            layer = next;
            if this.origins.len() > Self::WHOLE {
                layer.sort_by_cached_key(|(_, world)| world.fingerprint());
                layer.truncate(Self::WIDTH);
            }
        }
        this.comes_to_rest();
        Report {
            name: setting.name,
            states: this.origins.len(),
            edges: this.edges,
            deepest,
            took: started.elapsed(),
            checked: this.checked,
            broken: this.broken,
        }
    }

    /// Returns the number of this state. A new state is added to the next layer.
    fn visit(
        &mut self,
        world: World,
        origin: (u32, Option<Edge>),
        next: &mut Vec<(u32, World)>,
    ) -> u32 {
        let index = u32::try_from(self.origins.len()).expect("the index fits into 32 bits");
        match self.seen.entry(world.fingerprint()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                vacant.insert(index);
                self.origins.push(origin);
                self.cooperations.push(index);
                next.push((index, world));
                index
            }
        }
    }

    fn expand(&mut self, index: u32, world: &World, next: &mut Vec<(u32, World)>) {
        let cooperation = world.cooperate(self.setting);
        if cooperation.is_none() {
            let mut rests = world.clone();
            rests.at_rest();
            self.note(&mut rests, index, None);
        }
        for action in world.moves(self.setting) {
            let mut after = world.clone();
            after.model.fallible = 0;
            after.step(self.setting, action);
            let fallible = after.model.fallible;
            if let Some(reached) = self.reach(after, (index, (action, None)), next)
                && cooperation == Some(action)
            {
                self.cooperations[index as usize] = reached;
            }
            let failures = world.budget.failures;
            let one = (0..fallible).map(|nth| (Failing::Only(nth), 1));
            let rest = (0..fallible).map(|nth| (Failing::From(nth), 2));
            for (failing, cost) in one.chain(rest).filter(|(_, cost)| *cost <= failures) {
                let mut after = world.clone();
                after.model.fails = Some(failing);
                after.model.fallible = 0;
                after.budget.failures -= cost;
                after.step(self.setting, action);
                self.reach(after, (index, (action, Some(failing))), next);
            }
        }
    }

    fn reach(
        &mut self,
        mut world: World,
        (from, edge): (u32, Edge),
        next: &mut Vec<(u32, World)>,
    ) -> Option<u32> {
        self.edges += 1;
        if self.note(&mut world, from, Some(edge)) {
            return None;
        }
        Some(self.visit(world, (from, Some(edge)), next))
    }

    /// Records the checks and the broken rules. Returns whether a rule was broken.
    fn note(&mut self, world: &mut World, from: u32, edge: Option<Edge>) -> bool {
        for (all, new) in self.checked.iter_mut().zip(&mut world.model.checked) {
            *all += std::mem::take(new);
        }
        let broken = std::mem::take(&mut world.model.broken);
        let any = !broken.is_empty();
        for (rule, what) in broken {
            let path = self.path(from, edge);
            self.broken.push((rule, format!("{what}\n{path}")));
        }
        any
    }

    fn path(&self, mut index: u32, last: Option<Edge>) -> String {
        let mut edges: Vec<Edge> = last.into_iter().collect();
        while let (before, Some(edge)) = self.origins[index as usize] {
            edges.push(edge);
            index = before;
        }
        edges.iter().rev().fold(String::new(), |mut text, edge| {
            let _ = match edge {
                (action, None) => writeln!(text, "    {action:?}"),
                (action, Some(failing)) => writeln!(text, "    {action:?}, failing: {failing:?}"),
            };
            text
        })
    }

    /// Checks that the table comes to rest from every state if all parties cooperate, and never loops.
    fn comes_to_rest(&mut self) {
        if !self.broken.is_empty() {
            return;
        }
        let mut rests = vec![false; self.origins.len()];
        for start in 0..self.origins.len() {
            let mut way = Vec::new();
            let mut at = start;
            while !rests[at] && self.cooperations[at] as usize != at && way.len() < 500 {
                way.push(at);
                at = self.cooperations[at] as usize;
            }
            if way.len() == 500 {
                let index = u32::try_from(start).expect("the index fits into 32 bits");
                let text = format!("never comes to rest\n{}", self.path(index, None));
                return self.broken.push((Rule::ComesToRest, text));
            }
            rests[at] = true;
            way.into_iter().for_each(|state| rests[state] = true);
        }
    }
}
