//! Lets a starting program's connections to its own address reach its own listener.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::Socket;

use super::{Caller, InterceptedProgram};
use crate::intercept::decision::{Binding, OnConnect, destination, on_connect};
use crate::os::seccomp::Reply;
use crate::socket::{Endpoint, Transport};

impl InterceptedProgram {
    /// Refuses the connection, or diverts it to the program's own listener. If anything fails, the kernel handles the
    /// call unchanged. Another thread may change the address after hotrun has read it, but can deceive only its own
    /// program.
    pub(super) fn connect(&mut self, caller: Caller<'_>, fd: i32, address: SocketAddr) -> Reply {
        let to = destination(address);
        let mut reached = self.adopter.reached(self.id, to.into());
        if reached.iter().flatten().any(|one| one.listens) {
            self.forget_closed();
            reached = self.adopter.reached(self.id, to.into());
        }
        let Some(reached) = reached else {
            self.started = true;
            return Reply::Continue;
        };
        if reached.is_empty() || !is_of_this_machine(to) {
            return Reply::Continue;
        }
        let Ok(socket) = caller.socket(fd) else {
            return Reply::Continue;
        };
        let tcp = |binding: Binding| binding.endpoint.transport == Transport::Tcp;
        if !matches!(Binding::of(&socket, address), Ok(Some(binding)) if tcp(binding)) {
            return Reply::Continue;
        }
        let decision = on_connect(to, &reached);
        tracing::debug!("gen {}: connect to {to}: {decision:?}", self.id);
        match decision {
            OnConnect::PassOn => Reply::Continue,
            OnConnect::Refused => Reply::Errno(libc::ECONNREFUSED),
            OnConnect::ToItself(at) => {
                let port = source_port(&socket, address);
                let diverted = port.and_then(|port| self.adopter.divert(at, port, self.id));
                if let Err(error) = diverted {
                    tracing::debug!("gen {}: not diverted: {error}", self.id);
                }
                Reply::Continue
            }
        }
    }
}

/// Returns the socket's source port. Binds the socket to a free port if it has none.
fn source_port(socket: &Socket, to: SocketAddr) -> io::Result<u16> {
    let from = Endpoint::of(socket)?.address;
    if from.port() != 0 {
        return Ok(from.port());
    }
    // A socket may be bound to an address but not to a port (`IP_BIND_ADDRESS_NO_PORT`, `ip(7)`).
    if !from.ip().is_unspecified() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    socket.bind(&any.into())?;
    Ok(Endpoint::of(socket)?.address.port())
}

/// Whether the address belongs to this machine: only such addresses can be bound (`ip(7)`).
fn is_of_this_machine(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}
