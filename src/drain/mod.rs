//! Determines from outside the program whether a generation has finished: whether its accept queues are empty, and its
//! connections closed or idle.
//!
//! This module gets a generation's listeners and pids, and reads the kernel's tables and `/proc`. It does not know which
//! generation is live. It changes something in one place: `kept` hides requests from a draining generation, and makes its
//! `shutdown` calls do nothing.

mod carry;
mod idle;
mod kept;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

pub use self::carry::{carry_closed, carry_left};
use self::idle::{IdleDetector, QUIET};
pub use self::kept::{Kept, KeptConnections};
use crate::os::process_tree::has_ended;
use crate::os::socket_holders::sockets_of;
use crate::os::{
    KERNEL_TICK, TcpConnection, TcpState, UnixConnection, tcp_connections, tcp_half_open,
    unix_connections,
};
use crate::socket::{Address, LONGEST_HANDSHAKE, MonitoredListener};

/// The shortest and longest pause between two polls. Within these limits, polling takes at most a tenth of the time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);
/// How many polls in a row must agree. After `accept`, the new descriptor does not appear in `/proc` immediately. Until it
/// does, the connection seems to be neither in the queue nor held by the process.
const AGREEING: u32 = 2;
/// How long to wait for an old generation whose socket is shared. It keeps accepting connections, so it may never be idle.
const SHARED_IDLE: Duration = Duration::from_secs(1);
/// How long the stop signal may be delayed to keep connections open.
const BEFORE_STOP: Duration = Duration::from_millis(500);
/// If no data has arrived on a connection for this long, the client has opened it in advance, as browsers do, and must
/// expect it to be closed. The limit allows for an overloaded machine, where a client may take a long time to send its
/// first byte.
const UNUSED: Duration = Duration::from_secs(2);

/// How many of a generation's connections are in use: the TCP connections whose client awaits a response, and all unix
/// connections that the client has not closed, because the kernel reports too little about those.
#[derive(Debug, Default)]
pub struct InUse {
    /// The number at the last poll.
    open: AtomicU32,
    /// The number of those that were in use at one poll, and whose process had ended by the next one.
    lost: AtomicU32,
    /// Whether the generation has datagram sockets. From outside, nothing shows who is using those.
    hidden: AtomicBool,
}

impl InUse {
    /// Notes that the generation has datagram sockets.
    pub fn hide(&self) {
        self.hidden.store(true, Ordering::Relaxed);
    }

    /// Returns the number of connections that are in use, or were in use when their process ended. `None` means that
    /// only datagram sockets can have been in use.
    pub fn count(&self) -> Option<u32> {
        let (open, lost) = (&self.open, &self.lost);
        let count = open.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed);
        (count > 0 || !self.hidden.load(Ordering::Relaxed)).then_some(count)
    }
}

/// Monitors the drain of one generation. A connection belongs to the generation if one of the generation's processes
/// holds it, so the methods that look for connections take the pids of those processes.
pub struct DrainMonitor {
    listeners: Arc<Vec<MonitoredListener>>,
    /// When monitoring began. Later handshakes belong to another generation's listener.
    since: Instant,
    shared: bool,
    stop_timeout: Duration,
    in_use: Arc<InUse>,
    kept: Arc<KeptConnections>,
}

impl DrainMonitor {
    /// Returns a monitor for the generation with these listeners, which updates `in_use` at every poll, and `kept` while it
    /// waits until the generation is idle.
    ///
    /// `stop_timeout`: how long after now the program will be asked to stop at the latest. A response that has taken longer
    /// counts as an endless stream, for which the default quiet time is enough.
    pub fn new(
        listeners: Vec<MonitoredListener>,
        stop_timeout: Duration,
        in_use: &Arc<InUse>,
        kept: &Arc<KeptConnections>,
    ) -> Self {
        Self {
            shared: listeners.iter().any(|one| one.shared),
            listeners: Arc::new(listeners),
            since: Instant::now(),
            stop_timeout,
            in_use: in_use.clone(),
            kept: kept.clone(),
        }
    }

    /// Only counts the connections in use: once before returning, and then repeatedly until the returned future is
    /// dropped or the system fails to report the connections.
    pub fn observe<P: Fn() -> Vec<i32>>(&self, pids: P) -> impl Future<Output = ()> + use<P> {
        let mut polls = self.polls(QUIET);
        let first = polls.connections(&pids());
        async move {
            let never = |polls: &mut Polls, pids: &[i32]| polls.connections(pids).map(|_| false);
            if first.is_ok() {
                let _ = until(polls, pids, never).await;
            }
        }
    }

    /// Waits until every handshake with the generation has finished (for at most 3 s), its accept queues are empty, and
    /// none of its connections is new. A connection is new until its first byte arrives (for at most 2 s) and until the
    /// program has read that byte. If the system does not report connections, it waits only 20 ms, which is also the
    /// least that it takes.
    pub async fn quiescent(&self, pids: impl Fn() -> Vec<i32>) {
        let quiescent = until(self.polls(QUIET), pids, Polls::is_quiescent);
        let _ = tokio::join!(sleep(Duration::from_millis(20)), quiescent);
    }

