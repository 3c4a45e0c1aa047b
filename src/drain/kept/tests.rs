//! Tests the decisions in virtual time.

mod real;

use std::collections::VecDeque;

use super::*;
use crate::drain::carry::{RETRANSMISSION, verdict};
use crate::drain::idle::{Exchange, IdleDetector};
use crate::drain::kept::connection::{Hides, may_hide_all};

fn connection(received: u64, sent: u64, since_received: u64) -> TcpConnection {
    TcpConnection {
        inode: 1,
        state: TcpState::Open,
        peer: ([127, 0, 0, 1], 1).into(),
        unread: 0,
        unsent: 0,
        received,
        sent,
        since_sent: Duration::from_millis(since_received),
        since_received: Duration::from_millis(since_received),
        since_acknowledged: Duration::ZERO,
    }
}

#[test]
fn a_connection_is_carried_only_if_the_program_has_not_touched_it() {
    let sealed = connection(80, 90, 100);
    let unread = |received, unread| TcpConnection {
        unread,
        ..connection(received, 90, 100)
    };
    let closed = TcpConnection {
        state: TcpState::PeerClosed,
        ..connection(80, 90, 100)
    };
    let cases = [
        (connection(80, 90, 100), true, false, Some(RETRANSMISSION)),
        (unread(160, 80), false, false, Some(RETRANSMISSION)),
        (unread(160, 0), true, true, None),
        (unread(160, 40), true, true, None),
        (connection(80, 97, 100), true, true, None),
        (closed, true, true, None),
        (connection(80, 90, 100), false, true, Some(RECENT)),
        (connection(80, 90, 100), false, false, None),
        (connection(80, 90, 2000), false, true, None),
    ];
    for (now, wants_next, http, expected) in cases {
        let decided = verdict(&sealed, &now, wants_next, http);
        assert_eq!(decided, expected, "{now:?}, {wants_next}, {http}");
    }
}

/// The number of a request, and which of its two segments this is.
type Segment = (u64, u64);

const SEGMENT: u64 = 40;
const TICK: u64 = 4;
const DELAYED_ACKNOWLEDGEMENT: u64 = 40;

/// The length of each part of a response, except an interim one.
const PART: u64 = 40;

/// A client that never sends a request before it has the whole response to the previous one, a server, and the kernel
/// between them. A request has two segments. In every other request, the second one begins like a request, and the client
/// sends it soon after an interim response. In every fourth one, it looks like the head of such a request.
#[derive(Debug)]
struct World {
    now: u64,
    /// The client's current request, and how many of its segments it has sent.
    request: u64,
    segments_sent: u64,
    /// What was dropped, or waits for what was dropped.
    lost: VecDeque<Segment>,
    queue: VecDeque<Segment>,
    /// The segments that the program has read.
    read: Vec<Segment>,
    /// How many responses the program has begun and finished.
    begun: u64,
    finished: u64,
    received: u64,
    sent: u64,
    /// The last request to which the server has sent an interim response.
    interim: u64,
    last_received: u64,
    last_sent: u64,
    last_acknowledged: u64,
    acknowledged: u64,
    hides: Hides,
    dropped: u32,
    has_left: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: 0,
            request: 0,
            segments_sent: 0,
            lost: VecDeque::new(),
            queue: VecDeque::new(),
            read: Vec::new(),
            begun: 0,
            finished: 0,
            received: 0,
            sent: 0,
            interim: 0,
            last_received: 0,
            last_sent: 0,
            last_acknowledged: 0,
            acknowledged: 0,
            hides: Hides::Nothing,
            dropped: 0,
            has_left: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    ClientSends,
    ServerReads,
    /// Sends a part of the response, which may be the last.
    ServerResponds(bool),
    ServerSendsInterim,
    Poll,
    Hide(bool),
    /// Seals the connection if it is idle.
    Stop,
    Leave,
}

