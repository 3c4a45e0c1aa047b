//! Keeps a generation's idle connections open beyond its end, so that no request crosses the program's close.
//!
//! 1. While the generation drains, hotrun duplicates the connections that are in use and hides new requests on them
//!    ([`Kept`]): a client that has its response and sends the next request waits. So the generation becomes idle even if its
//!    clients never pause. If it does not within [`LONGEST_HIDDEN`], or has a slow request in progress, the requests are
//!    shown again for a while. The next attempts last longer if requests take longer: slow requests that follow one another
//!    on several connections would otherwise never end.
//! 2. Just before the stop signal, [`KeptConnections::seal`] keeps the connections on which nothing is under way.
//! 3. When the program closes one of them, the client does not notice, because hotrun's duplicate is open. Once no process
//!    of the generation holds the connection any longer, [`carry`](super::carry) decides by the kernel's counters whether the
//!    connection can be carried to the live generation.
//!
//! A program that handles the stop signal may call `shutdown(2)` before it closes a connection, as hyper does. The client
//! would notice that, and a hidden request would be lost. So hotrun makes the program's `shutdown` of a sealed connection do
//! nothing ([`ignore_shutdown`]). Where it may not, the requests of programs that handle the signal are not hidden.
//!
//! hotrun reads from a connection only after the program has left it, and only what the program has not read. It carries
//! the connection only if the program has neither read nor sent anything since it was sealed. So no request is handled
//! twice. The kernel's counters do not show where a response ends: if a client sends a request before it has the whole
//! response to the previous one (pipelining), and the program ends within that response, the rest is missing.

mod connection;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use self::connection::AskExchange;
pub use self::connection::Kept;
pub(super) use self::connection::is_untouched;
use super::idle::Hidden;
use crate::os::seccomp::ignore_shutdown;
use crate::os::socket_holders::sockets_of;
use crate::os::{TcpConnection, TcpState, tcp_connection};

/// How long requests are hidden at most before the stop signal. Later attempts last longer by twice the longest
/// time that a client has had to wait for a response, up to this limit.
const LONGEST_HIDDEN: Duration = Duration::from_millis(750);
const LONGEST_HIDDEN_LATER: Duration = Duration::from_secs(3);
/// How long requests are then shown. Doubles each time.
const SHOWN: Duration = Duration::from_secs(1);
/// How many searches in a row must not find a connection, because it may be on its way from one process to another.
pub(super) const SEARCHES: u32 = 2;
/// A request without a response for this long counts as slow.
const SLOW: Duration = Duration::from_millis(250);
/// How many connections of one generation are kept at most.
const MOST: usize = 1024;
/// A client that has sent nothing for this long sees the end of the connection before it sends its next request. Nor should
/// it wait, because the connection may be a WebSocket or an event stream, whose client reconnects when it ends.
pub(super) const RECENT: Duration = Duration::from_secs(2);

/// The connections of one generation that hotrun has duplicated.
pub struct KeptConnections {
    state: Mutex<State>,
    ignores_shutdown: Arc<AtomicBool>,
    /// Whether hotrun intercepts the program's system calls.
    intercepted: bool,
}

/// Never keeps a connection.
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
    /// Whether the program may handle the stop signal.
    may_handle_signal: bool,
    /// Whether the program is about to be stopped, whatever is under way.
    at_end: bool,
    /// Whether connections may be added: before the generation is stopped or goes live again.
    open: bool,
    /// By inode.
    hidden: HashMap<u64, Kept>,
    /// By inode, how many bytes had arrived when a segment that may have been dropped was to be shown. `None`: unknown. Until
    /// it arrives, the connection is quiet in the middle of a request.
    shown: HashMap<u64, Option<u64>>,
    /// When the first of them was hidden.
    since: Option<Instant>,
    /// The longest time that a client had been waiting for its response at a poll, less than [`LONGEST_HIDDEN_LATER`].
    longest_wait: Duration,
    /// When the program will be asked to stop at the latest.
    until: Option<Instant>,
    /// When requests may be hidden next, and for how long they were shown last.
    next: Option<(Instant, Duration)>,
    /// Whether the generation has become idle.
    ready: bool,
    /// By inode.
    sealed: HashSet<u64>,
    /// Why connections were given up, although nothing was under way on them.
    refusal: Option<io::Error>,
}

