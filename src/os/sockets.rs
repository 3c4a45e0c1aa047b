//! Sockets as the kernel describes them, on every system.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::stat::{SFlag, fstat};

/// One instruction of a classic BPF program (`struct sock_filter`, Linux `Documentation/networking/filter.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions a conditional jump skips if it holds.
    pub jt: u8,
    /// How many it skips otherwise.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The state of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Whether it still listens: `shutdown(2)` ends that for every holder of the socket.
    pub listening: bool,
    /// Connections that are complete and not yet accepted.
    pub waiting: u32,
}

/// The state of a TCP connection (RFC 9293, 3.3.2), reduced to who has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Neither side.
    Open,
    /// The peer (`CLOSE-WAIT`).
    PeerClosed,
    /// Our side (`FIN-WAIT-1`, `FIN-WAIT-2`).
    Closed,
    /// Both (`CLOSING`, `LAST-ACK`).
    BothClosed,
}

/// A TCP connection with the kernel's counters. Ages are multiples of a kernel tick, 1 to 10 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// The inode of its socket; 0 while no process holds it.
    pub inode: u64,
    /// Which sides have closed.
    pub state: TcpState,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// Bytes that arrived and were not read yet.
    pub unread: u32,
    /// Bytes that were written and not acknowledged yet.
    pub unsent: u32,
    /// Total bytes received, without the FIN.
    pub received: u64,
    /// Total bytes sent.
    pub sent: u64,
    /// Time since data was last sent.
    pub since_sent: Duration,
    /// Time since data last arrived; before the first data, the age of the connection.
    pub since_received: Duration,
    /// Time since the peer last acknowledged data.
    pub since_acknowledged: Duration,
}

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpListening {
    /// The inode of its socket.
    pub inode: u64,
    /// The address it listens on.
    pub address: SocketAddr,
    /// Whether an IPv6 socket does not accept IPv4 connections (`IPV6_V6ONLY`).
    pub only_v6: bool,
    /// The user that owns it.
    pub uid: u32,
}

/// An accepted connection of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    /// The inode of its socket; 0 while it is not accepted.
    pub inode: u64,
    /// Whether the peer has closed.
    pub peer_gone: bool,
    /// Bytes that arrived and were not read yet.
    pub unread: u32,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid.
    pub pid: i32,
    /// The name of its executable, which the kernel cuts to 15 bytes.
    pub name: String,
}

/// Whether a process waits for connections on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// A process waits on it.
    Yes,
    /// Every process could be inspected, and none waits on it.
    No,
    /// A process that may wait on it could not be inspected.
    Unknown,
}

/// The sender of a datagram, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its pid; 0 if it is in another pid namespace.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// A received datagram.
#[derive(Debug)]
pub struct Datagram {
    /// How much of the buffer was filled.
    pub length: usize,
    /// Whether the text, the descriptors or the credentials were truncated.
    pub truncated: bool,
    /// Its sender, if the kernel reported it.
    pub sender: Option<Sender>,
    /// The descriptors that came with it, with `CLOEXEC`.
    pub descriptors: Vec<OwnedFd>,
}

/// The inode of an open descriptor: for a socket, the number in `/proc/PID/fd`.
pub fn inode(fd: &impl AsFd) -> io::Result<u64> {
    // Its width differs between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Ok(fstat(fd)?.st_ino as u64)
}

/// Whether both descriptors are sockets, and the same one.
pub(super) fn is_same_socket(one: &impl AsFd, other: &impl AsFd) -> bool {
    fn identity(fd: &impl AsFd) -> Option<(nix::libc::dev_t, nix::libc::ino_t)> {
        let stat = fstat(fd).ok()?;
        let is_socket = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits();
        is_socket.then_some((stat.st_dev, stat.st_ino))
    }
    let known = identity(one);
    known.is_some() && known == identity(other)
}
