//! Visits, breadth first, every state that a few events can lead to. Checks that a cooperative world comes to rest from
//! each of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Rule};
use super::pair::{Move, Pair};
use crate::reload::{Action, BuildOutcome, Event, GenEvent, Policy, Request};

/// The time step. All durations in the explored policies are small multiples of it.
pub(super) const UNIT: Duration = Duration::from_secs(1);

/// How many events of each kind may happen on one path. Without these limits, the number of states would be infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) changes: u8,
    pub(super) quits: u8,
    pub(super) faults: u8,
    /// Configuration changes.
    pub(super) configs: u8,
    /// Notifications from programs.
    pub(super) notifications: u8,
    /// Results of liveness checks.
    pub(super) checks: u8,
    /// Steps that the user takes, and checks of a share that fail.
    pub(super) shares: u8,
    /// Undos, and requests to kill or drain what is draining or kept.
    pub(super) requests: u8,
}

/// A state that has been reached but not expanded yet.
struct Node {
    pair: Pair,
    budget: Budget,
    index: u32,
}

/// The result of an exploration.
pub(super) struct ExplorationReport {
    pub(super) name: String,
    pub(super) budget: Budget,
    pub(super) rolls_back: bool,
    pub(super) states: usize,
    pub(super) edges: u64,
    pub(super) deepest: usize,
    pub(super) took: Duration,
    pub(super) ledger: Ledger,
    pub(super) broken: Vec<(Rule, String)>,
}

impl fmt::Display for ExplorationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget {
            changes,
            quits,
            faults,
            configs,
            notifications,
            checks,
            shares,
            requests,
        } = self.budget;
        write!(
            f,
            "{}, {changes} changes, {quits} quits, {faults} faults, {configs} configs, {notifications} notifications, {checks} liveness checks, {shares} shares, {requests} requests: {} states, {} edges, {} deep, {:.1?}",
            self.name, self.states, self.edges, self.deepest, self.took
        )
    }
}

pub(super) struct Exploration {
    seen: HashMap<u128, u32>,
    /// The fingerprints of the machines that have already been sent stale events.
    stale_checked: HashSet<u64>,
    /// For each state, how it was first reached.
    origins: Vec<(u32, Option<Move>)>,
    /// For each state, the next state if everything cooperates, or the state itself if it is at rest.
    cooperations: Vec<u32>,
    edges: u64,
    ledger: Ledger,
    broken: Vec<(Rule, String)>,
}

impl Exploration {
    const ENOUGH: usize = 5;

    pub(super) fn run(policy: &Policy, budget: Budget) -> ExplorationReport {
        let started = Instant::now();
        let mut this = Self {
            seen: HashMap::new(),
            stale_checked: HashSet::new(),
            origins: Vec::new(),
            cooperations: Vec::new(),
            edges: 0,
            ledger: Ledger::default(),
            broken: Vec::new(),
        };
        let mut layer = Vec::new();
        this.visit(Pair::new(policy), budget, (0, None), &mut layer);
        let mut deepest = 0;
        while !layer.is_empty() && this.broken.len() < Self::ENOUGH {
            deepest += 1;
            let mut next = Vec::new();
            for node in layer {
                this.expand(&node, &mut next);
            }
            layer = next;
        }
        this.comes_to_rest();
        ExplorationReport {
            name: name(policy),
            budget,
            rolls_back: !policy.rollback_within.is_zero(),
            states: this.origins.len(),
            edges: this.edges,
            deepest,
            took: started.elapsed(),
            ledger: this.ledger,
            broken: this.broken,
        }
    }

    /// Returns the number of this state. A new state is added to the next layer.
    fn visit(
        &mut self,
        pair: Pair,
        budget: Budget,
        origin: (u32, Option<Move>),
        next: &mut Vec<Node>,
    ) -> u32 {
        let index = u32::try_from(self.origins.len()).expect("there are fewer than 2^32 states");
        let (key, machine) = pair.fingerprint(budget);
        match self.seen.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                vacant.insert(index);
                self.origins.push(origin);
                if self.stale_checked.insert(machine) {
                    pair.ignores_stale_events(&mut self.ledger);
                    self.note_broken(index, None);
                }
                self.cooperations.push(index);
                next.push(Node {
                    pair,
                    budget,
                    index,
                });
                index
            }
        }
    }

    fn expand(&mut self, node: &Node, next: &mut Vec<Node>) {
        let cooperation = node.pair.cooperate(UNIT);
        if cooperation.is_none() {
            node.pair
                .world
                .at_rest(&node.pair.machine, &mut self.ledger);
        }
        self.note_broken(node.index, None);
        for (action, budget) in moves(node) {
            let mut pair = node.pair.clone();
            pair.step(action, &mut self.ledger);
            self.edges += 1;
            if !self.ledger.is_clean() {
                self.note_broken(node.index, Some(action));
                continue;
            }
            let index = self.visit(pair, budget, (node.index, Some(action)), next);
            if cooperation == Some(action) {
                self.cooperations[node.index as usize] = index;
            }
        }
    }

    fn note_broken(&mut self, index: u32, action: Option<Move>) {
        for (rule, what) in self.ledger.take_broken() {
            let path = self.path(index, action);
            self.broken.push((rule, format!("{what}\n{path}")));
        }
    }

    fn path(&self, mut index: u32, last: Option<Move>) -> String {
        let mut moves: Vec<Move> = last.into_iter().collect();
        while let (before, Some(action)) = self.origins[index as usize] {
            moves.push(action);
            index = before;
        }
        moves.iter().rev().fold(String::new(), |mut text, action| {
            let _ = writeln!(text, "    {action:?}");
            text
        })
    }

    /// Checks that cooperation leads from every state to rest, without ever returning to an earlier state.
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
            let ends = way.len() < 500;
            self.ledger.check(Rule::NothingForgotten, ends, || {
                "the world does not come to rest".into()
            });
            rests[at] = ends;
            way.into_iter().for_each(|state| rests[state] = ends);
            if !ends {
                let index = u32::try_from(start).expect("there are fewer than 2^32 states");
                return self.note_broken(index, None);
            }
        }
    }
}

