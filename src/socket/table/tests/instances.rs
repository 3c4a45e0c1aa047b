//! Several live generations, which are the instances of a program.

use std::collections::BTreeSet;

use super::kernel::{Member, Model};
use super::rules::{Rule, Serving};
use super::setting::{Generation, Life};
use super::world::World;
use crate::reload::GenId;
use crate::socket::Transport;
use crate::socket::table::{GroupId, Op};

impl Model {
    /// All live generations.
    fn live(&self) -> BTreeSet<GenId> {
        let newest = match self.serving {
            Serving::Live(id) => Some(id),
            Serving::Either(..) | Serving::Held | Serving::Undecided => None,
        };
        let beside = self.beside.iter().copied();
        newest.into_iter().chain(beside).collect()
    }

    pub(super) fn held_beside(&self, member: Member) -> bool {
        self.beside.iter().any(|id| self.held_by(member, *id))
    }

    /// Checks that each live generation gets new connections to the addresses that it listens on.
    fn all_get_connections(&mut self) {
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            let at = self.arrays[&group].endpoint;
            let steered = at.is_some_and(|at| at.transport == Transport::Tcp);
            let landings = self.landings(group);
            let gets = |id: &GenId| landings.iter().any(|member| self.held_by(*member, *id));
            let live = self.live();
            let mut listening = live.iter().filter(|id| self.listens(group, **id));
            let all = !steered || self.is_hidden(group) || listening.all(gets);
            self.check(Rule::AllOrNothing, all, |_| {
                format!("{live:?} are live, but {landings:?} get connections")
            });
        }
    }
}

impl World {
    /// The generations that the driver takes for live.
    pub(super) fn beside(&self, id: GenId) -> Vec<GenId> {
        let all = self.ids();
        let live = all.filter(|(other, one)| {
            *other != id && one.served && !one.draining && one.life != Life::Gone
        });
        let live = live.map(|(other, _)| other);
        live.filter(|_| self.instances).collect()
    }

    /// A generation stops serving, which the table does not know yet.
    pub(super) fn one_less(&mut self, id: GenId) {
        let mut live = self.model.live();
        if self.instances && live.remove(&id) {
            (self.model.serving, self.model.beside) = (Serving::Undecided, live);
        }
    }

    /// Whether the table does not know yet that an instance has ended.
    pub(super) fn an_end_is_unknown(&self) -> bool {
        let unknown = |one: Generation| one.served && one.life == Life::Dead && !one.draining;
        self.instances && self.ids().any(|(_, one)| unknown(one))
    }

    /// Called when the table knows the live generations: checks that they get the new connections. While it does not know
    /// that one of them has ended, connections may land there.
    pub(super) fn others_serve(&mut self) {
        if !self.instances {
            return;
        }
        if self.an_end_is_unknown() {
            self.model.beside = self.model.live();
            self.model.serving = Serving::Undecided;
            return;
        }
        if self.model.serving == Serving::Undecided
            && let Some(id) = self.model.beside.pop_last()
        {
            self.model.serving = Serving::Live(id);
        }
        let works = self.model.fails.is_none() && !self.model.disturbed && !self.model.unsteered;
        if works && matches!(self.model.serving, Serving::Live(_)) {
            let group = GroupId(0);
            self.model.check_instant(&Op::RemoveGroup { group });
            self.model.all_get_connections();
        }
    }
}
