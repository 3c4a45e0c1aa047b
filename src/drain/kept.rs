//! Keeps a generation's idle connections open beyond its end, so that no request crosses the program's close.
//!
//! 1. While the generation drains, hotrun duplicates the connections that are in use and hides new requests on them
//!    ([`hide_requests`]): a client that has its response and sends the next request waits. So the generation becomes
//!    idle even if its clients never pause. If it does not within [`LONGEST_HIDDEN`], or has a slow request in progress,
//!    the requests are shown again for a while.
//! 2. Just before the stop signal, [`KeptConnections::seal`] keeps the connections on which nothing is under way.
//! 3. When the program closes one of them, the client does not notice, because hotrun's duplicate is open. Once no process
//!    of the generation holds the connection any longer, [`verdict`] decides by the kernel's counters whether the
//!    connection can be carried to the live generation ([`carry_left`]).
//!
//! A program that handles the stop signal may call `shutdown(2)` before it closes a connection, as hyper does. The client
//! would notice that, and a hidden request would be lost. So hotrun makes the program's `shutdown` of a sealed connection do
//! nothing ([`ignore_shutdown`]). Where it may not, the requests of programs that handle the signal are not hidden.
//!
//! hotrun reads from a connection only after the program has left it, and only what the program has not read. It carries
//! the connection only if the program has neither read nor sent anything since it was sealed. So no request is handled
//! twice. The kernel's counters do not show where a response ends: if a client sends a request before it has the whole
//! response to the previous one (pipelining), and the program ends within that response, the rest is missing.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::SockRef;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::os::seccomp::{descriptor_of, ignore_shutdown};
use crate::os::socket_holders::sockets_of;
use crate::os::{
    TcpConnection, TcpState, dropped, hide_requests, inode, show_requests, tcp_connection,
};

/// How long requests are hidden at most: before the stop signal, and again after it.
const LONGEST_HIDDEN: Duration = Duration::from_millis(500);
const LONGEST_HIDDEN_AT_END: Duration = Duration::from_secs(1);
/// How long requests are then shown. Doubles each time.
const SHOWN: Duration = Duration::from_secs(1);
/// A request without a response for this long counts as slow.
const SLOW: Duration = Duration::from_millis(250);
/// How many connections of one generation are kept at most.
const MOST: usize = 256;
/// A client that has sent nothing for this long does not notice a close too late: it sees the end of the connection before
/// it sends its next request. Nor should it wait, because the connection may be a WebSocket or an event stream, whose
/// client reconnects when it ends.
const RECENT: Duration = Duration::from_secs(2);
/// How many searches in a row must not find a connection, because it may be on its way from one process to another.
const SEARCHES: u32 = 2;
/// The shortest and longest pause between two searches.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(25));
/// How long a hidden request may take to arrive again.
const RETRANSMISSION: Duration = Duration::from_secs(5);

/// The connections of one generation that hotrun has duplicated.
pub struct KeptConnections {
    state: Mutex<State>,
    ignores_shutdown: Arc<AtomicBool>,
    /// Whether hotrun intercepts the program's system calls.
    intercepted: bool,
}

/// A store that never keeps a connection.
impl Default for KeptConnections {
    fn default() -> Self {
        Self::new(false, &Arc::default(), false)
    }
}

#[derive(Default)]
struct State {
    /// Whether requests are hidden.
    hides: bool,
    /// Whether the program handles the stop signal.
    handles_signal: bool,
    /// Whether connections may be added: before the generation is stopped or goes live again.
    open: bool,
    /// By inode.
    hidden: HashMap<u64, Kept>,
    /// When the first of them was hidden.
    since: Option<Instant>,
    /// When requests may be hidden next, and for how long they were shown last.
    next: Option<(Instant, Duration)>,
    /// Whether the generation has become idle.
    ready: bool,
    /// The inodes of the sealed connections.
    sealed: HashSet<u64>,
}

/// A connection that hotrun has duplicated. Dropping it shows its requests to the program and closes the duplicate.
pub struct Kept {
    socket: OwnedFd,
    /// What [`dropped`] returned when the requests were hidden.
    dropped: u32,
    /// The state of the connection when it was last found to be idle.
    idle: Option<TcpConnection>,
    /// How often in a row no process held it.
    unheld: u32,
}

impl Kept {
    fn new(pid: i32, fd: i32, expected: u64, hides: bool) -> Option<Self> {
        let socket = descriptor_of(pid, fd).ok()?;
        let same = inode(&socket).is_ok_and(|found| found == expected);
        let dropped = dropped(&socket).ok().filter(|_| same)?;
        if hides {
            hide_requests(&socket).ok()?;
        }
        Some(Self {
            socket,
            dropped,
            idle: None,
            unheld: 0,
        })
    }

    /// Whether the kernel has dropped a request of the client. The client must have the response to the previous one.
    fn wants_next(&self) -> bool {
        dropped(&self.socket).is_ok_and(|dropped| dropped != self.dropped)
    }

