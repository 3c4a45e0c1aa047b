//! Checks that a generation listens, and that its processes are waiting for connections on each of its sockets.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{GenerationSockets, OnUnready, ReadyReason, UnreadyReason};
use crate::os::{Accepting, accepting};
use crate::socket::GenSockets;

/// How long to wait, after `READY=1`, for the program to start waiting for connections. After that, it counts as ready.
pub(super) const SOCKETS_TIMEOUT: Duration = Duration::from_secs(5);

/// If the system does not show whether a process is waiting on a socket, the process counts as waiting after this time.
const UNKNOWN_GRACE: Duration = Duration::from_secs(1);

/// How long to wait, after the generation has opened its first socket, for processes that wait on its datagram sockets,
/// and for the rest of the addresses of which it has opened a part.
const FIRST_SOCKET_GRACE: Duration = Duration::from_secs(1);

/// If connections are waiting for a program that opens no socket, and no other generation is live, the program is
/// assumed after this time to need no socket. The connections keep waiting.
const NO_SOCKET_GRACE: Duration = Duration::from_secs(10);

/// The shortest interval between checks. Tokio's timers have no finer resolution.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The longest interval between checks, unless they are expensive.
const MAX_INTERVAL: Duration = Duration::from_millis(25);

/// What the system shows about a socket, and when it first was [`Accepting::Unknown`].
#[derive(Clone, Copy)]
struct SocketState {
    accepting: Accepting,
    unknown_since: Option<Instant>,
}

impl SocketState {
    /// Returns the state after a check. A server that waits with a short timeout is often busy during a check, so
    /// [`Accepting::No`] does not reset the time.
    fn after(before: Option<&Self>, accepting: Accepting, now: Instant) -> Self {
        let first = (accepting == Accepting::Unknown).then_some(now);
        Self {
            accepting,
            unknown_since: before.and_then(|before| before.unknown_since).or(first),
        }
    }

    /// Whether the generation counts as waiting for connections on the socket.
    fn counts(self, now: Instant) -> bool {
        match self.accepting {
            Accepting::Yes => true,
            Accepting::No => false,
            Accepting::Unknown => self
                .unknown_since
                .is_some_and(|since| now - since >= UNKNOWN_GRACE),
        }
    }
}

impl GenerationSockets {
    /// Waits until the generation listens on every address of the previous one, and its processes are waiting for
    /// connections on each of its sockets. One second after it has opened its first socket, it no longer waits for
    /// processes on its datagram sockets, or for the rest of a partly opened address. `run_time`: how long a program
    /// must run without a socket to be ready; `None` if it must open one.
    ///
    /// Each socket must have a process waiting on it, all in the same check, so a worker that serves one socket and
    /// dies before the next worker starts does not count. A process that holds a socket without waiting on it never
    /// counts, because it may be a wrapper or may still be loading. There are two exceptions. A process that the system
    /// does not show (it uses io_uring, or belongs to another user) counts after a second. And where the system shows
    /// nothing at all, as on systems other than Linux, a second is enough.
    pub(super) async fn accepting(
        &mut self,
        run_time: Option<Duration>,
        on_unready: &mut OnUnready,
    ) -> ReadyReason {
        let start = Instant::now();
        let mut without_socket_since = start;
        // The lower of the last two costs is used, because a check may be interrupted on a busy machine.
        let mut last_cost = Duration::MAX;
        let mut first_socket = None;
        let mut known = HashMap::new();
        loop {
            let now = Instant::now();
            let mut state = (self.state)();
            let result = if has_no_socket(&state) {
                no_socket(&state, now - without_socket_since, run_time)
            } else {
                without_socket_since = now;
                let in_grace = now - *first_socket.get_or_insert(now) < FIRST_SOCKET_GRACE;
                if in_grace {
                    state.missing.append(&mut state.narrowed);
                }
                let sockets = [&state.inodes[..], &state.datagrams].concat();
                let Some(seen) = accepting(&(self.pids)(), &sockets) else {
                    sleep(UNKNOWN_GRACE).await;
                    return ReadyReason::Listening;
                };
                let update =
                    |(inode, seen)| (inode, SocketState::after(known.get(&inode), seen, now));
                known = sockets.into_iter().zip(seen).map(update).collect();
                check(&state, &known, now, in_grace)
            };
            match result {
                Ok(reason) => return reason,
                Err(reason) => on_unready(reason),
            }
            let cost = Instant::now() - now;
            sleep(interval(now - start, cost.min(last_cost))).await;
            last_cost = cost;
        }
    }