impl Budget {
    fn after(self, action: Move) -> Option<Self> {
        let (Move::Send(event) | Move::SendAndRefuse(event)) = action else {
            return Some(self);
        };
        let mut left = self;
        let spent = match event {
            // Each of these events leads to a build or a restart, or may be followed by one.
            Event::ChangeSeen
            | Event::Changed(_)
            | Event::Requested(Request::Reload)
            | Event::Generation(_, GenEvent::ReloadSignalSent { handled: false, .. }) => {
                &mut left.changes
            }
            Event::ConfigChanged { .. } => &mut left.configs,
            Event::Requested(Request::Undo | Request::KillDraining) => &mut left.requests,
            // Covered by the random walks and the traces, because these events would lead to too many states.
            Event::Requested(Request::Pause | Request::Resume) => return None,
            // It ends the sharing, so it needs no limit.
            Event::Requested(Request::ShareAll) => match action {
                Move::SendAndRefuse(_) => &mut left.faults,
                Move::Send(_) | Move::Pass(_) => return Some(left),
            },
            Event::Requested(Request::ShareMore | Request::ShareLess)
            | Event::Generation(
                _,
                GenEvent::ShareFailed | GenEvent::ShareChecked { passed: false },
            ) => &mut left.shares,
            Event::Requested(Request::Quit | Request::QuitNow) => &mut left.quits,
            Event::Generation(
                _,
                GenEvent::StartFailed
                | GenEvent::WarmUpFailed
                | GenEvent::BuildEnded(BuildOutcome::Failed),
            ) => &mut left.faults,
            Event::Generation(
                _,
                GenEvent::Ready | GenEvent::Exited { .. } | GenEvent::Gone { .. },
            ) if matches!(action, Move::SendAndRefuse(_)) => &mut left.faults,
            Event::Generation(
                _,
                GenEvent::ExtendTimeout { .. }
                | GenEvent::LacksAddresses { .. }
                | GenEvent::ListensOnPath
                | GenEvent::ReportsWrites
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_),
            ) => &mut left.notifications,
            Event::Generation(_, GenEvent::Liveness { .. }) => &mut left.checks,
            Event::Begin
            | Event::ChangesSettled
            | Event::MemoryMeasured { .. }
            | Event::Generation(
                _,
                GenEvent::BuildEnded(_)
                | GenEvent::ReloadSignalSent { .. }
                | GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::Ready
                | GenEvent::Switched
                | GenEvent::SwitchFailed
                | GenEvent::ShareChecked { passed: true }
                | GenEvent::Quiescent
                | GenEvent::HandlesStopSignal
                | GenEvent::Idle
                | GenEvent::Exited { .. }
                | GenEvent::Gone { .. },
            )
            | Event::Tick => return Some(left),
        };
        *spent = spent.checked_sub(1)?;
        Some(left)
    }
}

/// The moves that may happen next, each with the budget that remains after it.
fn moves(node: &Node) -> Vec<(Move, Budget)> {
    let world = &node.pair.world;
    if world.finished {
        return Vec::new();
    }
    let mut moves = vec![
        Move::Send(Event::Requested(Request::Quit)),
        Move::Send(Event::Requested(Request::QuitNow)),
    ];
    if world.begun {
        moves.push(Move::Send(Event::Changed(Action::Build)));
        moves.push(Move::Send(Event::ConfigChanged { signal: 1 }));
        if world.policy.builds {
            moves.push(Move::Send(Event::Changed(Action::Restart)));
        }
        let requests = [Request::Undo, Request::KillDraining];
        moves.extend(requests.map(|request| Move::Send(Event::Requested(request))));
        moves.extend(world.seen_or_settled().map(Move::Send));
        if world.has_sharing() {
            let requests = [Request::ShareMore, Request::ShareLess, Request::ShareAll];
            moves.extend(requests.map(|request| Move::Send(Event::Requested(request))));
            moves.push(Move::SendAndRefuse(Event::Requested(Request::ShareAll)));
        }
        moves.extend(node.pair.reports());
        moves.extend(world.notifications().into_iter().map(Move::Send));
        if node.pair.machine.deadline().is_some() {
            moves.push(Move::Pass(UNIT));
        }
    } else {
        moves.push(Move::Send(Event::Begin));
    }
    let affordable = |action: Move| Some((action, node.budget.after(action)?));
    moves.into_iter().filter_map(affordable).collect()
}

fn name(policy: &Policy) -> String {
    let Policy {
        builds,
        mode,
        when_busy,
        watchdog,
        rollback_within,
        keep,
        fresh,
        share,
        ..
    } = policy;
    let builds = if *builds { "builds" } else { "no builds" };
    let watchdog = if watchdog.is_some() { " watchdog" } else { "" };
    let back = match rollback_within.is_zero() {
        true => "",
        false => " rolling back",
    };
    let keep = if keep.is_zero() { "" } else { " keeping" };
    format!(
        "{mode:?} {when_busy:?} {builds}{watchdog}{back}{keep}, fresh: {fresh:?}, share: {share:?}"
    )
}