    /// Waits until every handshake with the generation has finished (for at most 3 s), and each of its connections is
    /// closed or idle. A connection is idle if every request has its response, no data is queued in either direction,
    /// and it has been quiet for at least `pause`, because there may be pauses within a response: by default for 100 ms, or
    /// twice the time that the last response has taken so far, up to 5 s. A connection that is unused, or whose order of
    /// the last request and response is unknown, must have been quiet for at least 2.5 s. The kernel reports too little
    /// about unix sockets, so their connections must be closed and their accept queues must be empty. The accept queues
    /// of TCP listeners do not matter: connections that the program does not accept are forwarded.
    ///
    /// Fails if the system does not report this. On a shared socket, returns after at most 1 s, because the generation
    /// keeps accepting connections.
    pub async fn idle(
        &self,
        pause: Option<Duration>,
        pids: impl Fn() -> Vec<i32>,
    ) -> io::Result<()> {
        self.kept
            .set_until(self.since.checked_add(self.stop_timeout));
        let polls = self.polls(pause.unwrap_or(QUIET));
        let idle = until(polls, pids, Polls::is_idle);
        if self.shared {
            let _ = timeout(SHARED_IDLE, idle).await;
            return Ok(());
        }
        let idle = idle.await.inspect_err(|_| self.kept.close());
        idle.inspect(|()| self.kept.set_ready())
    }

    /// Hides requests for a moment, so that the stop signal finds as many connections as possible idle.
    pub async fn hide_requests(&self, pids: impl Fn() -> Vec<i32>) {
        if self.kept.is_ready() {
            return;
        }
        self.kept.set_at_end();
        let _ = timeout(BEFORE_STOP, until(self.polls(QUIET), pids, Polls::is_idle)).await;
    }

    /// Returns how many of the generation's connections these processes hold. Fails if the system does not report this.
    pub fn connection_count(&self, pids: &[i32]) -> io::Result<usize> {
        let (tcp, unix) = self.polls(QUIET).connections(pids)?;
        Ok(tcp.len() + unix.len())
    }

    fn polls(&self, quiet: Duration) -> Polls {
        Polls {
            listeners: self.listeners.clone(),
            since: self.since,
            owners: ConnectionOwners::default(),
            idle: IdleDetector::new(quiet, self.stop_timeout),
            awaiting: HashSet::new(),
            in_use: self.in_use.clone(),
            kept: self.kept.clone(),
        }
    }
}

/// The state that the polls of one wait share.
struct Polls {
    listeners: Arc<Vec<MonitoredListener>>,
    since: Instant,
    owners: ConnectionOwners,
    idle: IdleDetector,
    /// The inodes of the connections that were in use at the last poll.
    awaiting: HashSet<u64>,
    in_use: Arc<InUse>,
    kept: Arc<KeptConnections>,
}

type Connections = (Vec<TcpConnection>, Vec<UnixConnection>);

impl Polls {
    fn is_quiescent(&mut self, pids: &[i32]) -> io::Result<bool> {
        // Connections move from the handshake to the queue, so check in this order.
        if self.half_open()? || self.listeners.iter().any(|one| one.queued() > 0) {
            return Ok(false);
        }
        let (tcp, unix) = self.connections(pids)?;
        Ok(!tcp.iter().any(is_new) && unix.iter().all(|one| one.unread == 0))
    }

    fn is_idle(&mut self, pids: &[i32]) -> io::Result<bool> {
        let half_open = self.half_open()?;
        let (tcp, unix) = self.connections(pids)?;
        let awaiting = tcp.iter().filter(|one| self.idle.awaits_response(one));
        let longest_wait = awaiting.map(|one| one.since_received).max();
        let exchange = &mut |now: &TcpConnection| self.idle.exchange(now);
        self.kept
            .hide(&tcp, exchange, longest_wait.unwrap_or_default(), pids);
        let mut idle = unix.iter().all(|one| one.peer_gone);
        // Do not stop early: the detector must see every connection at every poll.
        for one in &tcp {
            let is_idle = self.idle.is_idle(one, self.kept.hidden(one));
            self.kept.set_idle(one, is_idle);
            idle &= is_idle;
        }
        // Connections that wait in a unix socket are not forwarded.
        let mut listeners = self.listeners.iter();
        idle &= listeners.all(|one| matches!(one.address, Address::Tcp(_)) || one.queued() == 0);
        Ok(idle && !half_open)
    }

