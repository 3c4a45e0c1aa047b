//! Epoll sets that report only hangups.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use crate::os::terminal;

/// Waits until the listening socket is shut down, which ends listening for all of its holders. The kernel then reports
/// `EPOLLHUP` (`tcp_poll` in `net/ipv4/tcp.c`; `unix_poll` in `net/unix/af_unix.c`, where both directions must be shut
/// down).
///
/// The kernel reports a hangup whatever events were requested (`epoll_ctl(2)`), so no other event is requested. Tokio
/// itself would request more events, and every new connection would wake this process (`sock_def_readable` in
/// `net/core/sock.c`, `ep_poll_callback` in `fs/eventpoll.c`). So tokio watches an epoll instance that in turn watches
/// the socket.
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub async fn hung_up(socket: OwnedFd) -> io::Result<()> {
    let set = HangupSet::new()?;
    set.watch(&socket, 0)?;
    set.next().await;
    drop(socket);
    Ok(())
}

/// A set of descriptors, watched only for hangups and errors (`EPOLLHUP`, `EPOLLERR`).
#[derive(Debug)]
pub struct HangupSet {
    epoll: Epoll,
    /// A duplicate of `epoll`, watched by tokio.
    ready: AsyncFd<OwnedFd>,
}

impl HangupSet {
    /// Creates an empty set.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let ready = terminal::watch(epoll.0.try_clone()?)?;
        Ok(Self { epoll, ready })
    }

    /// Adds a descriptor under this key. [`forget`](Self::forget) the descriptor before closing it: otherwise, it stays
    /// in the set while a duplicate is open (`epoll(7)`, question 6). Fails with `EPERM` for a descriptor that never
    /// hangs up, such as a file.
    pub fn watch(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        // Edge-triggered: a hangup is permanent, so one report is enough.
        let event = EpollEvent::new(EpollFlags::EPOLLET, key);
        Ok(self.epoll.add(fd, event)?)
    }

    /// Removes a descriptor.
    pub fn forget(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits for the next hangup and returns its key. Cancel safe.
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

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Returns how often this thread has slept.
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn the_shutdown_wakes_the_watcher_but_connections_do_not() {
        const CONNECTIONS: u64 = 100;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        let clients = std::thread::spawn(move || {
            // The pause gives a woken watcher time to go back to sleep, so that the wake-up is counted.
            let connect = |_| {
                std::thread::sleep(Duration::from_millis(1));
                TcpStream::connect(address).unwrap()
            };
            let clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
            socket2::SockRef::from(&listener)
                .shutdown(Shutdown::Read)
                .unwrap();
            clients.len()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let before = waits();
        let ended = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), hung_up(socket)).await
        });
        let waited = waits() - before;
        ended
            .expect("the watcher notices the shutdown in time")
            .unwrap();
        assert_eq!(clients.join().unwrap() as u64, CONNECTIONS);
        assert!(
            waited < CONNECTIONS / 4,
            "{waited} wake-ups for {CONNECTIONS} connections"
        );
    }
}
