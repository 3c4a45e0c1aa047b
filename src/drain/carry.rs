//! What becomes of the kept connections once the program has left them.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::kept::{Kept, KeptConnections, RECENT, SEARCHES, is_untouched};
use crate::os::socket_holders::sockets_of;
use crate::os::{TcpConnection, TcpState, inode, show_requests, tcp_connection};

/// How long requests are hidden at most after the stop signal.
const LONGEST_HIDDEN: Duration = Duration::from_secs(1);
/// The shortest and longest pause between two searches.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(25));
/// How long a hidden request may take to arrive again.
pub(super) const RETRANSMISSION: Duration = Duration::from_secs(5);

/// Returns how long to wait for the client's next request on a connection that its program has left, or `None` to close it
/// at once. `sealed`: its state when it was sealed. `wants_next`: whether a request was hidden. `http`: whether requests
/// were hidden on other connections to the same port, which shows that its clients use HTTP/1.
pub(super) fn verdict(
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
        let wanting = kept.iter().filter(|one| one.has_dropped());
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
        if passed >= LONGEST_HIDDEN {
            kept.iter().for_each(|one| drop(show_requests(&one.socket)));
        }
        sleep((passed / 10).clamp(PAUSE.0, PAUSE.1)).await;
    }
}

/// Passes on, until the returned future is dropped, the connections that the program closes before it is asked to stop.
pub async fn carry_closed(kept: &KeptConnections, carry: impl Fn(OwnedFd, Duration)) {
    loop {
        for one in kept.take_left() {
            decide(one, &HashSet::new(), &carry);
        }
        sleep(PAUSE.1).await;
    }
}

fn decide(one: Kept, http: &HashSet<Option<u16>>, carry: impl Fn(OwnedFd, Duration)) {
    let Some(sealed) = &one.idle else { return };
    let Ok(now) = tcp_connection(&one.socket, sealed) else {
        return;
    };
    let wait = verdict(sealed, &now, one.has_dropped(), http.contains(&one.port()));
    if let Some((wait, socket)) = wait.zip(one.socket.try_clone().ok()) {
        drop(one);
        carry(socket, wait);
    }
}
