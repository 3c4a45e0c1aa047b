mod idle;
mod owners;

use std::collections::HashSet;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use self::idle::IdleDetector;
pub(super) use self::owners::ConnectionOwners;
use crate::os::sock_diag::tcp_connections;
use crate::os::unix_diag::{unix_connections, unix_queue};
use crate::os::{TcpConnection, TcpState, UnixConnection, tcp_info};

/// The least and the most time between two looks. Within these a look takes at most a tenth of the time.
const LEAST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(25);
/// How many looks in a row must find nothing: between `accept` and the moment at which the new descriptor can be seen
/// a connection is neither in the queue nor with the process.
pub(super) const AGREEING: u32 = 2;
/// How long an old generation on a shared socket may go on. It still takes new connections meanwhile.
const SHARED_IDLE: Duration = Duration::from_secs(1);

/// A connection that nothing came on for so long was opened in advance, as browsers do: who opened it knows that
/// it may be closed. On a machine that is out of breath a client needs long for its first byte.
const UNUSED: Duration = Duration::from_secs(2);

/// A connection that a generation has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The inode of its socket.
    pub inode: u64,
    /// The other side, for TCP.
    pub peer: Option<SocketAddr>,
    /// Bytes that came from the other side, where the kernel counts them: for TCP.
    pub received: Option<u64>,
    /// Bytes that went there, for TCP.
    pub sent: Option<u64>,
}

impl From<&TcpConnection> for Connection {
    fn from(connection: &TcpConnection) -> Self {
        Self {
            inode: connection.inode,
            // A socket for both families sees IPv4 as part of IPv6.
            peer: Some(SocketAddr::new(
                connection.peer.ip().to_canonical(),
                connection.peer.port(),
            )),
            received: Some(connection.received),
            sent: Some(connection.sent),
        }
    }
}

impl From<&UnixConnection> for Connection {
    fn from(connection: &UnixConnection) -> Self {
        Self {
            inode: connection.inode,
            peer: None,
            received: None,
            sent: None,
        }
    }
}

/// One address, as an observer sees it. Without a queue the socket is every generation's.
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

/// Looks at the accept queues and at the connections of one generation, from outside.
///
/// A connection is the generation's if one of its processes holds it; so every method is told their pids.
pub struct DrainMonitor {
    watched: Arc<Vec<MonitoredListener>>,
    shared: bool,
    quiet: Option<Duration>,
}

/// What one wait looks at, and what it has seen so far.
struct Looks {
    watched: Arc<Vec<MonitoredListener>>,
    census: ConnectionOwners,
    history: IdleDetector,
}

impl DrainMonitor {
    pub(super) fn new(watched: Vec<MonitoredListener>, shared: bool) -> Self {
        Self {
            watched: Arc::new(watched),
            shared,
            quiet: None,
        }
    }

    /// The same, for which a connection is idle only after it has been quiet for so long: an answer may pause.
    #[must_use]
    pub fn quiet_for(mut self, quiet: Duration) -> Self {
        self.quiet = Some(quiet);
        self
    }

    /// Waits until nothing is in the generation's accept queues and no connection of it is new, which is
    /// without a first byte (for 2 s at most), or with one that the program has not read.
    ///
    /// Where the system does not tell, this ends at once. Dropping the future ends the waiting.
    pub async fn quiescent(&self, pids: impl Fn() -> Vec<i32>) {
        agree(self.looks(), pids, Looks::is_quiescent).await;
    }

    /// Waits until the generation's connections are gone or idle: everything answered, nothing queued either way, and
    /// quiet for 100 ms, unless [`Self::quiet_for`] says otherwise (2.5 s at least where the order of the last request and the last answer cannot be told). Of a
    /// unix socket's connections the kernel tells too little: they must be gone.
    ///
    /// Where the system does not tell, this never ends: the drain timeout decides. On a shared socket it ends
    /// after 1 s at the latest, because the generation goes on taking new connections.
    pub async fn idle(&self, pids: impl Fn() -> Vec<i32>) {
        let idle = agree(self.looks(), pids, Looks::is_idle);
        if self.shared {
            let _ = timeout(SHARED_IDLE, idle).await;
        } else if !idle.await {
            future::pending::<()>().await;
        }
    }

