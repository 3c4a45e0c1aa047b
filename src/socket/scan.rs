//! What has to be known of the whole machine before a slot is closed, and is asked without the group's lock: the
//! kernel walks over all of its sockets for an answer, which takes milliseconds where there are many.

use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::exclusive::listeners;
use crate::os::sock_diag::tcp_half_open;

/// For how long a slot is kept at least after connections went elsewhere: another processor may be between the
/// old program's choice and the queue.
pub(super) const REST: Duration = Duration::from_millis(50);

/// How long a handshake may have begun before a switch and end after it, in another slot than the live one: a
/// client that lost our answer sends again after one second, then two (RFC 6298).
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where others may listen beside us; nowhere for a unix socket, whose face knows everything by itself.
    pub(super) endpoint: Option<Endpoint>,
    /// The inodes of our own sockets there.
    pub(super) ours: Vec<u64>,
    /// Whether a handshake that has not ended matters.
    pub(super) handshakes: bool,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Before anything was looked at.
    since: Instant,
    /// The inodes of those who listen at the address beside us.
    strangers: Vec<u64>,
    /// Whether some handshake with the address had begun and not ended.
    half_open: bool,
}

impl Scan {
    /// Looks. To be called without any lock, and by a thread that may wait.
    pub(super) fn take(&self) -> Scanned {
        let since = Instant::now();
        let Some(endpoint) = self.endpoint else {
            return Scanned {
                since,
                strangers: Vec::new(),
                half_open: false,
            };
        };
        let mut strangers = listeners(endpoint);
        strangers.retain(|inode| !self.ours.contains(inode));
        Scanned {
            since,
            strangers,
            // What was not asked or not answered may be.
            half_open: !self.handshakes || tcp_half_open(endpoint.address).unwrap_or(true),
        }
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

    /// Whether somebody listens at the address who was none of ours then, and is none now.
    pub(super) fn has_stranger(&self, ours: impl Fn(u64) -> bool) -> bool {
        self.strangers.iter().any(|inode| !ours(*inode))
    }

    /// Whether a connection may still be on its way into a slot that got new ones until `until`, when `now` it is
    /// asked. If one was, at the time of the look, it is in the queue by now: which is to be looked at after this.
    pub(super) fn may_arrive(&self, until: Instant, now: Instant) -> bool {
        let passed = now.saturating_duration_since(until);
        // A look before its time says nothing of the handshakes that began until then.
        let too_early = self.since < until + REST;
        passed < LONGEST_HANDSHAKE && (too_early || self.half_open)
    }
}

/// Whether a handshake that began before `until` may not have ended `now`, by the time alone.
pub(super) fn handshake_matters(until: Instant, now: Instant) -> bool {
    now.saturating_duration_since(until) < LONGEST_HANDSHAKE
}

/// Whether another processor may still put something into a slot that got new connections until `until`.
pub(super) fn is_warm(until: Instant, now: Instant) -> bool {
    now.saturating_duration_since(until) < REST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(since: Instant, half_open: bool) -> Scanned {
        Scanned::seen(since, vec![1, 2], half_open)
    }

    #[test]
    fn a_look_counts_only_if_it_was_taken_after_the_switch() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(sight(at(0), false).may_arrive(start, at(60)), "too early");
        assert!(sight(at(49), false).may_arrive(start, at(60)), "too early");
        assert!(!sight(at(50), false).may_arrive(start, at(60)));
        assert!(sight(at(50), true).may_arrive(start, at(60)), "half open");
        assert!(!sight(at(50), true).may_arrive(start, at(3000)), "in time");
        assert!(sight(at(50), true).may_arrive(start, at(2999)));
    }

    #[test]
    fn only_who_is_ours_neither_then_nor_now_is_a_stranger() {
        let sight = sight(Instant::now(), false);
        assert!(sight.has_stranger(|_| false));
        assert!(sight.has_stranger(|inode| inode == 1));
        assert!(!sight.has_stranger(|inode| inode == 1 || inode == 2));
    }

    #[test]
    fn a_look_sees_who_listens_beside_us() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = crate::socket::slot::inode(&listener.try_clone().unwrap().into()).unwrap();
        let look = |ours: Vec<u64>| Scan {
            endpoint: Some(address.into()),
            ours,
            handshakes: true,
        };
        assert!(look(vec![inode]).take().strangers.is_empty());
        assert_eq!(look(vec![7]).take().strangers, [inode]);
        assert!(!look(vec![]).take().half_open);
        let unasked = Scan {
            handshakes: false,
            ..look(vec![])
        };
        assert!(unasked.take().half_open);
    }
}