impl State {
    /// Shows what was dropped on connections where it may be a part of the request that is in progress.
    fn show_unclear(&mut self, connections: &[TcpConnection]) {
        for one in connections {
            let kept = self.hidden.get(&one.inode);
            if kept.is_some_and(|kept| kept.hidden(one) == Some(Hidden::Unclear)) {
                self.hidden.remove(&one.inode);
                self.shown.insert(one.inode, Some(one.received));
            }
        }
    }

    fn show_all(&mut self) {
        for (inode, kept) in std::mem::take(&mut self.hidden) {
            self.show(inode, &kept);
        }
        self.since = None;
    }

    /// Shows what has been hidden so far, until `shown` has passed. A connection without a hidden request stays as it is: if its
    /// client's next request came just then, the others would have to become idle once more.
    fn end_attempt(&mut self, now: Instant) {
        let shown = self.next.map_or(SHOWN, |(_, shown)| shown * 2);
        self.next = Some((now + shown, shown));
        self.since = None;
        let hidden = std::mem::take(&mut self.hidden);
        let (dropped, others) = hidden
            .into_iter()
            .partition(|(_, kept)| kept.has_dropped() && kept.unheld == 0);
        self.hidden = others;
        dropped
            .iter()
            .for_each(|(inode, kept)| self.show(*inode, kept));
    }

    /// Whether it is too early to hide requests again. It is not if a client is waiting meanwhile.
    fn is_early(&self, now: Instant) -> bool {
        let Some((at, shown)) = self.next.filter(|_| !self.at_end) else {
            return false;
        };
        let waits = now + shown >= at + SHOWN && self.hidden.values().any(Kept::has_dropped);
        now < at && !waits
    }

    /// Records that this connection is about to be dropped, so that its requests are shown.
    fn show(&mut self, inode: u64, kept: &Kept) {
        if kept.has_dropped() {
            self.shown.insert(inode, None);
        }
    }

    fn take_or_duplicate(&mut self, pid: i32, fd: i32, one: &TcpConnection) -> Option<Kept> {
        let room = self.hidden.len() < MOST;
        let kept = self.hidden.remove(&one.inode);
        kept.or_else(|| Kept::new(pid, fd, one).filter(|_| room))
    }

