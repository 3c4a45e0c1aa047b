//! When a listening socket ends.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until somebody shuts the listening socket down, for every holder of it: `EPOLLHUP` (`tcp_poll` in
/// `net/ipv4/tcp.c`, `unix_poll` in `net/unix/af_unix.c`, which wants both directions shut).
///
/// The kernel reports that whatever is asked for (`epoll_ctl(2)`). So what is asked for is what a listener never has,
/// urgent data: then a connection that arrives wakes nobody here (`ep_poll_callback` in `fs/eventpoll.c`).
///
/// # Errors
/// If the socket cannot be watched.
///
/// # Panics
/// Outside of a tokio runtime that does input and output.
pub async fn hung_up(socket: OwnedFd) -> io::Result<()> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives, and it lives as long as `AsyncFd`.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::PRIORITY) }?;
    socket.ready(Interest::PRIORITY).await.map(drop)
}
