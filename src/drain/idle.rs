//! Infers from the kernel's counters whether a request is in progress on a TCP connection. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::os::{TcpConnection, TcpState};

/// The default for how long a connection must have been quiet since its last response to count as idle.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// The upper limit of the quiet time that a slow response requires.
const LONGEST_QUIET: Duration = Duration::from_secs(5);
/// How long a connection must have been quiet if the client has sent nothing yet, or if the order of the last request
/// and response is unknown.
const QUIET_IF_UNCLEAR: Duration = Duration::from_millis(2500);

/// Which side sent the last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// The client, which is now waiting for a response.
    Request,
    /// The program.
    Response,
    /// Unknown: both sides sent bytes within one tick of the kernel's clock.
    Unclear,
}

/// Whether the program has responded to the client's last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Perhaps not.
    InProgress,
    Complete,
}

/// What the client has sent that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// Its next request, so that it has the response to all others.
    NextRequest,
    /// Either that, or the body of the request that is in progress.
    Unclear,
}

/// The state of a connection at the last poll.
#[derive(Clone, Copy, Debug)]
struct Seen {
    received: u64,
    sent: u64,
    last: Last,
}

/// Distinguishes idle connections from busy ones, using the results of earlier polls.
///
/// The kernel records the times at which data was last sent and last received in ticks of 1 to 10 ms. If the two ticks
/// differ, the order is certain. But a response sent in the same tick as its request looks the same as a request that
/// arrives in the same tick as the previous response. The following clues distinguish them, in this order:
///
/// 1. two polls between which only one of the byte counts has grown;
/// 2. an acknowledgement from the client in a later tick than its last data: it must acknowledge a response sent since
///    then, because the request itself acknowledged everything before it;
/// 3. time: a connection that has been quiet for `QUIET_IF_UNCLEAR` counts as idle.
///
/// The kernel does not show where a response ends, and a program may send it in parts, with pauses. The longer a response
/// has taken so far, the longer its next pause may be: the connection must have been quiet for twice that time. A
/// response that has taken longer than `longest_response` counts as an endless stream, which is not worth waiting for.
///
/// This does not work for protocols that allow concurrent requests on one connection, such as HTTP/2.
#[derive(Debug)]
pub(super) struct IdleDetector {
    seen: HashMap<u64, Seen>,
    quiet: Duration,
    longest_response: Duration,
}

impl IdleDetector {
    /// Creates a detector that considers a connection idle once it has been quiet for at least this long.
    pub(super) fn new(quiet: Duration, longest_response: Duration) -> Self {
        Self {
            seen: HashMap::new(),
            quiet,
            longest_response,
        }
    }

    /// Whether the client is certainly still waiting for a response to its last request.
    pub(super) fn awaits_response(&mut self, now: &TcpConnection) -> bool {
        let last = self.observe(now);
        let open = matches!(now.state, TcpState::Open | TcpState::PeerClosed);
        open && (now.unread > 0 || now.received > 0 && last == Last::Request)
    }

    /// Whether a request is in progress. If the order of the last request and response is unknown, it is unless an
    /// acknowledgement is missing: a later request would have acknowledged the response.
    pub(super) fn exchange(&mut self, now: &TcpConnection) -> Exchange {
        let later_request = match self.observe(now) {
            Last::Request => true,
            Last::Response => false,
            Last::Unclear => now.unsent == 0,
        };
        match later_request || now.unread > 0 {
            true => Exchange::InProgress,
            false => Exchange::Complete,
        }
    }

    /// Whether no request is in progress on the connection. Call this at every poll. `hidden`: what the client has sent that
    /// is hidden.
    pub(super) fn is_idle(&mut self, now: &TcpConnection, hidden: Option<Hidden>) -> bool {
        let last = self.observe(now);
        match now.state {
            TcpState::Open => match hidden {
                // The kernel also drops the acknowledgement that comes with a hidden request.
                Some(Hidden::NextRequest) => now.unread == 0 && last != Last::Request,
                Some(Hidden::Unclear) => false,
                None => queues_empty(now, 0) && self.is_quiet(now, last),
            },
            // The client will send no more requests, but may be waiting for a response.
            TcpState::PeerClosed => {
                queues_empty(now, 0) && (now.received == 0 || self.is_quiet(now, last))
            }
            // The program will send no more data. Its FIN counts as unsent until it is acknowledged.
            TcpState::Closed | TcpState::BothClosed => queues_empty(now, 1),
        }
    }

