//! Fallbacks for every system other than Linux: each function fails as unsupported, returns a safe default, or waits
//! forever.
//!
//! See the Linux versions of these functions for their documentation.

#![allow(missing_docs)]

use std::fs::Metadata;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::{Accepting, Instruction, Queue, TcpConnection, TcpListening, UnixConnection};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn cookie(_: &impl AsFd) -> io::Result<u64> {
    unsupported()
}

pub fn family(_: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

pub fn protocol(_: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

pub fn is_listening(_: &impl AsFd) -> io::Result<bool> {
    unsupported()
}

pub fn steer(_: &impl AsFd, _: &[Instruction]) -> io::Result<()> {
    unsupported()
}

pub fn hide(_: &impl AsFd) -> io::Result<()> {
    unsupported()
}

pub fn tcp_queue(_: &impl AsFd) -> io::Result<Queue> {
    unsupported()
}

pub fn tcp_listening(_: u16) -> io::Result<Vec<TcpListening>> {
    unsupported()
}

pub fn tcp_listening_at(_: SocketAddr) -> io::Result<Vec<TcpListening>> {
    unsupported()
}

pub fn tcp_connections(_: SocketAddr) -> io::Result<Vec<TcpConnection>> {
    unsupported()
}

pub fn tcp_connection(_: &impl AsFd, _: &TcpConnection) -> io::Result<TcpConnection> {
    unsupported()
}

pub fn hide_requests(_: &impl AsFd) -> io::Result<()> {
    unsupported()
}

pub fn hide_heads(_: &impl AsFd) -> io::Result<()> {
    unsupported()
}

pub fn show_requests(_: &impl AsFd) -> io::Result<()> {
    unsupported()
}

pub fn dropped(_: &impl AsFd) -> io::Result<u32> {
    unsupported()
}

pub fn tcp_half_open(_: SocketAddr) -> io::Result<Option<Duration>> {
    unsupported()
}

pub fn unix_queue(_: u64) -> io::Result<Queue> {
    unsupported()
}

pub fn unix_listening(_: &Metadata) -> io::Result<Option<u64>> {
    unsupported()
}

pub fn unix_connections(_: &Path) -> io::Result<Vec<UnixConnection>> {
    unsupported()
}

pub fn is_multipath(_: &impl AsFd) -> bool {
    false
}

/// Always `true`, because these systems have no network namespaces.
pub fn is_of_our_network(_: &impl AsFd) -> bool {
    true
}

pub fn is_of_one_device(_: &impl AsFd) -> bool {
    false
}

pub fn accepting(_pids: &[i32], _sockets: &[u64]) -> Option<Vec<Accepting>> {
    None
}

/// Always `false`, because the answer is unknown.
pub fn is_being_written(_: &Path) -> bool {
    false
}

/// Always `None`, because the answer is unknown.
pub fn child_that_writes(_: (u64, u64)) -> Option<i32> {
    None
}

pub async fn hung_up(_socket: OwnedFd) -> io::Result<()> {
    future::pending().await
}

/// A set of descriptors whose hangups are never reported.
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

/// Interception of system calls, which is not available on these systems.
pub mod seccomp {
    use std::convert::Infallible;
    use std::os::fd::RawFd;
    use std::path::PathBuf;

    use nix::errno::Errno;

    use super::{AsFd, BorrowedFd, Duration, OwnedFd, io, unsupported};
    pub use crate::os::intercept::{Call, FileArgument, Next, Reply, Syscall, Unavailable};

    pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
        unsupported()
    }

    pub fn may_lose_replies() -> bool {
        false
    }

    pub fn descriptor_of(_: i32, _: RawFd) -> io::Result<OwnedFd> {
        unsupported()
    }

    pub fn ignore_shutdown(_: i32, _: &[RawFd], _: bool) -> io::Result<()> {
        unsupported()
    }

    pub fn pidfds(_: &[i32]) -> Vec<OwnedFd> {
        Vec::new()
    }

    pub fn read_memory(_: i32, _: u64, _: usize) -> io::Result<Vec<u8>> {
        unsupported()
    }

    pub fn file_of(_: i32, _: FileArgument) -> io::Result<PathBuf> {
        unsupported()
    }

    pub fn probe() -> Result<(), Unavailable> {
        Err(Unavailable::Unsupported)
    }

    pub fn unavailable(_errno: Errno) -> Unavailable {
        Unavailable::Unsupported
    }

    pub fn install(_channels: &[BorrowedFd<'_>], _writes: bool) -> Result<(), Errno> {
        Ok(())
    }

    #[derive(Debug)]
    pub struct InterceptedCalls(Infallible);

    impl InterceptedCalls {
        pub fn accept(_channel: impl AsFd) -> io::Result<Result<Self, Errno>> {
            unsupported()
        }

        pub fn next(&self, _: &[impl AsFd], _: Option<Duration>) -> io::Result<Next> {
            match self.0 {}
        }

        pub fn is_pending(&self, _call: &Call) -> bool {
            match self.0 {}
        }

        pub fn reply(&self, _id: u64, _reply: Reply) -> nix::Result<()> {
            match self.0 {}
        }
    }
}
