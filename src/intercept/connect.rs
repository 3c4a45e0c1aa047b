//! Lets a starting program's connections to its own address reach its own listener.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::socket::{Diversion, Endpoint};

/// How long a source port stays diverted. For a local connection, the kernel chooses the listener during the `connect`
/// call, but under load the thread may resume the call late. Once the program has closed the socket, a client may get
/// the same port and reach the program before the switch, so this must not be long.
const DIVERTED_FOR: Duration = Duration::from_millis(100);
/// The largest number of source ports diverted for one generation, which bounds the length of the steering program.
const MAX_DIVERTED: usize = 16;

/// A program's connections to itself.
#[derive(Default)]
pub(super) struct OwnConnections {
    /// Whether the generation is no longer starting. If so, the kernel handles all its connections.
    pub(super) started: bool,
    /// The diverted source ports, and when each was diverted.
    diverted: VecDeque<(Instant, Diversion)>,
}

impl OwnConnections {
    /// Returns how long to wait before [`Self::end_diversions`] has something to do.
    pub(super) fn diverted_for(&self) -> Option<Duration> {
        let (since, _) = self.diverted.front()?;
        // Waiting has a resolution of one millisecond.
        Some(DIVERTED_FOR.saturating_sub(since.elapsed()) + Duration::from_millis(1))
    }

    /// Stops diverting the ports whose time is up. Returns whether there were any.
    pub(super) fn end_diversions(&mut self) -> bool {
        let before = self.diverted.len();
        self.diverted
            .retain(|(since, _)| since.elapsed() < DIVERTED_FOR);
        self.diverted.len() < before
    }

    /// Diverts the source port of a program's socket, by calling `start` with it. Binds the socket to a free port if it
    /// has none.
    pub(super) fn divert(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        start: impl FnOnce(u16) -> io::Result<Diversion>,
    ) -> io::Result<()> {
        let mut from = Endpoint::of(socket)?.address;
        if from.port() == 0 {
            // A socket may be bound to an address but not to a port (`IP_BIND_ADDRESS_NO_PORT`, `ip(7)`).
            if !from.ip().is_unspecified() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            from = match to {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            socket.bind(&from.into())?;
            from = Endpoint::of(socket)?.address;
        }
        let diversion = start(from.port())?;
        self.diverted.push_back((Instant::now(), diversion));
        if self.diverted.len() > MAX_DIVERTED {
            self.diverted.pop_front();
        }
        Ok(())
    }
}

/// Whether the address belongs to this machine: only such addresses can be bound (`ip(7)`).
pub(super) fn is_of_this_machine(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}