    /// The connections that these processes have on the observed addresses.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn connections(&self, pids: &[i32]) -> io::Result<Vec<Connection>> {
        let mut census = ConnectionOwners::default();
        let mut found = Vec::new();
        for watched in &*self.watched {
            match watched.connections(&mut census, pids)? {
                Connections::Tcp(all) => found.extend(all.iter().map(Connection::from)),
                Connections::Unix(all) => found.extend(all.iter().map(Connection::from)),
            }
        }
        let mut inodes = HashSet::new();
        found.retain(|connection| inodes.insert(connection.inode));
        Ok(found)
    }

    fn looks(&self) -> Looks {
        Looks {
            watched: self.watched.clone(),
            census: ConnectionOwners::default(),
            history: IdleDetector::of_quiet(self.quiet),
        }
    }

    #[cfg(test)]
    pub(super) fn is_quiescent(
        &self,
        census: &mut ConnectionOwners,
        pids: &[i32],
    ) -> io::Result<bool> {
        are_quiescent(&self.watched, census, pids)
    }
}

impl Looks {
    fn is_quiescent(&mut self, pids: &[i32]) -> io::Result<bool> {
        are_quiescent(&self.watched, &mut self.census, pids)
    }

    fn is_idle(&mut self, pids: &[i32]) -> io::Result<bool> {
        let mut idle = true;
        for watched in &*self.watched {
            // All of them at every look: the history lives on it.
            let connections = watched.connections(&mut self.census, pids)?;
            idle &= connections.are_idle(&mut self.history);
            idle &= watched.waiting() == 0;
        }
        Ok(idle)
    }
}

fn are_quiescent(
    watched: &[MonitoredListener],
    census: &mut ConnectionOwners,
    pids: &[i32],
) -> io::Result<bool> {
    for watched in watched {
        if watched.waiting() > 0 || !watched.connections(census, pids)?.are_quiescent() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks again and again until the answer is yes often enough; whether it was, or could not be told.
///
/// In a thread: the kernel walks over all sockets of the machine for an answer, which may take milliseconds, and a
/// switch must not wait for that.
async fn agree(
    mut looks: Looks,
    pids: impl Fn() -> Vec<i32>,
    ask: fn(&mut Looks, &[i32]) -> io::Result<bool>,
) -> bool {
    let mut agreed = 0;
    loop {
        let begun = Instant::now();
        let pids = pids();
        let asked = spawn_blocking(move || (ask(&mut looks, &pids), looks)).await;
        let Ok((Ok(answer), back)) = asked else {
            return false;
        };
        looks = back;
        agreed = if answer { agreed + 1 } else { 0 };
        if agreed >= AGREEING {
            return true;
        }
        sleep((begun.elapsed() * 9).clamp(LEAST, MOST)).await;
    }
}

/// Whether the program may not have seen the first byte yet. Many servers drop such a connection when they are
/// told to stop: Go's (golang/go#75591), and hyper's until it knows which version of HTTP is spoken.
fn is_fresh(one: &TcpConnection) -> bool {
    match one.received {
        0 => one.state == TcpState::Open && one.since_received < UNUSED,
        1.. => one.sent == 0 && one.unread > 0,
    }
}

/// The connections of one address that are the generation's.
enum Connections {
    Tcp(Vec<TcpConnection>),
    Unix(Vec<UnixConnection>),
}

impl Connections {
    fn are_quiescent(&self) -> bool {
        match self {
            Self::Tcp(all) => !all.iter().any(is_fresh),
            Self::Unix(all) => all.iter().all(|one| one.unread == 0),
        }
    }

    fn are_idle(&self, history: &mut IdleDetector) -> bool {
        match self {
            // Not `all`, which would stop at the first that is not.
            Self::Tcp(all) => all.iter().filter(|one| !history.is_idle(one)).count() == 0,
            Self::Unix(all) => all.iter().all(|one| one.peer_gone),
        }
    }
}

impl MonitoredListener {
    fn waiting(&self) -> u32 {
        let queue = match self {
            Self::Tcp { socket, .. } => socket.as_ref().map(|socket| tcp_info::queue(&**socket)),
            Self::Unix { queue, .. } => queue.map(unix_queue),
        };
        queue
            .and_then(Result::ok)
            .filter(|queue| queue.listening)
            .map_or(0, |queue| queue.waiting)
    }

    fn connections(&self, census: &mut ConnectionOwners, pids: &[i32]) -> io::Result<Connections> {
        Ok(match self {
            Self::Tcp { address, .. } => {
                let all = tcp_connections(*address)?;
                Connections::Tcp(census.of(all, pids, |connection| connection.inode)?)
            }
            Self::Unix { name, .. } => {
                let all = unix_connections(name)?;
                Connections::Unix(census.of(all, pids, |connection| connection.inode)?)
            }
        })
    }
}
