use std::net::SocketAddr;

use crate::os::{TcpConnection, UnixConnection};

/// A connection that a generation has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The inode of its socket.
    pub inode: u64,
    /// The other side, for TCP.
    pub peer: Option<SocketAddr>,
    /// Bytes that came from the other side, where the kernel counts them: for TCP.
    pub received: Option<u64>,
    /// Bytes that went there, for TCP.
    pub sent: Option<u64>,
}

impl From<&TcpConnection> for Connection {
    fn from(connection: &TcpConnection) -> Self {
        Self {
            inode: connection.inode,
            // A socket for both families sees IPv4 as part of IPv6.
            peer: Some(SocketAddr::new(
                connection.peer.ip().to_canonical(),
                connection.peer.port(),
            )),
            received: Some(connection.received),
            sent: Some(connection.sent),
        }
    }
}

impl From<&UnixConnection> for Connection {
    fn from(connection: &UnixConnection) -> Self {
        Self {
            inode: connection.inode,
            peer: None,
            received: None,
            sent: None,
        }
    }
}
