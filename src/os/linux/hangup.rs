//! When a listening socket, or another descriptor, ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use crate::os::terminal;

/// Waits until somebody shuts the listening socket down, for every holder of it: `EPOLLHUP` (`tcp_poll` in
/// `net/ipv4/tcp.c`, `unix_poll` in `net/unix/af_unix.c`, which wants both directions shut).
///
/// The kernel reports that whatever is asked for (`epoll_ctl(2)`), so nothing else is. A runtime always asks for more,
/// and a connection that arrives wakes whoever asks for something to read, urgent data included (`sock_def_readable` in
/// `net/core/sock.c`, `ep_poll_callback` in `fs/eventpoll.c`): as often as the program is asked, it would cost it the
/// processor. Hence an epoll instance that the runtime looks at instead of the socket.
///
/// # Errors
/// If the socket cannot be watched.
///
/// # Panics
/// Outside of a tokio runtime that does input and output.
pub async fn hung_up(socket: OwnedFd) -> io::Result<()> {
    let all = HangupSet::new()?;
    all.watch(&socket, 0)?;
    all.next().await;
    drop(socket);
    Ok(())
}

/// Descriptors of which it is to be told when they hang up or fail (`EPOLLHUP`, `EPOLLERR`), and nothing else.
#[derive(Debug)]
pub struct HangupSet {
    epoll: Epoll,
    /// The same, as something to wait for.
    ready: AsyncFd<OwnedFd>,
}

impl HangupSet {
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

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// How often this thread has waited for something.
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_connection_wakes_nobody_and_the_end_does() {
        const CONNECTIONS: u64 = 100;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        let clients = std::thread::spawn(move || {
            // The pause is for one who is woken to go to sleep again, and to be counted.
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
        ended.expect("it is noticed").unwrap();
        assert_eq!(clients.join().unwrap() as u64, CONNECTIONS);
        assert!(
            waited < CONNECTIONS / 4,
            "{waited} waits for {CONNECTIONS} connections"
        );
    }
}
