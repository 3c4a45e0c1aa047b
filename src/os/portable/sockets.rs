//! Sockets: no steering, and no view of the sockets of the system.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::MsgFlags;

/// Whether sockets of one address can be steered between. No call for it is known here.
pub const STEERING: bool = false;

/// Not every system has a flag for it: the receiver sets `CLOEXEC` afterwards.
pub const RECEIVE_CLOSED_ON_EXEC: MsgFlags = MsgFlags::empty();

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn cookie(_socket: &impl AsFd) -> io::Result<u64> {
    unsupported()
}

pub fn family(_socket: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

pub fn protocol(_socket: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

pub fn is_listening(_socket: &impl AsFd) -> io::Result<bool> {
    unsupported()
}

pub fn is_multipath(_socket: &impl AsFd) -> bool {
    false
}

/// Always: there is only one network.
pub fn is_of_our_network(_socket: &impl AsFd) -> bool {
    true
}

pub fn is_of_one_device(_socket: &impl AsFd) -> bool {
    false
}

/// Whether the two descriptors are duplicates of each other. Only sockets are recognized.
pub fn is_duplicate(one: &impl AsFd, other: &impl AsFd) -> bool {
    crate::os::sockets::is_same_socket(one, other)
}

/// Steering between sockets.
pub mod reuseport {
    use super::{AsFd, io, unsupported};
    use crate::os::Instruction;

    pub fn steer(_member: &impl AsFd, _program: &[Instruction]) -> io::Result<()> {
        unsupported()
    }

    pub fn hide(_socket: &impl AsFd) -> io::Result<()> {
        unsupported()
    }

    /// Unknown: `listen(2)` cuts what it is given.
    pub fn longest_queue() -> Option<i32> {
        None
    }
}

/// Hangups of descriptors, which are never noticed.
pub mod hangup {
    use std::future;
    use std::os::fd::OwnedFd;

    use super::{AsFd, io};

    pub async fn hung_up(_socket: OwnedFd) -> io::Result<()> {
        future::pending().await
    }

    /// Descriptors whose hangups are never noticed.
    #[derive(Debug)]
    pub struct HangupSet;

    impl HangupSet {
        pub fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub fn watch(&self, _fd: impl AsFd, _key: u64) -> io::Result<()> {
            Ok(())
        }

        pub fn forget(&self, _fd: impl AsFd) {}

        pub async fn next(&self) -> u64 {
            future::pending().await
        }
    }
}

/// The TCP sockets of the system.
pub mod sock_diag {
    use std::net::SocketAddr;

    use super::{io, unsupported};
    use crate::os::{TcpConnection, TcpListening};

    pub fn tcp_listening(_port: u16) -> io::Result<Vec<TcpListening>> {
        unsupported()
    }

    pub fn tcp_connections(_address: SocketAddr) -> io::Result<Vec<TcpConnection>> {
        unsupported()
    }

    pub fn tcp_half_open(_address: SocketAddr) -> io::Result<Option<Duration>> {
        unsupported()
    }
}

/// The accept queue of a TCP socket.
pub mod tcp_info {
    use super::{AsFd, io, unsupported};
    use crate::os::Queue;

    pub fn queue(_socket: &impl AsFd) -> io::Result<Queue> {
        unsupported()
    }
}

/// The unix sockets of the system.
pub mod unix_diag {
    use std::fs::Metadata;
    use std::path::Path;

    use super::{io, unsupported};
    use crate::os::{Queue, UnixConnection};

    pub fn unix_queue(_inode: u64) -> io::Result<Queue> {
        unsupported()
    }

    pub fn unix_listening(_file: &Metadata) -> io::Result<Option<u64>> {
        unsupported()
    }

    pub fn unix_connections(_name: &Path) -> io::Result<Vec<UnixConnection>> {
        unsupported()
    }
}

/// The processes that hold a socket.
pub mod socket_holders {
    use std::collections::HashMap;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;

    use super::{io, unsupported};
    use crate::os::Holder;

    pub fn socket_holder(_inode: u64) -> Option<Holder> {
        None
    }

    pub fn sockets_of(
        _pid: i32,
        _knows: impl Fn(u32) -> Option<u64>,
    ) -> io::Result<HashMap<u32, u64>> {
        unsupported()
    }

    /// Always [`io::ErrorKind::InvalidInput`]: there is no such path here.
    pub fn short_path(_directory: &impl AsRawFd, _name: &str) -> io::Result<PathBuf> {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path is too long for a unix socket",
        ))
    }

    /// Unknown. `true`, so that no file counts as left over.
    pub fn process_exists(_pid: u32) -> bool {
        true
    }
}
