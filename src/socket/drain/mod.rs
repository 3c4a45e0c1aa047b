//! Whether a generation has finished: its accept queues, its connections, and the requests in progress on them, seen
//! from outside.

mod idle;

use std::collections::{HashMap, HashSet};
use std::future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use self::idle::{IdleDetector, QUIET};
use crate::os::socket_holders::sockets_of;
use crate::os::{
    TcpConnection, TcpState, UnixConnection, tcp_connections, tcp_half_open, tcp_queue,
    unix_connections, unix_queue,
};

/// The shortest and the longest pause between two looks. Within these limits a look takes at most a tenth of the time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);
/// How many looks in a row must agree. Between `accept` and the moment at which the new descriptor is visible in `/proc`,
/// a connection is neither in the queue nor with the process.
const AGREEING: u32 = 2;
/// The longest wait for an old generation on a shared socket, because it keeps accepting connections.
const SHARED_IDLE: Duration = Duration::from_secs(1);
/// A connection without a single byte for this long was opened in advance, as browsers do. Its client expects that it may
/// be closed. On an overloaded machine a client needs a long time for its first byte.
const UNUSED: Duration = Duration::from_secs(2);

/// How long a handshake that began before the switch is waited for: a client that lost our answer sends again after one
/// second, then after two (RFC 6298).
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);
/// The error of a handshake's age, which the kernel measures in ticks of 1 to 10 ms.
const TICK: Duration = Duration::from_millis(10);

/// One listener of the generation. Without a socket or queue, the listener is shared by all generations.
pub(super) enum MonitoredListener {
    Tcp {
        socket: Option<Arc<Socket>>,
        address: SocketAddr,
    },
    Unix {
        queue: Option<u64>,
        name: PathBuf,
    },
}

/// Watches one generation drain. A connection belongs to the generation if one of its processes holds it, so each method
/// takes the pids of these.
pub struct DrainMonitor {
    listeners: Arc<Vec<MonitoredListener>>,
    /// Later handshakes are with another generation's listener.
    since: Instant,
    shared: bool,
    quiet: Duration,
}

impl DrainMonitor {
    pub(super) fn new(listeners: Vec<MonitoredListener>, shared: bool) -> Self {
        Self {
            listeners: Arc::new(listeners),
            since: Instant::now(),
            shared,
            quiet: QUIET,
        }
    }

    /// Considers a connection idle only after this quiet time, because responses may pause. The default is 100 ms.
    #[must_use]
    pub fn quiet_for(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// Waits until no handshake with the generation is unfinished (for at most 3 s), its accept queues are empty and none
    /// of its connections is new: before its first byte (for at most 2 s) and while the program has not read that byte.
    /// Returns at once if the system does not report this.
    pub async fn quiescent(&self, pids: impl Fn() -> Vec<i32>) {
        let _ = until(self.look(), pids, Look::is_quiescent).await;
    }

    /// Waits until each connection of the generation is closed or idle: every request has its response, nothing is queued
    /// in either direction, and it has been quiet for the [set time](Self::quiet_for). It must be quiet for 2.5 s at
    /// least if the order of the last request and the last response is unknown. For unix sockets the kernel reports too
    /// little, so their connections must be closed. The accept queues do not matter: what the program does not accept is
    /// forwarded.
    ///
    /// Never returns if the system does not report this; the drain timeout decides then. On a shared socket it returns
    /// after at most 1 s, because the generation keeps accepting connections.
    pub async fn idle(&self, pids: impl Fn() -> Vec<i32>) {
        let idle = until(self.look(), pids, Look::is_idle);
        if self.shared {
            let _ = timeout(SHARED_IDLE, idle).await;
        } else if idle.await.is_err() {
            future::pending::<()>().await;
        }
    }

    /// How many connections these processes have. Fails if the system does not report this.
    pub fn connection_count(&self, pids: &[i32]) -> io::Result<usize> {
        let found = self.look().connections(pids)?;
        Ok(found.tcp.len() + found.unix.len())
    }

    pub(super) fn look(&self) -> Look {
        Look {
            listeners: self.listeners.clone(),
            since: self.since,
            owners: ConnectionOwners::default(),
            idle: IdleDetector::new(self.quiet),
        }
    }
}

/// The looks of one wait, and what they have found so far.
pub(super) struct Look {
    listeners: Arc<Vec<MonitoredListener>>,
    since: Instant,
    owners: ConnectionOwners,
    idle: IdleDetector,
}

/// The connections of the generation.
struct Connections {
    tcp: Vec<TcpConnection>,
    unix: Vec<UnixConnection>,
}

impl Look {
    pub(super) fn is_quiescent(&mut self, pids: &[i32]) -> io::Result<bool> {
        if self.arriving()? {
            return Ok(false);
        }
        let found = self.connections(pids)?;
        Ok(!found.tcp.iter().any(is_new) && found.unix.iter().all(|one| one.unread == 0))
    }

    fn is_idle(&mut self, pids: &[i32]) -> io::Result<bool> {
        let half_open = self.half_open()?;
        let found = self.connections(pids)?;
        // Not `all`: the detector must see every connection at every look.
        let busy = found.tcp.iter().filter(|one| !self.idle.is_idle(one));
        let idle = busy.count() == 0 && found.unix.iter().all(|one| one.peer_gone);
        Ok(idle && !half_open)
    }