    fn observe(&mut self, now: &TcpConnection) -> Last {
        let last = self.last(now);
        let before = self.seen.get(&now.inode).copied();
        let seen = Seen {
            received: now.received.max(before.map_or(0, |before| before.received)),
            sent: now.sent.max(before.map_or(0, |before| before.sent)),
            last,
        };
        self.seen.insert(now.inode, seen);
        last
    }

    fn is_quiet(&self, now: &TcpConnection, last: Last) -> bool {
        let since_sent = match now.sent {
            0 => Duration::MAX,
            1.. => now.since_sent,
        };
        let since = now.since_received.min(since_sent);
        // The client has opened the connection in advance, as browsers do, and has not used it yet.
        if now.received == 0 {
            return since >= QUIET_IF_UNCLEAR;
        }
        match last {
            Last::Request => false,
            Last::Response => since >= self.quiet.max(self.possible_pause(now)),
            Last::Unclear => since >= self.quiet.max(QUIET_IF_UNCLEAR),
        }
    }

    /// How long the last response may pause before its next part.
    fn possible_pause(&self, now: &TcpConnection) -> Duration {
        let taken = now.since_received.saturating_sub(now.since_sent);
        match taken <= self.longest_response {
            true => (taken * 2).min(LONGEST_QUIET),
            false => Duration::ZERO,
        }
    }

    fn last(&self, now: &TcpConnection) -> Last {
        let Some(seen) = self.seen.get(&now.inode) else {
            return by_time(now);
        };
        if now.received < seen.received || now.sent < seen.sent {
            return seen.last;
        }
        match (now.received > seen.received, now.sent > seen.sent) {
            (true, false) => Last::Request,
            (false, true) => Last::Response,
            (true, true) => by_time(now),
            (false, false) => match seen.last {
                Last::Request | Last::Response => seen.last,
                // An acknowledgement that arrived later may show the order.
                Last::Unclear => by_time(now),
            },
        }
    }
}

fn by_time(now: &TcpConnection) -> Last {
    if now.sent == 0 || now.since_sent > now.since_received {
        return Last::Request;
    }
    let acknowledged_since =
        now.state == TcpState::Open && now.since_acknowledged < now.since_received;
    if now.since_sent < now.since_received || acknowledged_since {
        Last::Response
    } else {
        Last::Unclear
    }
}

