//! What the kernel knows about the sockets of the whole machine (`sock_diag(7)`).
//!
//! For each answer the kernel walks over all of its sockets, which takes milliseconds on a busy machine. So a scan runs
//! in a thread that may wait, without any lock, and asks once for each port.

use std::time::Instant;

use super::endpoint::Endpoint;
use super::open_error::Occupant;
use crate::os::TcpListening;
use crate::os::socket_holders::socket_holder;
use crate::os::{tcp_half_open, tcp_listening};

/// A listener, other than `ours`, that keeps `endpoint` from being bound.
pub(super) fn occupant(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    let overlaps = |found: Endpoint| found.overlaps(&endpoint);
    find(endpoint, overlaps, ours).map(|found| describe(&found))
}

/// Whether there is an [`occupant`]. This does not look for its process.
pub(super) fn is_occupied(endpoint: Endpoint, ours: &[u64]) -> bool {
    find(endpoint, |found| found.overlaps(&endpoint), ours).is_some()
}

/// A listener, other than `ours`, that shares exactly this address by `SO_REUSEPORT`. A program of the same user can.
pub(super) fn stranger(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    find(endpoint, |found| is_same(found, endpoint), ours).map(|found| describe(&found))
}

fn find(
    endpoint: Endpoint,
    wanted: impl Fn(Endpoint) -> bool,
    ours: &[u64],
) -> Option<TcpListening> {
    let mut found = listening(endpoint.address.port()).into_iter();
    found.find(|one| !ours.contains(&one.inode) && wanted(endpoint_of(one)))
}

fn describe(found: &TcpListening) -> Occupant {
    Occupant {
        holder: socket_holder(found.inode),
        uid: Some(found.uid),
    }
}

/// All listeners on this port; none where the system does not tell, and none for port 0, which nobody can have.
fn listening(port: u16) -> Vec<TcpListening> {
    match port {
        0 => Vec::new(),
        _ => tcp_listening(port).unwrap_or_default(),
    }
}

fn endpoint_of(found: &TcpListening) -> Endpoint {
    Endpoint {
        only_v6: found.only_v6,
        ..found.address.into()
    }
}

/// `::` and `::` for IPv6 only are two addresses (`ipv6_rcv_saddr_equal` in `net/ipv4/inet_connection_sock.c`).
fn is_same(a: Endpoint, b: Endpoint) -> bool {
    let key = |one: Endpoint| (one.address.ip(), one.address.port(), one.only_v6);
    key(a) == key(b)
}

/// What to look for before a listener of one group is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The address of the group.
    pub(super) endpoint: Endpoint,
    /// The inodes of our own sockets.
    pub(super) ours: Vec<u64>,
    /// Whether an unfinished handshake matters.
    pub(super) handshakes: bool,
}

/// What a [`Scan`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The start of the scan.
    pub(super) since: Instant,
    /// The inodes of other listeners on the address.
    pub(super) strangers: Vec<u64>,
    /// Whether a handshake with the address was unfinished, or that was not looked at.
    pub(super) half_open: bool,
}

impl Scan {
    /// Runs the scan.
    pub(super) fn take(&self) -> Scanned {
        let since = Instant::now();
        let found = listening(self.endpoint.address.port()).into_iter();
        let strangers = found
            .filter(|found| is_same(endpoint_of(found), self.endpoint))
            .map(|found| found.inode)
            .filter(|inode| !self.ours.contains(inode));
        Scanned {
            since,
            strangers: strangers.collect(),
            // Unknown counts as yes.
            half_open: !self.handshakes
                || tcp_half_open(self.endpoint.address).map_or(true, |age| age.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_other_listeners() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = crate::os::inode(&listener).unwrap();
        let scan = |ours: Vec<u64>| Scan {
            endpoint: address.into(),
            ours,
            handshakes: true,
        };
        assert!(scan(vec![inode]).take().strangers.is_empty());
        assert_eq!(scan(vec![7]).take().strangers, [inode]);
        assert!(!scan(vec![]).take().half_open);
        let without = Scan {
            handshakes: false,
            ..scan(vec![])
        };
        assert!(without.take().half_open, "unknown counts as half open");
    }
}
