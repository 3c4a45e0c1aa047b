//! Binding a program's socket so that another of ours can have the address too.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::socket::Transport;

/// `shared` tells that somebody of ours has the address already.
///
/// # Errors
/// What the kernel would answer to the program itself.
pub(super) fn bind(
    socket: &Socket,
    address: SocketAddr,
    transport: Transport,
    shared: bool,
) -> io::Result<()> {
    match (transport, shared) {
        (Transport::Udp, false) => bind_datagrams(socket, address),
        (Transport::Tcp | Transport::Udp, _) => bind_sharing(socket, address, shared),
    }
}

/// Binds it alone, whatever the program wants; from then on others of ours may have the address too. Where one has it
/// already, it has to be shared from the beginning.
fn bind_sharing(socket: &Socket, address: SocketAddr, shared: bool) -> io::Result<()> {
    let before = socket.reuse_port()?;
    socket.set_reuse_port(shared)?;
    let bound = SockRef::from(socket).bind(&address.into());
    match bound {
        Ok(()) => socket.set_reuse_port(true),
        Err(error) => {
            // As if nothing had happened.
            let _ = socket.set_reuse_port(before);
            Err(error)
        }
    }
}

/// Datagrams have no group unless the first socket shares from the beginning (`reuseport_attach_prog` in
/// `net/core/sock_reuseport.c`), and then the kernel does not tell of another who has the address: so one of ours asks
/// for it alone before.
fn bind_datagrams(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let alone = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        alone.set_only_v6(socket.only_v6()?)?;
    }
    alone.bind(&address.into())?;
    drop(alone);
    bind_sharing(socket, address, true)
}
