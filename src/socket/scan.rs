//! Queries the kernel for the listening sockets of the whole machine (`sock_diag(7)`).
//!
//! For each query the kernel walks over all of its sockets, which takes milliseconds on a busy machine.

use std::fmt;

use super::endpoint::Endpoint;
use super::table::Sight;
use crate::os::socket_holders::socket_holder;
use crate::os::{Holder, TcpListening};
use crate::os::{tcp_half_open, tcp_listening};
use crate::reload::Time;

/// The holder of an address that we want to use.
pub(super) struct Occupant {
    /// The process, if we may inspect it.
    pub(super) holder: Option<Holder>,
    /// The user id of the socket's owner, if the system reports it.
    pub(super) uid: Option<u32>,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.holder, self.uid) {
            (Some(Holder { pid, name }), _) => write!(f, "`{name}` (pid {pid})"),
            (None, Some(uid)) => write!(f, "a process with user id {uid}"),
            (None, None) => f.write_str("another process"),
        }
    }
}

/// Finds a listener, other than `ours`, that prevents `endpoint` from being bound.
pub(super) fn occupant(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    overlapping(endpoint, ours).as_ref().map(describe)
}

/// Whether there is an [`occupant`]. Faster, because it does not search for the process.
pub(super) fn is_occupied(endpoint: Endpoint, ours: &[u64]) -> bool {
    overlapping(endpoint, ours).is_some()
}

fn overlapping(endpoint: Endpoint, ours: &[u64]) -> Option<TcpListening> {
    let mut others = others(endpoint, ours);
    others.find(|found| endpoint_of(found).overlaps(&endpoint))
}

/// Finds a listener, other than `ours`, that shares exactly this address through `SO_REUSEPORT`. Any process of the
/// same user can do so.
pub(super) fn stranger(endpoint: Endpoint, ours: &[u64]) -> Option<Occupant> {
    let mut others = others(endpoint, ours);
    let stranger = others.find(|found| is_same(endpoint_of(found), endpoint));
    stranger.as_ref().map(describe)
}

/// Scans for strangers at an address and, if `handshakes` is set, for unfinished handshakes there. If that is unknown,
/// reports an unfinished handshake.
pub(super) fn sight(since: Time, endpoint: Endpoint, ours: &[u64], handshakes: bool) -> Sight {
    let mut others = others(endpoint, ours);
    Sight {
        since,
        stranger: others.any(|found| is_same(endpoint_of(&found), endpoint)),
        half_open: !handshakes || tcp_half_open(endpoint.address).map_or(true, |age| age.is_some()),
    }
}

/// Returns the listeners on the port except `ours`, if the system reports them.
fn others(endpoint: Endpoint, ours: &[u64]) -> impl Iterator<Item = TcpListening> {
    let found = match endpoint.address.port() {
        0 => Vec::new(),
        port => tcp_listening(port).unwrap_or_default(),
    };
    let others = found.into_iter();
    others.filter(|found| !ours.contains(&found.inode))
}

fn describe(found: &TcpListening) -> Occupant {
    Occupant {
        holder: socket_holder(found.inode),
        uid: Some(found.uid),
    }
}

fn endpoint_of(found: &TcpListening) -> Endpoint {
    Endpoint {
        only_v6: found.only_v6,
        ..found.address.into()
    }
}

/// Whether two endpoints are the same address. Dual-stack `::` and IPv6-only `::` are different addresses
/// (`ipv6_rcv_saddr_equal` in `net/ipv4/inet_connection_sock.c`).
fn is_same(a: Endpoint, b: Endpoint) -> bool {
    let key = |one: Endpoint| (one.address.ip(), one.address.port(), one.only_v6);
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_other_listeners() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = crate::os::inode(&listener).unwrap();
        let scan = |ours: &[u64], handshakes| sight(Time::START, address.into(), ours, handshakes);
        assert!(!scan(&[inode], true).stranger);
        assert!(scan(&[7], true).stranger);
        assert!(!scan(&[], true).half_open);
        assert!(scan(&[], false).half_open, "unknown counts as half open");
    }
}
