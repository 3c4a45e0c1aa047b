//! Whether a TCP connection is in the middle of something, as far as the kernel's counters tell. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::os::{TcpConnection, TcpState};

/// How long a connection on which everything was answered must be quiet to be idle, unless somebody says otherwise.
const QUIET: Duration = Duration::from_millis(100);
/// How long it must be quiet if that cannot be told.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Which came last, the other side's bytes or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// Theirs: something is unanswered.
    Asked,
    /// Ours: everything is answered.
    Answered,
    /// Both came within one tick of the kernel's clock.
    Unclear,
}

/// What was seen of a connection when it was last looked at.
#[derive(Clone, Copy, Debug)]
struct Seen {
    received: u64,
    sent: u64,
    last: Last,
}

/// What earlier looks at the connections of a generation tell.
///
/// The kernel keeps when data was last sent and last received in ticks of 1 to 10 ms. If one of them is later
/// the order is certain. An answer that leaves in the tick in which its request came looks like a request that
/// comes in the tick in which the answer to the one before left. What tells them apart is, in this order:
///
/// 1. two looks between which only one of the byte counts has grown;
/// 2. an acknowledgement from the other side in a later tick than its last data: it acknowledges what was sent
///    since, for a request carries the acknowledgement of all that came before it;
/// 3. patience.
///
/// A protocol that has several requests under way on one connection (HTTP/2) is beyond this.
#[derive(Debug)]
pub(super) struct IdleDetector {
    seen: HashMap<u64, Seen>,
    quiet: Duration,
}

impl Default for IdleDetector {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
            quiet: QUIET,
        }
    }
}

impl IdleDetector {
    /// One for which a connection must be quiet for so long.
    pub(super) fn of_quiet(quiet: Option<Duration>) -> Self {
        Self {
            quiet: quiet.unwrap_or(QUIET),
            ..Self::default()
        }
    }

    /// Whether nothing is under way on the connection. To be called at every look.
    pub(super) fn is_idle(&mut self, now: &TcpConnection) -> bool {
        let last = self.last(now);
        let seen = Seen {
            received: now.received,
            sent: now.sent,
            last,
        };
        self.seen.insert(now.inode, seen);
        match now.state {
            TcpState::Open => queues_empty(now, 0) && self.is_quiet(now, last),
            // Nobody will ask any more; what was asked may be unanswered.
            TcpState::PeerClosed => {
                queues_empty(now, 0) && (now.received == 0 || self.is_quiet(now, last))
            }
            // The program has said that it has nothing more to say. The mark of the end takes a place in the queue
            // until it is acknowledged.
            TcpState::Closed | TcpState::BothClosed => queues_empty(now, 1),
        }
    }

    fn is_quiet(&self, now: &TcpConnection, last: Last) -> bool {
        let since = now.since_received.min(if now.sent == 0 {
            Duration::MAX
        } else {
            now.since_sent
        });
        // Opened in advance, as browsers do, and not used yet.
        if now.received == 0 {
            return since >= PATIENCE;
        }
        match last {
            Last::Asked => false,
            Last::Answered => since >= self.quiet,
            Last::Unclear => since >= self.quiet.max(PATIENCE),
        }
    }

    fn last(&self, now: &TcpConnection) -> Last {
        let before = self.seen.get(&now.inode);
        let grown = before.map(|seen| (now.received > seen.received, now.sent > seen.sent));
        match grown {
            Some((true, false)) => Last::Asked,
            Some((false, true)) => Last::Answered,
            Some((false, false)) => before.map_or(Last::Unclear, |seen| settle(seen.last, now)),
            Some((true, true)) | None => by_time(now),
        }
    }
}

/// What two looks have told stays; what was unclear may have become clear by a late acknowledgement.
fn settle(last: Last, now: &TcpConnection) -> Last {
    match last {
        Last::Asked | Last::Answered => last,
        Last::Unclear => by_time(now),
    }
}

fn by_time(now: &TcpConnection) -> Last {
    if now.sent == 0 || now.since_sent > now.since_received {
        return Last::Asked;
    }
    let acknowledged_since =
        now.state == TcpState::Open && now.since_acknowledged < now.since_received;
    if now.since_sent < now.since_received || acknowledged_since {
        Last::Answered
    } else {
        Last::Unclear
    }
}

fn queues_empty(now: &TcpConnection, end: u32) -> bool {
    now.unread == 0 && now.unsent <= end
}

#[cfg(test)]
mod tests {
    use super::*;

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
        IdleDetector::default().is_idle(now)
    }

    #[test]
    fn a_request_without_an_answer_is_never_idle() {
        assert!(
            !idle(&connection(80, 0, 60_000, 70_000)),
            "on a fresh connection"
        );
        assert!(
            !idle(&connection(160, 90, 60_000, 60_004)),
            "on one that was used before"
        );
    }

    #[test]
    fn an_answered_request_is_idle_after_a_quiet_moment() {
        assert!(!idle(&connection(80, 90, 96, 92)));
        assert!(!idle(&connection(80, 90, 200, 96)));
        assert!(idle(&connection(80, 90, 104, 100)));
    }

    #[test]
    fn within_one_tick_patience_decides() {
        assert!(!idle(&connection(80, 90, 2496, 2496)));
        assert!(idle(&connection(80, 90, 2500, 2500)));
    }

    #[test]
    fn a_later_acknowledgement_shows_that_an_answer_was_sent() {
        let answered = TcpConnection {
            since_acknowledged: Duration::from_millis(160),
            ..connection(80, 90, 200, 200)
        };
        assert!(idle(&answered));
        let half_closed = TcpConnection {
            state: TcpState::PeerClosed,
            ..answered
        };
        assert!(!idle(&half_closed), "the mark of the end acknowledges too");
    }

    #[test]
    fn two_looks_tell_what_one_cannot() {
        let mut history = IdleDetector::default();
        assert!(!history.is_idle(&connection(80, 90, 0, 0)));
        assert!(!history.is_idle(&connection(160, 90, 0, 0)), "asked again");
        assert!(
            !history.is_idle(&connection(160, 90, 60_000, 60_000)),
            "and still unanswered"
        );
        assert!(
            !history.is_idle(&connection(160, 180, 0, 0)),
            "answered just now"
        );
        assert!(history.is_idle(&connection(160, 180, 100, 100)));
    }

    #[test]
    fn an_exchange_between_two_looks_starts_afresh() {
        let mut history = IdleDetector::default();
        assert!(!history.is_idle(&connection(80, 0, 0, 5)));
        assert!(!history.is_idle(&connection(80, 90, 0, 0)));
        assert!(!history.is_idle(&connection(160, 180, 0, 0)));
        assert!(
            !history.is_idle(&connection(160, 180, 200, 200)),
            "the order is not known any more"
        );
    }

    #[test]
    fn what_is_queued_is_not_idle() {
        let idle_but = connection(80, 90, 5000, 4000);
        assert!(idle(&idle_but));
        assert!(!idle(&TcpConnection {
            unread: 1,
            ..idle_but.clone()
        }));
        assert!(!idle(&TcpConnection {
            unsent: 1,
            ..idle_but
        }));
    }

    #[test]
    fn a_connection_without_a_request_waits_for_patience() {
        assert!(!idle(&connection(0, 0, 2496, 2496)));
        assert!(idle(&connection(0, 0, 2500, 2500)));
        assert!(
            !idle(&connection(0, 20, 2600, 2496)),
            "greeted, and silent since"
        );
    }

    #[test]
    fn a_closed_end_is_idle_unless_something_is_unanswered() {
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
    fn what_the_program_closed_itself_is_idle_once_it_is_sent() {
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