    fn port(&self) -> Option<u16> {
        let address = SockRef::from(&self.socket).local_addr().ok()?;
        Some(address.as_socket()?.port())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = show_requests(&self.socket);
    }
}

impl KeptConnections {
    /// Creates the store. Unless `enabled`, it never keeps a connection. `ignores_shutdown`: whether a program's
    /// `shutdown(2)` can be made to do nothing. All generations share it, and it becomes false when that fails for good.
    /// `intercepted`: whether hotrun intercepts the program's system calls.
    pub fn new(enabled: bool, ignores_shutdown: &Arc<AtomicBool>, intercepted: bool) -> Self {
        let state = State {
            open: enabled,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            ignores_shutdown: ignores_shutdown.clone(),
            intercepted,
        }
    }

    /// Sets whether the program handles the stop signal.
    pub fn set_handles_signal(&self, handles_signal: bool) {
        let mut state = self.state();
        state.handles_signal = handles_signal;
        state.hides = !handles_signal || self.ignores_shutdown.load(Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hides requests on the connections of these processes that are in use, or shows them if it is time to.
    pub(super) fn hide(&self, connections: &[TcpConnection], slow: bool, pids: &[i32]) {
        let (mut state, now) = (self.state(), Instant::now());
        let expired = state
            .since
            .is_some_and(|since| now - since > LONGEST_HIDDEN);
        let slow = slow && state.hides;
        if (expired && state.hides || slow) && !state.hidden.is_empty() {
            let shown = state.next.map_or(SHOWN, |(_, shown)| shown * 2);
            state.next = Some((now + shown, shown));
            state.since = None;
            state.hidden.clear();
        }
        let early = state.next.is_some_and(|(at, _)| now < at);
        if !state.open || slow || early {
            return;
        }
        let found: HashMap<u64, (i32, i32)> = pids.iter().flat_map(|pid| holding(*pid)).collect();
        // The program has closed the others, whose clients wait for the end of the connection.
        state.hidden.retain(|inode, _| found.contains_key(inode));
        for one in connections.iter().filter(|one| is_in_use(one)) {
            if let Some((pid, fd)) = found.get(&one.inode)
                && state.hidden.len() < MOST
                && !state.hidden.contains_key(&one.inode)
                && let Some(kept) = Kept::new(*pid, *fd, one.inode, state.hides)
            {
                state.since.get_or_insert(now);
                state.hidden.insert(one.inode, kept);
            }
        }
    }

    /// Whether the client of this connection has sent a request that is hidden.
    pub(super) fn wants_next(&self, one: &TcpConnection) -> bool {
        let state = self.state();
        state.hidden.get(&one.inode).is_some_and(Kept::wants_next)
    }

    /// Records whether nothing is under way on this connection.
    pub(super) fn set_idle(&self, one: &TcpConnection, idle: bool) {
        if let Some(kept) = self.state().hidden.get_mut(&one.inode) {
            kept.idle = idle.then(|| one.clone());
        }
    }

    /// Records that the generation has become idle.
    pub(super) fn set_ready(&self) {
        self.state().ready = true;
    }

    /// Whether the connections can be sealed: the generation has become idle, or none can be kept.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.state();
        state.ready || !state.open
    }

    pub(super) fn is_sealed(&self, inode: u64) -> bool {
        self.state().sealed.contains(&inode)
    }

    /// Shows all requests to the program. Until they are hidden again, no connection can be kept.
    pub fn show(&self) {
        let mut state = self.state();
        *state = State {
            open: state.open,
            hides: state.hides,
            handles_signal: state.handles_signal,
            ..State::default()
        };
    }

    /// Shows all requests to the program, and keeps no connection from now on.
    pub fn close(&self) {
        drop(self.seal(&[]));
    }

    /// Returns the connections on which nothing is under way, because the generation, which has these processes, is about to
    /// be stopped. Shows the requests on all others. Keeps no further connection. May block: for less than a millisecond for
    /// each process, or up to 50 ms if none of its threads sleeps.
    pub fn seal(&self, pids: &[i32]) -> Vec<Kept> {
        let mut state = self.state();
        state.open = false;
        let mut hidden = std::mem::take(&mut state.hidden);
        hidden.retain(|_, kept| {
            let idle = kept.idle.as_ref().and_then(|idle| {
                let now = tcp_connection(&kept.socket, idle).ok()?;
                is_untouched(idle, &now).then_some(now)
            });
            kept.idle = idle;
            kept.idle.is_some()
        });
        if state.hides && state.handles_signal {
            self.ignore_shutdowns(&mut hidden, pids);
        }
        state.sealed.extend(hidden.keys());
        hidden.into_values().collect()
    }

    /// Makes `shutdown(2)` of these connections do nothing in these processes. Where that fails, gives the connections up.
    fn ignore_shutdowns(&self, connections: &mut HashMap<u64, Kept>, pids: &[i32]) {
        for pid in pids {
            let held = holding(*pid).filter(|(inode, _)| connections.contains_key(inode));
            let (inodes, descriptors): (Vec<u64>, Vec<i32>) =
                held.map(|(inode, (_, fd))| (inode, fd)).unzip();
            if descriptors.is_empty() {
                continue;
            }
            let Err(error) = ignore_shutdown(*pid, &descriptors, self.intercepted) else {
                continue;
            };
            match error.raw_os_error().map(Errno::from_raw) {
                // The process has ended in the meantime.
                Some(Errno::ESRCH | Errno::ENOENT) => continue,
                // The next generation cannot be traced either.
                Some(Errno::EPERM) => self.ignores_shutdown.store(false, Ordering::Relaxed),
                Some(_) | None => {}
            }
            for inode in inodes {
                connections.remove(&inode);
            }
        }
    }
}

fn holding(pid: i32) -> impl Iterator<Item = (u64, (i32, i32))> {
    let sockets = sockets_of(pid).unwrap_or_default();
    sockets
        .into_iter()
        .map(move |(fd, inode)| (inode, (pid, fd)))
}

fn is_in_use(one: &TcpConnection) -> bool {
    let quiet = one.since_received.min(one.since_sent);
    one.state == TcpState::Open && one.received > 0 && quiet < RECENT
}

/// Whether a client has been waiting for its response for too long to hide the requests of others in the meantime.
pub(super) fn is_slow(one: &TcpConnection) -> bool {
    one.since_received >= SLOW
}

/// Whether the program has neither read nor sent anything in the meantime.
fn is_untouched(before: &TcpConnection, now: &TcpConnection) -> bool {
    let read = |one: &TcpConnection| one.received.saturating_sub(one.unread.into());
    now.state == TcpState::Open && now.sent == before.sent && read(now) == read(before)
}

/// Returns how long to wait for the client's next request on a connection that its program has left, or `None` to close it
/// at once. `sealed`: its state when it was sealed. `wants_next`: whether a request was hidden. `http`: whether requests
/// were hidden on other connections to the same port, which shows that its clients use HTTP/1.
fn verdict(
    sealed: &TcpConnection,
    now: &TcpConnection,
    wants_next: bool,
    http: bool,
) -> Option<Duration> {
    if !is_untouched(sealed, now) {
        return None;
    }
    if wants_next || now.unread > 0 {
        return Some(RETRANSMISSION);
    }
    (http && now.since_received < RECENT).then_some(RECENT)
}

/// Waits until the program has left each of these connections, and passes to `carry` those that can be carried to the live
/// generation, with the time to wait for the client's next request. `pids` returns the generation's processes. Sets
/// `ignores_shutdown` to false if the program shuts a connection down nevertheless, for example through an io_uring.
pub async fn carry_left(
    mut kept: Vec<Kept>,
    ignores_shutdown: &AtomicBool,
    pids: impl Fn() -> Vec<i32>,
    carry: impl Fn(OwnedFd, Duration),
) {
    let began = Instant::now();
    let mut http: HashSet<Option<u16>> = HashSet::new();
    while !kept.is_empty() {
        let pids = pids();
        let search = move || {
            let searched = pids
                .iter()
                .map(|pid| sockets_of(*pid))
                .collect::<Result<Vec<_>, _>>();
            // A process that we may not inspect may hold any of the connections.
            searched
                .ok()
                .map(|found| found.iter().flat_map(HashMap::values).copied().collect())
        };
        let held: Option<HashSet<u64>> = spawn_blocking(search).await.ok().flatten();
        let wanting = kept.iter().filter(|one| one.wants_next());
        http.extend(wanting.map(Kept::port));
        for mut one in std::mem::take(&mut kept) {
            let known = held.as_ref().zip(inode(&one.socket).ok());
            let left = known.is_some_and(|(held, inode)| !held.contains(&inode));
            one.unheld = if left { one.unheld + 1 } else { 0 };
            if let Some(Ok(now)) = one.idle.as_ref().map(|at| tcp_connection(&one.socket, at))
                && matches!(now.state, TcpState::Closed | TcpState::BothClosed)
            {
                ignores_shutdown.store(false, Ordering::Relaxed);
            }
            match one.unheld >= SEARCHES {
                true => decide(one, &http, &carry),
                false => kept.push(one),
            }
        }
        let passed = began.elapsed();
        if passed >= LONGEST_HIDDEN_AT_END {
            kept.iter().for_each(|one| drop(show_requests(&one.socket)));
        }
        sleep((passed / 10).clamp(PAUSE.0, PAUSE.1)).await;
    }
}

fn decide(one: Kept, http: &HashSet<Option<u16>>, carry: impl Fn(OwnedFd, Duration)) {
    let Some(sealed) = &one.idle else { return };
    let Ok(now) = tcp_connection(&one.socket, sealed) else {
        return;
    };
    let wait = verdict(sealed, &now, one.wants_next(), http.contains(&one.port()));
    if let Some((wait, socket)) = wait.zip(one.socket.try_clone().ok()) {
        drop(one);
        carry(socket, wait);
    }
}

#[cfg(test)]
mod tests;
