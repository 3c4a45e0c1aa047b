//! TCP sockets of the system: not told here.

use std::io;
use std::net::SocketAddr;

use crate::os::{TcpConnection, TcpListening};

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn tcp_listening(_port: u16) -> io::Result<Vec<TcpListening>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn tcp_connections(_address: SocketAddr) -> io::Result<Vec<TcpConnection>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn tcp_half_open(_address: SocketAddr) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