impl World {
    fn seen(&self) -> TcpConnection {
        let age = |at: u64| Duration::from_millis((self.now / TICK - at / TICK) * TICK);
        TcpConnection {
            unread: self.queue.len() as u32 * SEGMENT as u32,
            since_sent: age(self.last_sent),
            since_received: age(self.last_received),
            since_acknowledged: age(self.last_acknowledged),
            unsent: (self.sent - self.acknowledged) as u32,
            ..connection(self.received, self.sent, 0)
        }
    }

    fn client_sends(&mut self) {
        if self.segments_sent == 2 {
            if self.finished < self.request {
                return;
            }
            self.segments_sent = 0;
        }
        if self.segments_sent == 0 {
            self.request += 1;
        }
        let expects = self.request.is_multiple_of(2);
        if expects && self.segments_sent == 1 && self.interim < self.request {
            return;
        }
        let segment = (self.request, self.segments_sent);
        self.segments_sent += 1;
        let drops = match self.hides {
            Hides::Nothing => false,
            Hides::Heads { .. } => expects && (segment.1 == 0 || self.request.is_multiple_of(4)),
            Hides::Requests { .. } => segment.1 == 0 || expects,
        };
        if drops {
            self.dropped += 1;
            self.lost.push_back(segment);
        } else if self.lost.is_empty() {
            self.arrive(segment);
        } else {
            self.lost.push_back(segment);
        }
    }

    fn arrive(&mut self, segment: Segment) {
        self.queue.push_back(segment);
        self.received += SEGMENT;
        self.last_received = self.now;
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        (self.acknowledged, self.last_acknowledged) = (self.sent, self.now);
    }

    fn show(&mut self) {
        self.hides = Hides::Nothing;
        self.dropped = 0;
        let lost = std::mem::take(&mut self.lost);
        lost.into_iter().for_each(|one| self.arrive(one));
    }

    fn hide_heads(&mut self) {
        if matches!(self.hides, Hides::Nothing) {
            self.hides = Hides::Heads {
                received: self.received,
            };
        }
    }

    /// As [`Kept::hide`] and [`KeptConnections::hide`] do.
    fn hide_all(&mut self, detector: &mut IdleDetector) {
        let now = self.seen();
        let exchange = detector.exchange(&now);
        match self.hides {
            Hides::Heads { received } => {
                let unclear = self.dropped > 0 && now.received == received;
                match !unclear && may_hide_all(received, &now, exchange) {
                    true => {
                        self.hides = Hides::Requests {
                            sent: now.sent,
                            exchange,
                        };
                    }
                    false if self.dropped > 0 => self.show(),
                    false => {}
                }
            }
            Hides::Requests { .. } if self.hidden() == Some(Hidden::Unclear) => self.show(),
            Hides::Requests { .. } | Hides::Nothing => {}
        }
    }

    fn hidden(&self) -> Option<Hidden> {
        self.hides.hidden(self.sent).filter(|_| self.dropped > 0)
    }

    fn server_responds(&mut self, last: bool) {
        // It has read a whole request, and answers it.
        if self.read.last() == Some(&(self.finished + 1, 1)) {
            self.begun = self.finished + 1;
            self.finished += u64::from(last);
            self.sent += PART;
            self.last_sent = self.now;
        }
    }

    fn server_sends_interim(&mut self) {
        let next = self.finished + 1;
        if self.read.last() == Some(&(next, 0)) && self.interim < next {
            self.interim = next;
            self.sent += 25;
            self.last_sent = self.now;
        }
    }

    fn passes(&mut self, ms: u64) {
        let late = self.now + ms > self.last_sent + 50;
        if late && self.segments_sent == 1 && self.interim == self.request {
            self.client_sends();
        }
        self.now += ms;
        if self.acknowledged < self.sent && self.now >= self.last_sent + DELAYED_ACKNOWLEDGEMENT {
            self.acknowledge();
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.passes(ms),
            Step::ServerSendsInterim => self.server_sends_interim(),
            Step::ClientSends => self.client_sends(),
            Step::ServerReads => self.read.extend(self.queue.pop_front()),
            Step::ServerResponds(last) => self.server_responds(last),
            Step::Hide(true) => self.hide_heads(),
            Step::Hide(false) => self.show(),
            Step::Leave => self.has_left = true,
            Step::Poll | Step::Stop => {}
        }
    }
}

