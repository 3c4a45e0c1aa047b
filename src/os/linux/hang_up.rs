//! When a listening socket ends.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::empty(), 0))?;
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives, and it lives as long as `AsyncFd`.
    let epoll = unsafe { AsyncFd::register_with_interest(epoll.0, Interest::READABLE) }?;
    epoll.readable().await.map(drop)?;
    drop(socket);
    Ok(())
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