    fn awaits_shown(&mut self, one: &TcpConnection) -> bool {
        let before = self.shown.get_mut(&one.inode);
        before.is_some_and(|before| one.received == *before.get_or_insert(one.received))
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

    /// Sets whether the program certainly handles the stop signal, and whether it may do so, which includes that.
    pub fn set_handles_signal(&self, handles_signal: bool, may_handle_signal: bool) {
        let mut state = self.state();
        state.handles_signal = handles_signal;
        state.may_handle_signal = may_handle_signal;
        state.hides = !handles_signal || self.ignores_shutdown.load(Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hides requests on the connections of these processes that are in use, where possible, or shows them if it is time to.
    /// `longest_wait`: the longest time that a client has been waiting for its response.
    pub(super) fn hide(
        &self,
        connections: &[TcpConnection],
        exchange: &mut AskExchange,
        longest_wait: Duration,
        pids: &[i32],
    ) {
        let (mut state, now) = (self.state(), Instant::now());
        // A client that waits for longer may wait for ever, for example on a WebSocket.
        if longest_wait < LONGEST_HIDDEN_LATER {
            state.longest_wait = state.longest_wait.max(longest_wait);
        }
        let longest = match state.next {
            None => LONGEST_HIDDEN,
            Some(_) => (LONGEST_HIDDEN + state.longest_wait * 2).min(LONGEST_HIDDEN_LATER),
        };
        let slow = longest_wait >= SLOW;
        let expired = state.since.is_some_and(|since| now - since > longest);
        // Otherwise, the program may not have the time to respond to requests that are shown.
        let in_time = |until: Instant| now + state.longest_wait + SHOWN < until;
        let expired = expired && state.hides && state.until.is_none_or(in_time);
        let slow = slow && state.hides && state.next.is_none() && !state.at_end;
        if expired || slow {
            state.end_attempt(now);
        }
        state.show_unclear(connections);
        if !state.open || slow || state.is_early(now) {
            return;
        }
        let found: HashMap<u64, (i32, i32)> = pids.iter().flat_map(|pid| holding(*pid)).collect();
        state.hidden.retain(|inode, kept| {
            let held = found.contains_key(inode);
            if held {
                kept.unheld = 0;
            }
            held || kept.leave()
        });
        for one in connections.iter().filter(|one| is_in_use(one)) {
            if let Some((pid, fd)) = found.get(&one.inode)
                && !state.awaits_shown(one)
                && let Some(mut kept) = state.take_or_duplicate(*pid, *fd, one)
            {
                match !state.hides || kept.hide(one, exchange) {
                    true => {
                        state.since.get_or_insert(now);
                        state.hidden.insert(one.inode, kept);
                    }
                    false => state.show(one.inode, &kept),
                }
            }
        }
    }

    /// What the client of this connection has sent that is hidden, or was until a moment ago and has not arrived yet.
    pub(super) fn hidden(&self, one: &TcpConnection) -> Option<Hidden> {
        let mut state = self.state();
        match state.hidden.get(&one.inode) {
            Some(kept) => kept.hidden(one),
            None => state.awaits_shown(one).then_some(Hidden::Unclear),
        }
    }

    /// Records whether nothing is under way on this connection.
    pub(super) fn set_idle(&self, one: &TcpConnection, idle: bool) {
        if let Some(kept) = self.state().hidden.get_mut(&one.inode) {
            kept.idle = idle.then(|| one.clone());
        }
    }

    /// Sets when the program will be asked to stop at the latest.
    pub(super) fn set_until(&self, until: Option<Instant>) {
        self.state().until = until;
    }

    /// Hides requests even if it is early or another request is slow, because the generation is about to be stopped.
    pub(super) fn set_at_end(&self) {
        let mut state = self.state();
        state.at_end = true;
        state.since = None;
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

    /// Takes the connections that the program has closed before it was asked to stop, for example because their clients had
    /// sent nothing for long, although their next requests were hidden.
    pub(super) fn take_left(&self) -> Vec<Kept> {
        let mut state = self.state();
        let left = state.hidden.extract_if(|_, kept| kept.unheld >= SEARCHES);
        left.map(|(_, kept)| kept).collect()
    }

    /// Whether connections were kept when the generation was stopped.
    pub fn has_sealed(&self) -> bool {
        !self.state().sealed.is_empty()
    }

    pub(super) fn is_sealed(&self, inode: u64) -> bool {
        self.state().sealed.contains(&inode)
    }

    /// Shows all requests to the program. Until they are hidden again, no connection can be kept.
    pub fn show(&self) {
        let mut state = self.state();
        state.show_all();
        (state.next, state.ready) = (None, false);
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
        if state.hides && state.may_handle_signal {
            state.refusal = self.ignore_shutdowns(&mut hidden, pids, state.handles_signal);
        }
        state.sealed.extend(hidden.keys());
        hidden.into_values().collect()
    }

    /// Why connections were given up just before the stop signal, if there were any. Their clients' requests, which were
    /// hidden, now arrive.
    pub fn take_refusal(&self) -> Option<io::Error> {
        self.state().refusal.take()
    }

    /// Makes `shutdown(2)` of these connections do nothing in these processes. Where that fails, gives them up if the program
    /// `handles_signal` for certain, and returns the last reason.
    fn ignore_shutdowns(
        &self,
        connections: &mut HashMap<u64, Kept>,
        pids: &[i32],
        handles_signal: bool,
    ) -> Option<io::Error> {
        let mut refusal = None;
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
            if handles_signal {
                inodes
                    .iter()
                    .for_each(|inode| drop(connections.remove(inode)));
                refusal = Some(error);
            }
        }
        refusal
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

#[cfg(test)]
mod tests;