/// Steps chosen by a linear congruential generator (Knuth's MMIX).
fn steps(seed: u64) -> Vec<Step> {
    let mut state = seed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let step = |_| match random(34) {
        0..2 => Step::Pass(random(400)),
        2..5 => Step::Pass(1),
        5..12 => Step::ClientSends,
        12..18 => Step::ServerReads,
        18..24 => Step::ServerResponds(random(2) == 0),
        24..29 => Step::Poll,
        29 => Step::Hide(random(4) > 0),
        30 => Step::Stop,
        31..33 => Step::ServerSendsInterim,
        _ => Step::Leave,
    };
    let mut steps: Vec<Step> = (0..60).map(step).collect();
    // Otherwise few programs would be stopped before they leave.
    steps.retain(|step| !matches!(step, Step::Leave));
    let end = steps.len() - random(20) as usize;
    steps.insert(end, Step::Leave);
    steps
}

/// Plays the steps until the program has left a sealed connection. Returns the segments that reach the successor, if the
/// connection is carried.
fn play(steps: &[Step], world: &mut World) -> Option<Vec<Segment>> {
    let mut detector = IdleDetector::new(Duration::from_millis(100), Duration::from_secs(10));
    let (mut idle, mut sealed) = (None, None);
    for step in steps {
        world.perform(*step);
        if matches!(step, Step::Poll) && sealed.is_none() {
            world.hide_all(&mut detector);
            let seen = world.seen();
            idle = detector.is_idle(&seen, world.hidden()).then_some(seen);
        }
        if matches!(step, Step::Hide(_)) {
            idle = None;
        }
        if matches!(step, Step::Stop) && sealed.is_none() {
            let now = world.seen();
            sealed = idle
                .take()
                .filter(|idle| is_untouched(idle, &now))
                .map(|_| now);
        }
        if world.has_left {
            let wait = verdict(&sealed?, &world.seen(), world.dropped > 0, true);
            world.show();
            return wait.map(|_| world.queue.drain(..).collect());
        }
    }
    None
}

#[test]
fn no_request_is_handled_twice_or_gets_the_response_to_another() {
    let mut count = 0;
    for seed in 0..30_000 {
        let mut world = World::default();
        let Some(carried) = play(&steps(seed), &mut world) else {
            continue;
        };
        // The successor gets one request from its beginning, and the client has the responses to all others.
        let carries = |segment: &Segment| segment.0 == world.request;
        assert!(
            carried
                .first()
                .is_none_or(|first| *first == (world.request, 0)),
            "{seed}"
        );
        assert!(carried.iter().all(carries), "seed {seed}");
        if !carried.is_empty() {
            count += 1;
            assert!(!world.read.iter().any(carries), "seed {seed}");
            let before = world.request - 1;
            assert_eq!(
                (world.begun, world.finished),
                (before, before),
                "seed {seed}"
            );
        }
    }
    assert!(count > 300, "carried: {count}");
}

#[test]
fn a_client_that_never_pauses_is_carried() {
    use Step::{ClientSends, Hide, Leave, Pass, Poll, ServerReads, ServerResponds, Stop};
    let steps = [
        Hide(true),
        ClientSends,
        ClientSends,
        ServerReads,
        ServerReads,
        ServerResponds(true),
        Poll,
        ClientSends,
        Pass(10),
        Poll,
        Poll,
        Stop,
        Pass(20),
        Leave,
    ];
    let mut world = World::default();
    let carried = play(&steps, &mut world);
    assert_eq!(carried, Some(vec![(2, 0)]));
}