    /// Whether a connection is on its way to the program. It goes from the handshake to the queue, so the handshakes
    /// come first here.
    fn arriving(&self) -> io::Result<bool> {
        Ok(self.half_open()? || self.listeners.iter().any(|listener| listener.queued() > 0))
    }

    /// Whether a handshake from before the switch is unfinished. The connection goes to the listener that was chosen when
    /// it began, and its client may be far away.
    fn half_open(&self) -> io::Result<bool> {
        let passed = self.since.elapsed();
        if passed >= LONGEST_HANDSHAKE {
            return Ok(false);
        }
        let mut ports = HashSet::new();
        for listener in &*self.listeners {
            if let MonitoredListener::Tcp { address, .. } = listener
                && ports.insert((address.port(), address.is_ipv6()))
                && tcp_half_open(*address)?.is_some_and(|age| age.saturating_add(TICK) >= passed)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks the kernel once for each port or path, however many listeners it has.
    fn connections(&mut self, pids: &[i32]) -> io::Result<Connections> {
        let (mut tcp, mut unix) = (Vec::new(), Vec::new());
        let (mut ports, mut names) = (HashSet::new(), HashSet::new());
        for listener in &*self.listeners {
            match listener {
                MonitoredListener::Tcp { address, .. } => {
                    if ports.insert((address.port(), address.is_ipv6())) {
                        tcp.extend(tcp_connections(*address)?);
                    }
                }
                MonitoredListener::Unix { name, .. } => {
                    if names.insert(name) {
                        unix.extend(unix_connections(name)?);
                    }
                }
            }
        }
        let inodes = tcp.iter().map(|one| one.inode);
        let inodes = inodes.chain(unix.iter().map(|one| one.inode)).collect();
        self.owners.update(&inodes, pids)?;
        tcp.retain(|one| self.owners.ours.contains(&one.inode));
        unix.retain(|one| self.owners.ours.contains(&one.inode));
        Ok(Connections { tcp, unix })
    }
}

/// Looks again and again until enough looks in a row say yes. A look runs in another thread: the kernel walks over all
/// sockets of the machine, which may take milliseconds.
async fn until(
    mut look: Look,
    pids: impl Fn() -> Vec<i32>,
    ask: fn(&mut Look, &[i32]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut agreed = 0;
    loop {
        let begun = Instant::now();
        let pids = pids();
        let (result, back) = spawn_blocking(move || (ask(&mut look, &pids), look)).await?;
        look = back;
        agreed = if result? { agreed + 1 } else { 0 };
        if agreed >= AGREEING {
            return Ok(());
        }
        sleep((begun.elapsed() * 9).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Whether the program may not have seen the first byte yet. Many servers drop such a connection when they are asked to
/// stop: Go's (golang/go#75591), and hyper's until it knows the version of HTTP.
fn is_new(one: &TcpConnection) -> bool {
    match one.received {
        0 => one.state == TcpState::Open && one.since_received < UNUSED,
        1.. => one.sent == 0 && one.unread > 0,
    }
}

impl MonitoredListener {
    /// How many connections wait in the accept queue.
    fn queued(&self) -> u32 {
        let queue = match self {
            Self::Tcp { socket, .. } => socket.as_ref().map(|socket| tcp_queue(&**socket)),
            Self::Unix { queue, .. } => queue.map(unix_queue),
        };
        queue
            .and_then(Result::ok)
            .filter(|queue| queue.listening)
            .map_or(0, |queue| queue.waiting)
    }
}

/// How many looks a connection gets. Right after `accept` its descriptor is not visible yet, so one is not enough.
const LOOKS: u32 = 2;

/// Which connections a generation holds. Reading that from `/proc` is the most expensive part of a look, so it happens only
/// while a connection is unknown.
#[derive(Default)]
struct ConnectionOwners {
    ours: HashSet<u64>,
    /// How often a socket was looked for and not found.
    missed: HashMap<u64, u32>,
}

impl ConnectionOwners {
    /// Finds out which of the `present` sockets one of `pids` holds. Fails if one of the processes may not be inspected: it
    /// may hold any connection.
    fn update(&mut self, present: &HashSet<u64>, pids: &[i32]) -> io::Result<()> {
        let unknown = |inode: &&u64| self.is_unknown(**inode);
        let unknown: Vec<u64> = present.iter().filter(unknown).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut held = HashSet::new();
        for pid in pids {
            held.extend(sockets_of(*pid, |_| None)?.into_values());
        }
        for inode in unknown {
            match held.contains(&inode) {
                true => drop(self.ours.insert(inode)),
                false => *self.missed.entry(inode).or_default() += 1,
            }
        }
        Ok(())
    }

    /// Inode 0 is a connection that no process has accepted, or that no process holds any more.
    fn is_unknown(&self, inode: u64) -> bool {
        let looks = self.missed.get(&inode).copied().unwrap_or(0);
        inode != 0 && !self.ours.contains(&inode) && looks < LOOKS
    }
}
