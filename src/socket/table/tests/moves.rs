//! The moves that are possible in a world, and the next move if all parties cooperate.

use std::net::IpAddr;

use super::rules::{Rule, Serving};
use super::setting::{Client, Life, Move, Setting, Step};
use super::world::World;
use crate::reload::GenId;
use crate::socket::table::ListenerId;
use crate::unclaimed::UnclaimedPolicy;

impl World {
    /// Returns all possible moves.
    pub(super) fn moves(&self, setting: &Setting) -> Vec<Move> {
        let mut moves = Vec::new();
        self.driver_moves(setting, &mut moves);
        self.program_moves(setting, &mut moves);
        self.client_moves(&mut moves);
        for (index, scan) in self.model.scans.iter().enumerate() {
            moves.push(match scan.found {
                Some(_) => Move::Report(index),
                None => Move::Scan(index),
            });
        }
        if self.table.deadline().is_some() {
            moves.extend([Move::Pass, Move::PassLong]);
        }
        moves
    }

    fn driver_moves(&self, setting: &Setting, moves: &mut Vec<Move>) {
        let candidate = self
            .ids()
            .any(|(_, one)| one.life != Life::Gone && !one.served && !one.draining);
        let live = match self.model.serving {
            Serving::Live(id) => Some(id),
            Serving::Either(..) | Serving::Held | Serving::Undecided => None,
        };
        if self.budget.generations > 0 && !self.responds && !candidate {
            moves.push(Move::Prepare);
        }
        for (id, one) in self.ids() {
            let ready = usize::from(one.opened)
                >= setting.opened.get(id.0 as usize - 1).map_or(0, Vec::len);
            if one.life == Life::Running && !one.draining && ready && live != Some(id) {
                let first = !one.served || self.budget.returns > 0;
                moves.extend((first && !self.responds).then_some(Move::Switch(id)));
            }
            moves.extend(self.share_moves(id, ready));
            if one.life != Life::Gone && !one.draining {
                moves.push(Move::Drain(id));
            }
            if one.life == Life::Dead {
                moves.push(Move::Release(id));
            }
        }
        if self.model.beside.is_empty() && self.model.serving == Serving::Undecided {
            moves.push(Move::Hold);
        }
        let idle = live.is_none() && !candidate;
        let holds = self.model.holds_new;
        if self.budget.holds > 0 && live.is_some() && !holds {
            moves.push(Move::HoldNew);
        }
        if holds && (!self.responds || live.is_none()) {
            moves.push(Move::StopHolding);
        }
        let idle = idle || holds && live.is_some();
        if idle && !self.responds && self.budget.responses > 0 {
            moves.push(Move::Respond);
        }
        if self.responds {
            moves.push(Move::StopResponding);
        }
        if self.model.probe.is_some() {
            moves.push(Move::StopDiverting);
        } else if self.budget.probes > 0 {
            let running = self
                .ids()
                .filter(|(_, one)| one.life == Life::Running && !one.draining);
            for (id, _) in running {
                let groups = self.model.arrays.keys();
                let there = groups.filter(|group| self.model.listens(**group, id));
                moves.extend(there.map(|group| Move::Divert(*group, id)));
            }
        }
    }

    fn program_moves(&self, setting: &Setting, moves: &mut Vec<Move>) {
        for (id, one) in self.ids() {
            if one.life != Life::Running {
                continue;
            }
            let addresses = setting.opened.get(id.0 as usize - 1).map_or(0, Vec::len);
            if usize::from(one.opened) < addresses {
                moves.push(Move::Join(id));
            }
            moves.push(Move::Die(id));
        }
        for (listener, sock) in &self.model.socks {
            if !sock.listening {
                moves.push(Move::Notice(*listener));
            } else if sock.held.is_some() && self.budget.closes > 0 {
                moves.push(match sock.own {
                    true => Move::Unhold(*listener),
                    false => Move::ShutDown(*listener),
                });
            }
        }
        for (group, array) in &self.model.arrays {
            if array.members.contains(&None) {
                moves.push(Move::StrangerGoes(*group));
            } else if self.budget.strangers > 0 && array.endpoint.is_some() {
                // No stranger arrives between a scan and the close that follows it, because hotrun could not notice it.
                let mut scans = self.model.scans.iter();
                let scanned = scans.any(|scan| scan.group == *group && scan.found.is_some());
                moves.extend((!scanned).then_some(Move::StrangerComes(*group)));
            }
        }
    }

