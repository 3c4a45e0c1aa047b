//! Which socket a client reaches, and how its connection proceeds.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::kernel::{Array, Model, Sock};
use super::setting::{Client, Move, Step};
use super::world::World;
use crate::reload::Time;
use crate::socket::Endpoint;
use crate::socket::table::closing::{LONGEST_HANDSHAKE, REST};
use crate::socket::table::{GroupId, ListenerId};

/// The addresses of this machine.
const OWN_IPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
];

impl Model {
    /// Returns the group in which connections to this address arrive: the kernel prefers the narrowest.
    pub(super) fn reached(&self, to: SocketAddr) -> Option<GroupId> {
        let groups = self.arrays.iter().filter_map(|(group, array)| {
            let at = array.endpoint.filter(|_| !array.members.is_empty())?;
            let covers = Endpoint::from(to).is_covered_by(&[at]);
            (covers && !self.is_hidden(*group))
                .then_some((at.address.ip().is_unspecified(), *group))
        });
        groups.min().map(|(_, group)| group)
    }

    /// Returns the addresses that reach this group.
    pub(super) fn destinations(&self, group: GroupId) -> Vec<IpAddr> {
        let Some(endpoint) = self.arrays[&group].endpoint else {
            // A unix socket has no IP address.
            return OWN_IPS[..1].to_vec();
        };
        let port = endpoint.address.port();
        let reaches = |to: &IpAddr| self.reached(SocketAddr::new(*to, port)) == Some(group);
        OWN_IPS.into_iter().filter(reaches).collect()
    }

    /// Returns the group in which a connection arrives if hotrun forwards this client's.
    pub(super) fn forwarded_to(&self, client: Client) -> Option<GroupId> {
        let array = &self.arrays[&self.socks[&client.at].group];
        let port = array.endpoint?.address.port();
        self.reached(SocketAddr::new(client.to, port))
    }

    /// Whether hotrun takes this client's connection and forwards it.
    pub(super) fn is_taken(&self, client: Client) -> bool {
        let sock = &self.socks[&client.at];
        sock.forwards && self.arrays[&sock.group].policy.forwards(client.to)
    }

    /// Lets time pass, after which the client's connection may become visible to scans, or complete its handshake.
    pub(super) fn pass(&mut self, to: Time) {
        self.now = to;
        if let Some(client) = &mut self.client {
            if let Step::Chosen { since } = client.step
                && to.since(since) >= REST
            {
                client.step = appeared(&self.arrays, &self.socks[&client.at], since);
            }
            if let Step::HalfOpen { since } = client.step
                && to.since(since) >= LONGEST_HANDSHAKE
            {
                client.step = Step::Queued;
            }
        }
    }

    /// Puts the client's connection, or the one that hotrun has opened for it, into this or the chosen listener's queue.
    pub(super) fn queue_client(&mut self, at: Option<ListenerId>) {
        if let Some(client) = &mut self.client {
            client.at = at.unwrap_or(client.at);
            client.step = Step::Queued;
        }
    }

    /// Makes the client's connection visible to scans.
    pub(super) fn appear(&mut self) {
        if let Some(client) = &mut self.client
            && let Step::Chosen { since } = client.step
        {
            client.step = appeared(&self.arrays, &self.socks[&client.at], since);
        }
    }
}

impl World {
    /// Performs a move that the table does not see.
    pub(super) fn outside(&mut self, action: Move) {
        match action {
            Move::StrangerComes(group) => {
                self.budget.strangers -= 1;
                self.model.stranger_comes(group);
            }
            Move::StrangerGoes(group) => self.model.stranger_goes(group),
            Move::Connect(at, to) => {
                self.budget.clients -= 1;
                let since = self.model.now;
                let step = Step::Chosen { since };
                self.model.client = Some(Client { to, at, step });
            }
            Move::Appear => self.model.appear(),
            Move::Complete => self.model.queue_client(None),
            Move::Accept | Move::Respond503 => self.model.client = None,
            Move::Forward(at) => self.model.queue_client(Some(at)),
            Move::Scan(index) => self.model.scan(index),
            Move::Prepare
            | Move::Join(_)
            | Move::Switch(_)
            | Move::Share(_)
            | Move::StopSharing(_)
            | Move::Hold
            | Move::Drain(_)
            | Move::Die(_)
            | Move::Release(_)
            | Move::Respond
            | Move::StopResponding
            | Move::HoldNew
            | Move::StopHolding
            | Move::Divert(..)
            | Move::StopDiverting
            | Move::ShutDown(_)
            | Move::Notice(_)
            | Move::Unhold(_)
            | Move::Report(_)
            | Move::Pass
            | Move::PassLong => unreachable!("the table sees this move"),
        }
    }
}

/// Returns the step of a connection that has just become visible. A unix socket has no handshake.
fn appeared(arrays: &BTreeMap<GroupId, Array>, sock: &Sock, since: Time) -> Step {
    match arrays[&sock.group].endpoint {
        None => Step::Queued,
        Some(_) => Step::HalfOpen { since },
    }
}
