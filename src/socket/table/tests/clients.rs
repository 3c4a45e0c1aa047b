//! How a client's connection proceeds.

use std::collections::BTreeMap;

use super::kernel::{Array, Model, Sock};
use super::setting::Step;
use crate::reload::Time;
use crate::socket::table::GroupId;
use crate::socket::table::closing::{LONGEST_HANDSHAKE, REST};

impl Model {
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

    /// Makes the client's connection visible to scans.
    pub(super) fn appear(&mut self) {
        if let Some(client) = &mut self.client
            && let Step::Chosen { since } = client.step
        {
            client.step = appeared(&self.arrays, &self.socks[&client.at], since);
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
