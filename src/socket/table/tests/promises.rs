//! What clients may expect of the addresses that live generations have served.

use std::collections::BTreeSet;

use super::kernel::Model;
use super::rules::{Rule, Serving};
use super::setting::{Life, Step};
use super::world::World;
use crate::reload::GenId;
use crate::socket::table::{AddressEvent, GroupId, ListenerId, TableInput};
use crate::socket::{Endpoint, Transport};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Promises {
    /// The groups of addresses that a generation has served while it was live.
    served: BTreeSet<GroupId>,
    /// The groups of addresses that hotrun has reported as given up, or that it has hidden.
    given_up: BTreeSet<GroupId>,
    /// The groups of addresses that the live generation has closed.
    closed: BTreeSet<GroupId>,
    /// Whether a generation is being started.
    reloading: bool,
}

impl Promises {
    pub(super) fn hidden(&mut self, group: GroupId) {
        self.given_up.insert(group);
    }

    pub(super) fn reported(&mut self, group: GroupId, event: AddressEvent) {
        match event {
            AddressEvent::GivenUp | AddressEvent::Closed => {
                self.given_up.insert(group);
            }
            AddressEvent::ClosedDuringReload => {}
        }
    }

    pub(super) fn rename(&mut self, rename: impl Fn(GroupId) -> GroupId) {
        for set in [&mut self.served, &mut self.given_up, &mut self.closed] {
            *set = set.iter().map(|group| rename(*group)).collect();
        }
    }

    fn serves(&mut self, group: GroupId) {
        self.served.insert(group);
        self.given_up.remove(&group);
        self.closed.remove(&group);
    }
}

impl Model {
    /// Checks that an address may be refused from now on.
    pub(super) fn is_refused(&mut self, group: GroupId, endpoint: Option<Endpoint>) {
        let others = self.arrays.values().filter_map(|array| array.endpoint);
        let others: Vec<Endpoint> = others.collect();
        let covered = endpoint.is_some_and(|at| at.is_covered_by(&others));
        let promises = &mut self.promises;
        let (served, given_up) = (
            promises.served.remove(&group),
            promises.given_up.remove(&group),
        );
        // hotrun cannot hold an address with a datagram socket.
        let holds = endpoint.is_none_or(|at| at.transport == Transport::Tcp);
        let returns = promises.closed.remove(&group) && promises.reloading && holds;
        self.check(Rule::NotInSilence, !served || given_up || covered, |_| {
            format!("{endpoint:?} was served, and is refused without a report")
        });
        self.check(Rule::NotInSilence, !returns, |_| {
            format!("{endpoint:?} is refused although it was closed during a reload")
        });
    }
}

impl World {
    /// Checks that a connection does not wait beside the socket in which it would be served, unless a program may still
    /// accept it for all that the table knows.
    pub(super) fn check_narrower(&mut self) {
        let model = &mut self.model;
        let (Serving::Live(id), Some(client)) = (model.serving, model.client) else {
            return;
        };
        let sock = &model.socks[&client.at];
        let mut all = self.generations.iter();
        let died = all.any(|one| one.life == Life::Dead && !one.draining);
        let claimed = sock.held.is_some() || died || model.disturbed || model.unsteered;
        let reached = model.forwarded_to(client);
        let elsewhere = reached.filter(|reached| *reached != sock.group);
        let served = elsewhere.is_some_and(|reached| model.listens(reached, id));
        if client.step == Step::Queued && served && !claimed {
            let taken = model.is_taken(client);
            model.check(Rule::ForwardedToNarrower, taken, |_| {
                format!("{client:?} waits although {id} listens in {reached:?}")
            });
        }
    }

    /// A program closes a socket.
    pub(super) fn unhold(&mut self, listener: ListenerId) {
        self.budget.closes -= 1;
        if let Some(sock) = self.model.socks.get_mut(&listener) {
            let by = sock.held.take().map(Serving::Live);
            let closed = (by == Some(self.model.serving)).then_some(sock.group);
            self.model.promises.closed.extend(closed);
        }
        self.tell(TableInput::Orphan(vec![listener]));
    }

    pub(super) fn reload_begins(&mut self) {
        self.model.promises.reloading = true;
        self.tell(TableInput::Reloading(true));
    }

    /// A generation that has not been live before becomes live or is stopped.
    pub(super) fn reload_ends(&mut self, id: GenId) {
        if self.model.promises.reloading && !self.get(id).served {
            self.model.promises.reloading = false;
            self.tell(TableInput::Reloading(false));
        }
    }

    /// A generation has opened a socket.
    pub(super) fn opened(&mut self, id: GenId, group: GroupId) {
        if self.model.serving == Serving::Live(id) {
            self.model.promises.serves(group);
        }
    }

    /// A generation has become live.
    pub(super) fn serves(&mut self, id: GenId) {
        self.model.promises.closed.clear();
        let groups: Vec<GroupId> = self.model.arrays.keys().copied().collect();
        for group in groups {
            if self.model.listens(group, id) {
                self.model.promises.serves(group);
            }
        }
        self.reload_ends(id);
    }
}