    fn client_moves(&self, moves: &mut Vec<Move>) {
        let Some(client) = self.model.client else {
            if self.budget.clients > 0 {
                let groups = self.model.arrays.keys();
                let visible = groups.filter(|group| !self.model.is_hidden(**group));
                let landings = visible.flat_map(|group| {
                    let landings = self.model.landings(*group).into_iter().flatten();
                    let to = self.model.destinations(*group);
                    landings.flat_map(move |at| to.clone().into_iter().map(move |to| (at, to)))
                });
                let mut landings: Vec<(ListenerId, IpAddr)> = landings.collect();
                landings.sort_unstable();
                landings.dedup();
                moves.extend(landings.into_iter().map(|(at, to)| Move::Connect(at, to)));
            }
            return;
        };
        match client.step {
            Step::Chosen { .. } => moves.push(Move::Appear),
            Step::HalfOpen { .. } => moves.push(Move::Complete),
            Step::Queued => self.queued_moves(client, moves),
        }
    }

    fn queued_moves(&self, client: Client, moves: &mut Vec<Move>) {
        let Some(sock) = self.model.socks.get(&client.at) else {
            return;
        };
        if sock.held.is_some_and(|id| self.is_running(id)) {
            moves.push(Move::Accept);
        }
        if !sock.forwards {
            return;
        }
        if self.model.arrays[&sock.group].policy == UnclaimedPolicy::Respond {
            moves.push(Move::Respond503);
        }
        if self.model.is_taken(client) {
            let reached = self.model.forwarded_to(client);
            let landings = reached.map(|group| self.model.landings(group));
            let landings = landings.into_iter().flatten().flatten();
            moves.extend(landings.filter(|at| *at != client.at).map(Move::Forward));
        }
    }

    /// Returns the next move if all parties cooperate, or `None` if nothing is left to do.
    pub(super) fn cooperate(&self, setting: &Setting) -> Option<Move> {
        let moves = self.moves(setting);
        let rank = |action: &Move| match *action {
            Move::Notice(_) => Some(0),
            Move::StrangerGoes(_) => Some(1),
            Move::Scan(_) | Move::Report(_) => Some(2),
            Move::Appear | Move::Complete | Move::Accept | Move::Respond503 => Some(3),
            Move::Forward(_) => Some(4),
            Move::StopDiverting => Some(5),
            Move::Drain(id) if !self.is_running(id) => Some(6),
            Move::Release(_) => Some(7),
            Move::Die(id) if self.get(id).draining => Some(8),
            Move::Join(_) => Some(9),
            Move::Switch(id) if self.model.serving != Serving::Live(id) && !self.get(id).served => {
                Some(10)
            }
            Move::Drain(id) if self.is_superseded(id) => Some(11),
            Move::Hold => Some(12),
            Move::StopResponding => Some(13),
            Move::StopHolding => Some(14),
            Move::Prepare if !matches!(self.model.serving, Serving::Live(_)) => Some(15),
            Move::PassLong if matches!(self.model.serving, Serving::Live(_)) => Some(16),
            Move::Pass
            | Move::PassLong
            | Move::Prepare
            | Move::Switch(_)
            | Move::Share(_)
            | Move::StopSharing(_)
            | Move::Drain(_)
            | Move::Die(_)
            | Move::Respond
            | Move::HoldNew
            | Move::Divert(..)
            | Move::ShutDown(_)
            | Move::Unhold(_)
            | Move::StrangerComes(_)
            | Move::Connect(..) => None,
        };
        let ranked = moves
            .iter()
            .filter_map(|action| Some((rank(action)?, action)));
        ranked
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, action)| *action)
    }

    /// Whether this generation was live, and another one is live now.
    fn is_superseded(&self, id: GenId) -> bool {
        matches!(self.model.serving, Serving::Live(live) if live != id) && self.get(id).served
    }

    /// Checks what must hold when there is nothing left to do.
    pub(super) fn at_rest(&mut self) {
        let Serving::Live(live) = self.model.serving else {
            return;
        };
        self.shares_only_if_asked();
        let waits = self.table.deadline().is_some();
        self.model
            .check(Rule::ComesToRest, !waits, |_| "a deadline is left".into());
        let client = self.model.client;
        let mut groups = self.model.arrays.keys();
        let serves = groups.any(|group| self.model.listens(*group, live));
        self.model
            .check(Rule::ComesToRest, client.is_none() || !serves, |_| {
                format!("{client:?} is never served")
            });
    }
}