    /// Waits until the generation, which is otherwise ready, listens on every address of the previous one. If an
    /// address was missing, also waits up to [`SOCKETS_TIMEOUT`] until its processes are waiting for connections on its
    /// sockets.
    pub(super) async fn complete(&mut self, on_unready: &mut OnUnready) {
        let mut waited = false;
        while let Some(reason) = lack(&(self.state)(), true) {
            on_unready(reason);
            sleep(MAX_INTERVAL).await;
            waited = true;
        }
        if waited {
            let _ = timeout(SOCKETS_TIMEOUT, self.accepting(None, on_unready)).await;
        }
    }
}

pub(super) fn has_no_socket(state: &GenSockets) -> bool {
    state.inodes.is_empty() && state.datagrams.is_empty()
}

/// Returns the reason to wait for the missing addresses, if there are any.
fn lack(state: &GenSockets, otherwise_ready: bool) -> Option<UnreadyReason> {
    (!state.missing.is_empty()).then(|| UnreadyReason::Missing {
        missing: state.missing.clone(),
        addresses: state.addresses.clone(),
        otherwise_ready,
    })
}

fn no_socket(
    state: &GenSockets,
    running: Duration,
    run_time: Option<Duration>,
) -> Result<ReadyReason, UnreadyReason> {
    let (required, reason) = match lack(state, false) {
        None => (run_time, "it has not opened a socket".into()),
        Some(reason) if state.beside => (None, reason),
        Some(reason) => (run_time.and(Some(NO_SOCKET_GRACE)), reason),
    };
    match required.is_some_and(|required| running >= required) {
        true => Ok(ReadyReason::Running),
        false => Err(reason),
    }
}

fn check(
    state: &GenSockets,
    known: &HashMap<u64, SocketState>,
    now: Instant,
    in_grace: bool,
) -> Result<ReadyReason, UnreadyReason> {
    let counts = |inode: &u64| known[inode].counts(now);
    let mut waits = state.inodes.iter().position(|inode| !counts(inode));
    if waits.is_none() && in_grace && !state.datagrams.iter().all(counts) {
        waits = Some(state.inodes.len());
    }
    let reason = lack(state, waits.is_none());
    if let Some(reason) = reason.or(waits.map(UnreadyReason::NotAccepting)) {
        return Err(reason);
    }
    let is_seen = |inode: &u64| known[inode].accepting == Accepting::Yes;
    match state.inodes.iter().all(is_seen) {
        true => Ok(ReadyReason::Accepting),
        false => Ok(ReadyReason::Listening),
    }
}

/// The interval until the next check, given the time since the start and the cost of a check.
///
/// A delay of 1 ms matters after 20 ms but not after 2 s, so the interval is a fiftieth of the elapsed time, within
/// limits. In addition, the checks never use more than a tenth of a core, however large the process tree is.
fn interval(elapsed: Duration, cost: Duration) -> Duration {
    (elapsed / 50)
        .clamp(MIN_INTERVAL, MAX_INTERVAL)
        .max(cost * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_an_unknown_state_counts_as_waiting_after_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let next = |before: &SocketState, seen, ms| SocketState::after(Some(before), seen, at(ms));
        let first = SocketState::after(None, Accepting::Unknown, at(0));
        let unknown = next(&first, Accepting::Unknown, 900);
        assert!(!unknown.counts(at(999)) && unknown.counts(at(1000)));
        let busy = next(&unknown, Accepting::No, 950);
        assert!(!busy.counts(at(9000)));
        let unknown_again = next(&busy, Accepting::Unknown, 960);
        assert!(!unknown_again.counts(at(999)) && unknown_again.counts(at(1000)));
        assert!(next(&unknown, Accepting::Yes, 1).counts(at(1)));
    }

    #[test]
    fn checks_are_frequent_at_first_and_never_expensive() {
        let ms = Duration::from_millis;
        assert_eq!(interval(ms(0), ms(0)), ms(1));
        assert_eq!(interval(ms(500), ms(0)), ms(10));
        assert_eq!(interval(ms(60_000), ms(0)), ms(25));
        assert_eq!(interval(ms(0), ms(2)), ms(18));
    }
}
