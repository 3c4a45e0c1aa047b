//! When a listening socket, or another descriptor, ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::os::terminal;

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

/// Descriptors of which it is to be told when they hang up or fail (`EPOLLHUP`, `EPOLLERR`), and nothing else.
#[derive(Debug)]
pub struct HangUps {
    epoll: Epoll,
    /// The same, as something to wait for.
    ready: AsyncFd<OwnedFd>,
}

impl HangUps {
    /// None yet.
    ///
    /// # Errors
    /// What `epoll_create1(2)` reports, `EMFILE` above all.
    ///
    /// # Panics
    /// Outside of a tokio runtime that does input and output.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let ready = terminal::watch(epoll.0.try_clone()?)?;
        Ok(Self { epoll, ready })
    }

    /// This one too, under this number. It must be forgotten before it is closed, or its duplicates go on being watched
    /// (`epoll(7)`, question 6).
    ///
    /// # Errors
    /// What `epoll_ctl(2)` reports: `EPERM` for one that never hangs up, such as a file.
    pub fn watch(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        // What hangs up and what fails is told whatever is asked for. Once: it stays so.
        let event = EpollEvent::new(EpollFlags::EPOLLET, key);
        Ok(self.epoll.add(fd, event)?)
    }

    /// Not this one any more.
    pub fn forget(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// The number of the next one that has ended. May be dropped and called again, nothing is lost by that.
    pub async fn next(&self) -> u64 {
        loop {
            let Ok(mut ready) = self.ready.readable().await else {
                return std::future::pending().await;
            };
            let mut events = [EpollEvent::empty()];
            match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(1..) => return events[0].data(),
                Ok(0) | Err(_) => ready.clear_ready(),
            }
        }
    }
}