fn queues_empty(now: &TcpConnection, fin: u32) -> bool {
    now.unread == 0 && now.unsent <= fin
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST_RESPONSE: Duration = Duration::from_secs(10);

    fn connection(received: u64, sent: u64, since_received: u64, since_sent: u64) -> TcpConnection {
        TcpConnection {
            inode: 1,
            state: TcpState::Open,
            peer: ([127, 0, 0, 1], 1).into(),
            unread: 0,
            unsent: 0,
            received,
            sent,
            since_sent: Duration::from_millis(since_sent),
            since_received: Duration::from_millis(since_received),
            since_acknowledged: Duration::from_millis(since_received),
        }
    }

    fn idle(now: &TcpConnection) -> bool {
        IdleDetector::new(QUIET, LONGEST_RESPONSE).is_idle(now, None)
    }

    #[test]
    fn a_connection_with_an_unanswered_request_is_never_idle() {
        assert!(
            !idle(&connection(80, 0, 60_000, 70_000)),
            "on a new connection"
        );
        assert!(
            !idle(&connection(160, 90, 60_000, 60_004)),
            "on a used connection"
        );
    }

    #[test]
    fn a_client_awaits_a_response_until_one_is_sent() {
        let awaits =
            |now: &TcpConnection| IdleDetector::new(QUIET, LONGEST_RESPONSE).awaits_response(now);
        assert!(awaits(&connection(80, 0, 60_000, 70_000)));
        assert!(!awaits(&connection(80, 90, 8, 4)), "a response was sent");
        assert!(!awaits(&connection(80, 90, 8, 8)), "the order is unknown");
        assert!(!awaits(&connection(0, 0, 8, 8)), "there is no request");
    }

    #[test]
    fn a_connection_is_idle_once_it_has_been_quiet_after_its_response() {
        assert!(!idle(&connection(80, 90, 96, 92)));
        assert!(!idle(&connection(80, 90, 200, 96)));
        assert!(idle(&connection(80, 90, 104, 100)));
    }

    #[test]
    fn a_response_may_pause_for_twice_as_long_as_it_has_taken() {
        assert!(!idle(&connection(80, 900, 899, 599)), "300 ms so far");
        assert!(idle(&connection(80, 900, 900, 600)));
        assert!(!idle(&connection(80, 900, 12_999, 4999)), "8 s so far");
        assert!(idle(&connection(80, 900, 13_000, 5000)));
    }

    #[test]
    fn an_endless_stream_becomes_idle_like_a_fast_response() {
        assert!(!idle(&connection(80, 900, 10_100, 100)), "10 s so far");
        assert!(!idle(&connection(80, 900, 60_000, 99)));
        assert!(idle(&connection(80, 900, 60_000, 100)));
    }

    #[test]
    fn a_request_and_response_in_one_tick_require_a_longer_quiet_time() {
        assert!(!idle(&connection(80, 90, 2496, 2496)));
        assert!(idle(&connection(80, 90, 2500, 2500)));
    }

    #[test]
    fn a_later_acknowledgement_shows_that_a_response_was_sent() {
        let finished = TcpConnection {
            since_acknowledged: Duration::from_millis(160),
            ..connection(80, 90, 200, 200)
        };
        assert!(idle(&finished));
        let half_closed = TcpConnection {
            state: TcpState::PeerClosed,
            ..finished
        };
        assert!(
            !idle(&half_closed),
            "the client's FIN may be the acknowledgement"
        );
    }

    #[test]
    fn growth_of_one_byte_count_between_two_polls_shows_the_order() {
        let mut detector = IdleDetector::new(QUIET, LONGEST_RESPONSE);
        assert!(!detector.is_idle(&connection(80, 90, 0, 0), None));
        assert!(
            !detector.is_idle(&connection(160, 90, 0, 0), None),
            "the next request has arrived"
        );
        assert!(
            !detector.is_idle(&connection(160, 90, 60_000, 60_000), None),
            "the next request still has no response"
        );
        assert!(
            !detector.is_idle(&connection(160, 180, 0, 0), None),
            "the response has just been sent"
        );
        assert!(detector.is_idle(&connection(160, 180, 100, 100), None));
    }

    #[test]
    fn a_whole_exchange_between_two_polls_leaves_the_order_unknown() {
        let mut detector = IdleDetector::new(QUIET, LONGEST_RESPONSE);
        assert!(!detector.is_idle(&connection(80, 0, 0, 5), None));
        assert!(!detector.is_idle(&connection(80, 90, 0, 0), None));
        assert!(!detector.is_idle(&connection(160, 180, 0, 0), None));
        assert!(
            !detector.is_idle(&connection(160, 180, 200, 200), None),
            "the order is unknown"
        );
    }

    #[test]
    fn a_connection_with_queued_data_is_not_idle() {
        let idle_connection = connection(80, 90, 5000, 4000);
        assert!(idle(&idle_connection));
        assert!(!idle(&TcpConnection {
            unread: 1,
            ..idle_connection.clone()
        }));
        assert!(!idle(&TcpConnection {
            unsent: 1,
            ..idle_connection
        }));
    }

    #[test]
    fn an_unused_connection_must_be_quiet_for_longer_to_be_idle() {
        assert!(!idle(&connection(0, 0, 2496, 2496)));
        assert!(idle(&connection(0, 0, 2500, 2500)));
        assert!(
            !idle(&connection(0, 20, 2600, 2496)),
            "the server has sent a greeting"
        );
    }

    #[test]
    fn a_half_closed_connection_is_idle_unless_it_awaits_a_response() {
        let closed = |received, sent| TcpConnection {
            state: TcpState::PeerClosed,
            ..connection(received, sent, 200, if sent > 0 { 150 } else { 200 })
        };
        assert!(idle(&closed(0, 0)));
        assert!(idle(&closed(80, 90)));
        assert!(
            !idle(&closed(80, 0)),
            "`nc -N` sends its request, closes, and waits"
        );
    }

    #[test]
    fn a_connection_closed_by_the_program_is_idle_once_everything_is_sent() {
        let closed = TcpConnection {
            state: TcpState::Closed,
            unsent: 1,
            ..connection(80, 90, 8, 4)
        };
        assert!(idle(&closed));
        assert!(!idle(&TcpConnection {
            unsent: 2,
            ..closed
        }));
    }
}
