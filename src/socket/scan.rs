//! What the kernel knows about the sockets of the whole machine (`sock_diag(7)`).
//!
//! For each answer the kernel walks over all of its sockets, which takes milliseconds on a busy machine. So a scan runs
//! in a thread that may wait, without any lock, and asks once for each port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::open_error::Occupant;
use crate::os::TcpListening;
use crate::os::sock_diag::{tcp_half_open, tcp_listening};
use crate::os::socket_holders::socket_holder;

/// How long a listener is kept at least after connections were steered elsewhere: another processor may be between the
/// old program's choice and the queue.
pub(super) const REST: Duration = Duration::from_millis(50);

/// How long a handshake may take that began before a switch. It ends in the old listener: a client that lost our answer
/// sends again after one second, then after two more (RFC 6298).
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The address of the group; `None` for a unix socket or datagrams, which need no scan.
    pub(super) endpoint: Option<Endpoint>,
    /// The inodes of our own sockets there.
    pub(super) ours: Vec<u64>,
    /// Whether an unfinished handshake matters.
    pub(super) handshakes: bool,
}

/// What a [`Scan`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The start of the scan.
    since: Instant,
    /// The inodes of other listeners on the address.
    strangers: Vec<u64>,
    /// Whether a handshake with the address was unfinished.
    half_open: bool,
}

impl Scan {
    /// Runs the scan.
    pub(super) fn take(&self) -> Scanned {
        Self::take_all(std::slice::from_ref(self)).remove(0)
    }

    /// Runs several scans. The kernel is asked once for each port.
    pub(super) fn take_all(scans: &[Self]) -> Vec<Scanned> {
        let mut kernel = Kernel::default();
        scans
            .iter()
            .map(|scan| scan.evaluate(&mut kernel))
            .collect()
    }

    fn evaluate(&self, kernel: &mut Kernel) -> Scanned {
        let since = kernel.since;
        let Some(endpoint) = self.endpoint else {
            return Scanned {
                since,
                strangers: Vec::new(),
                half_open: false,
            };
        };
        let all = kernel.listening(endpoint.address.port()).iter();
        let strangers = all
            .filter(|found| is_same(endpoint_of(found), endpoint))
            .map(|found| found.inode)
            .filter(|inode| !self.ours.contains(inode))
            .collect();
        Scanned {
            since,
            strangers,
            // Unknown counts as yes.
            half_open: !self.handshakes || kernel.half_open(endpoint.address),
        }
    }
}

/// The kernel's answers within one scan.
struct Kernel {
    since: Instant,
    listening: HashMap<u16, Vec<TcpListening>>,
    /// By port and whether it is IPv6.
    half_open: HashMap<(u16, bool), bool>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            listening: HashMap::new(),
            half_open: HashMap::new(),
        }
    }
}

impl Kernel {
    fn listening(&mut self, port: u16) -> &[TcpListening] {
        self.listening
            .entry(port)
            .or_insert_with(|| listening(port))
    }

    fn half_open(&mut self, address: SocketAddr) -> bool {
        let known = self.half_open.entry((address.port(), address.is_ipv6()));
        *known.or_insert_with(|| tcp_half_open(address).unwrap_or(true))
    }
}

impl Scanned {
    #[cfg(test)]
    pub(super) fn seen(since: Instant, strangers: Vec<u64>, half_open: bool) -> Self {
        Self {
            since,
            strangers,
            half_open,
        }
    }

    /// Whether a socket listens there that was not ours then and is not ours now.
    pub(super) fn has_stranger(&self, ours: impl Fn(u64) -> bool) -> bool {
        self.strangers.iter().any(|inode| !ours(*inode))
    }

    /// Whether a connection may still be on its way into a listener that was the target until `until`, as of `now`. If
    /// one was on its way during the scan, it is in the queue by now: check the queue after this.
    pub(super) fn may_arrive(&self, until: Instant, now: Instant) -> bool {
        let passed = now.saturating_duration_since(until);
        // An early scan says nothing about handshakes that began after it.
        let too_early = self.since < until + REST;
        passed < LONGEST_HANDSHAKE && (too_early || self.half_open)
    }
}

/// Whether a handshake that began before `until` may be unfinished `now`, judging by the time alone.
pub(super) fn handshake_matters(until: Instant, now: Instant) -> bool {
    now.saturating_duration_since(until) < LONGEST_HANDSHAKE
}

/// Whether another processor may still put a connection into a listener that was the target until `until`.
pub(super) fn is_warm(until: Instant, now: Instant) -> bool {
    now.saturating_duration_since(until) < REST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(since: Instant, half_open: bool) -> Scanned {
        Scanned::seen(since, vec![1, 2], half_open)
    }

    #[test]
    fn a_scan_counts_only_if_it_began_after_the_switch() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let arrives =
            |scan, half_open, now| scanned(at(scan), half_open).may_arrive(start, at(now));
        assert!(arrives(0, false, 60), "too early");
        assert!(arrives(49, false, 60), "too early");
        assert!(!arrives(50, false, 60));
        assert!(arrives(50, true, 60), "half open");
        assert!(!arrives(50, true, 3000), "the handshake has timed out");
        assert!(arrives(50, true, 2999));
    }

    #[test]
    fn a_stranger_is_ours_neither_then_nor_now() {
        let scanned = scanned(Instant::now(), false);
        assert!(scanned.has_stranger(|_| false));
        assert!(scanned.has_stranger(|inode| inode == 1));
        assert!(!scanned.has_stranger(|inode| inode == 1 || inode == 2));
    }

    #[test]
    fn a_scan_finds_other_listeners() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = crate::os::inode(&listener).unwrap();
        let scan = |ours: Vec<u64>| Scan {
            endpoint: Some(address.into()),
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