    /// Whether a handshake that began before the switch is unfinished. Its connection will enter the queue of the listener
    /// that was chosen when it began. That may take a while if the client is far away.
    fn half_open(&self) -> io::Result<bool> {
        let passed = self.since.elapsed();
        if passed >= LONGEST_HANDSHAKE {
            return Ok(false);
        }
        for address in self.addresses() {
            if let Address::Tcp(address) = address
                && let Some(age) = tcp_half_open(*address)?
                && age.saturating_add(KERNEL_TICK) >= passed
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns every unix socket's name, and one TCP address for each port and family: the kernel reports all connections
    /// on a port at once.
    fn addresses(&self) -> Vec<&Address> {
        let mut seen = HashSet::new();
        let mut addresses: Vec<_> = self.listeners.iter().map(|one| &one.address).collect();
        addresses.retain(|one| match one {
            Address::Tcp(tcp) => seen.insert((tcp.port(), tcp.is_ipv6(), None)),
            Address::Unix(name) => seen.insert((0, false, Some(name))),
        });
        addresses
    }

    /// Returns the generation's connections.
    fn connections(&mut self, pids: &[i32]) -> io::Result<Connections> {
        let (mut tcp, mut unix) = (Vec::new(), Vec::new());
        for address in self.addresses() {
            match address {
                Address::Tcp(address) => tcp.extend(tcp_connections(*address)?),
                Address::Unix(name) => unix.extend(unix_connections(name)?),
            }
        }
        let inodes = tcp.iter().map(|one| one.inode);
        let inodes = inodes.chain(unix.iter().map(|one| one.inode)).collect();
        self.owners.update(&inodes, pids)?;
        tcp.retain(|one| self.owners.ours.contains_key(&one.inode));
        unix.retain(|one| self.owners.ours.contains_key(&one.inode));
        self.count_in_use(&tcp, &unix);
        Ok((tcp, unix))
    }

    fn count_in_use(&mut self, tcp: &[TcpConnection], unix: &[UnixConnection]) {
        // What happens on a sealed connection no longer concerns the program.
        let tcp = tcp.iter().filter(|one| !self.kept.is_sealed(one.inode));
        let awaiting = tcp.filter(|one| self.idle.awaits_response(one));
        let mut in_use: HashSet<u64> = awaiting.map(|one| one.inode).collect();
        let open = unix.iter().filter(|one| !one.peer_gone);
        in_use.extend(open.map(|one| one.inode));
        // If the process is still running, it has probably sent the response and closed the connection.
        let pid = |inode: &u64| self.owners.ours.get(inode).copied();
        let is_lost = |inode: &&u64| pid(inode).is_some_and(has_ended);
        let lost = self.awaiting.difference(&in_use).filter(is_lost).count();
        self.in_use
            .lost
            .fetch_add(saturate(lost), Ordering::Relaxed);
        self.in_use
            .open
            .store(saturate(in_use.len()), Ordering::Relaxed);
        self.awaiting = in_use;
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Polls until `ask` has returned true [`AGREEING`] times in a row. Each poll runs on another thread, because the kernel
/// walks over all sockets of the machine, which may take milliseconds.
async fn until(
    mut polls: Polls,
    pids: impl Fn() -> Vec<i32>,
    ask: fn(&mut Polls, &[i32]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut agreed = 0;
    loop {
        let begun = Instant::now();
        let pids = pids();
        let (result, back) = spawn_blocking(move || (ask(&mut polls, &pids), polls)).await?;
        polls = back;
        agreed = if result? { agreed + 1 } else { 0 };
        if agreed >= AGREEING {
            return Ok(());
        }
        sleep((begun.elapsed() * 9).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Whether the connection is new: the program may not have read its first byte yet. Many servers drop such a connection
/// when they are asked to stop: Go's `net/http` does (golang/go#75591), and so does hyper until it knows the HTTP
/// version.
fn is_new(one: &TcpConnection) -> bool {
    match one.received {
        0 => one.state == TcpState::Open && one.since_received < UNUSED,
        1.. => one.sent == 0 && one.unread > 0,
    }
}

/// How many times to search for the holder of a connection. Right after `accept`, its descriptor is not visible yet, so
/// one search is not enough.
const SEARCHES: u32 = 2;

/// The connections that a generation holds. Reading `/proc` is the most expensive part of a poll, so it happens only
/// while a connection's holder is unknown.
#[derive(Default)]
struct ConnectionOwners {
    /// For each socket that the generation holds, the pid of a process that holds it.
    ours: HashMap<u64, i32>,
    /// For each of the other sockets, how many searches did not find it in the generation's processes.
    missed: HashMap<u64, u32>,
}

impl ConnectionOwners {
    /// Determines which of the `present` sockets the processes `pids` hold. Fails if we may not inspect one of the
    /// processes, because it may hold any of the connections.
    fn update(&mut self, present: &HashSet<u64>, pids: &[i32]) -> io::Result<()> {
        // Inode 0 means that no process has accepted the connection yet, or that no process holds it any longer.
        let missed = |inode: &u64| self.missed.get(inode).copied().unwrap_or(0);
        let mut unknown: Vec<u64> = present.iter().copied().collect();
        unknown.retain(|one| *one != 0 && !self.ours.contains_key(one) && missed(one) < SEARCHES);
        if unknown.is_empty() {
            return Ok(());
        }
        let mut held = HashMap::new();
        for pid in pids {
            held.extend(sockets_of(*pid)?.into_values().map(|inode| (inode, *pid)));
        }
        for inode in unknown {
            match held.get(&inode) {
                Some(pid) => drop(self.ours.insert(inode, *pid)),
                None => *self.missed.entry(inode).or_default() += 1,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
