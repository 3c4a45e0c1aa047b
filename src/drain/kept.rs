//! Keeps a generation's idle connections open beyond its end, so that no request crosses the program's close.
//!
//! 1. While the generation drains, hotrun duplicates the connections that are in use and hides new requests on them
//!    ([`hide_requests`]): a client that has its response and sends the next request waits. So the generation becomes
//!    idle even if its clients never pause. If it does not within [`LONGEST_HIDDEN`], or has a slow request in progress,
//!    the requests are shown again for a while. The next attempts last longer: slow requests that follow one another on
//!    several connections would otherwise never end.
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

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::SockRef;

use super::idle::{Hidden, HideWhen, INTERIM_RESPONSE};
use crate::os::seccomp::{descriptor_of, ignore_shutdown};
use crate::os::socket_holders::sockets_of;
use crate::os::{
    TcpConnection, TcpState, dropped, hide_requests, inode, show_requests, tcp_connection,
};

/// How long requests are hidden at most before the stop signal, the first time and later.
const LONGEST_HIDDEN: Duration = Duration::from_millis(750);
const LONGEST_HIDDEN_LATER: Duration = Duration::from_secs(3);
/// How long requests are then shown. Doubles each time.
const SHOWN: Duration = Duration::from_secs(1);
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
    fn show_unclear(&mut self, connections: &[(TcpConnection, Option<HideWhen>)]) {
        for (one, _) in connections {
            let kept = self.hidden.get(&one.inode);
            if kept.is_some_and(|kept| kept.hidden(one) == Some(Hidden::Unclear)) {
                self.hidden.remove(&one.inode);
                self.shown.insert(one.inode, Some(one.received));
            }
        }
    }

    fn show_all(&mut self) {
        let hidden = std::mem::take(&mut self.hidden).into_iter();
        let dropped = hidden.filter(|(_, kept)| kept.has_dropped());
        self.shown.extend(dropped.map(|(inode, _)| (inode, None)));
        self.since = None;
    }

    fn awaits_shown(&mut self, one: &TcpConnection) -> bool {
        let before = self.shown.get_mut(&one.inode);
        before.is_some_and(|before| one.received == *before.get_or_insert(one.received))
    }
}

/// A connection that hotrun has duplicated. Dropping it shows its requests to the program and closes the duplicate.
pub struct Kept {
    pub(super) socket: OwnedFd,
    /// What [`dropped`] returned when the requests were hidden.
    dropped: u32,
    /// How many bytes the program had sent by then, and whether a request was in progress.
    before: (u64, HideWhen),
    /// The state of the connection when it was last found to be idle.
    pub(super) idle: Option<TcpConnection>,
    /// How often in a row no process held it.
    pub(super) unheld: u32,
}

impl Kept {
    /// Duplicates a connection, which was in the state `seen` a moment ago. If its requests are to be hidden, it must not
    /// have received anything since.
    fn new(pid: i32, fd: i32, seen: &TcpConnection, when: Option<HideWhen>) -> Option<Self> {
        let socket = descriptor_of(pid, fd).ok()?;
        let same = inode(&socket).is_ok_and(|found| found == seen.inode);
        let dropped = dropped(&socket).ok().filter(|_| same)?;
        let kept = Self {
            socket,
            dropped,
            before: (seen.sent, when.unwrap_or(HideWhen::Quiet)),
            idle: None,
            unheld: 0,
        };
        if when.is_some() {
            hide_requests(&kept.socket).ok()?;
            let now = tcp_connection(&kept.socket, seen).ok()?;
            (now.received == seen.received).then_some(())?;
        }
        Some(kept)
    }

    /// Whether the kernel has dropped a segment that begins like a request.
    pub(super) fn has_dropped(&self) -> bool {
        dropped(&self.socket).is_ok_and(|dropped| dropped != self.dropped)
    }

    fn hidden(&self, now: &TcpConnection) -> Option<Hidden> {
        self.has_dropped().then(|| hidden(self.before, now.sent))
    }

    pub(super) fn port(&self) -> Option<u16> {
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
    pub(super) fn hide(
        &self,
        connections: &[(TcpConnection, Option<HideWhen>)],
        slow: bool,
        pids: &[i32],
    ) {
        let (mut state, now) = (self.state(), Instant::now());
        let longest = match state.next {
            None => LONGEST_HIDDEN,
            Some(_) => LONGEST_HIDDEN_LATER,
        };
        let expired = state.since.is_some_and(|since| now - since > longest);
        let slow = slow && state.hides && state.next.is_none() && !state.at_end;
        if expired && state.hides || slow {
            let shown = state.next.map_or(SHOWN, |(_, shown)| shown * 2);
            state.next = Some((now + shown, shown));
            state.show_all();
        }
        let early = state.next.is_some_and(|(at, _)| now < at) && !state.at_end;
        if !state.open || slow || early {
            return;
        }
        let found: HashMap<u64, (i32, i32)> = pids.iter().flat_map(|pid| holding(*pid)).collect();
        // The program has closed the others, whose clients wait for the end of the connection.
        state.hidden.retain(|inode, _| found.contains_key(inode));
        state.show_unclear(connections);
        for (one, when) in connections.iter().filter(|(one, _)| is_in_use(one)) {
            let when = when.filter(|_| state.hides);
            if let Some((pid, fd)) = found.get(&one.inode)
                && state.hidden.len() < MOST
                && !state.hidden.contains_key(&one.inode)
                && when.is_some() == state.hides
                && !state.awaits_shown(one)
            {
                match Kept::new(*pid, *fd, one, when) {
                    Some(kept) => {
                        state.since.get_or_insert(now);
                        state.hidden.insert(one.inode, kept);
                    }
                    None => drop(state.shown.insert(one.inode, None)),
                }
            }
        }
    }

    /// What the client of this connection has sent that is hidden.
    pub(super) fn hidden(&self, one: &TcpConnection) -> Option<Hidden> {
        self.state().hidden.get(&one.inode)?.hidden(one)
    }

    /// Records whether nothing is under way on this connection.
    pub(super) fn set_idle(&self, one: &TcpConnection, idle: bool) {
        if let Some(kept) = self.state().hidden.get_mut(&one.inode) {
            kept.idle = idle.then(|| one.clone());
        }
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

/// What was dropped since the program had sent `before` bytes. It may be a body: after an interim response, or if a request
/// was in progress and the program has not responded.
fn hidden((before, when): (u64, HideWhen), sent: u64) -> Hidden {
    match (sent.saturating_sub(before), when) {
        (0, HideWhen::InProgress) | (1..=INTERIM_RESPONSE, _) => Hidden::Unclear,
        (_, HideWhen::InProgress | HideWhen::Quiet) => Hidden::NextRequest,
    }
}

fn is_in_use(one: &TcpConnection) -> bool {
    let quiet = one.since_received.min(one.since_sent);
    one.state == TcpState::Open && one.received > 0 && quiet < RECENT
}

/// Whether a client has been waiting for its response for too long to hide the requests of others.
pub(super) fn is_slow(one: &TcpConnection) -> bool {
    one.since_received >= SLOW
}

/// Whether the program has neither read nor sent anything in the meantime.
pub(super) fn is_untouched(before: &TcpConnection, now: &TcpConnection) -> bool {
    let read = |one: &TcpConnection| one.received.saturating_sub(one.unread.into());
    now.state == TcpState::Open && now.sent == before.sent && read(now) == read(before)
}

#[cfg(test)]
mod tests;
