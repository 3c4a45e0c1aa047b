use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// One instruction of a classic BPF program (`struct sock_filter`, Linux `Documentation/networking/filter.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions a conditional jump skips when it holds.
    pub jt: u8,
    /// How many it skips when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// What a listening socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Whether it still listens: `shutdown(2)` ends that for every holder of the socket.
    pub listening: bool,
    /// Connections that the kernel completed and nobody has accepted.
    pub waiting: u32,
}

/// The state of a TCP connection (RFC 9293, 3.3.2), as far as it makes a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Open both ways.
    Open,
    /// The other side has closed its half, ours is open (`CLOSE-WAIT`).
    PeerClosed,
    /// Our side has closed its half (`FIN-WAIT-1`, `FIN-WAIT-2`).
    Closed,
    /// Both have (`CLOSING`, `LAST-ACK`).
    BothClosed,
}

/// A TCP connection as the kernel counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// The inode of its socket, 0 while (or after) no process holds it.
    pub inode: u64,
    /// Where it is in its life.
    pub state: TcpState,
    /// The other side.
    pub peer: SocketAddr,
    /// Bytes that arrived and that the process has not read.
    pub unread: u32,
    /// Bytes that the process wrote and the other side has not acknowledged.
    pub unsent: u32,
    /// Bytes that ever arrived, without the mark of the end.
    pub received: u64,
    /// Bytes that were ever sent.
    pub sent: u64,
    /// How long ago data was last sent. Like the others it counts whole kernel ticks: 1 to 10 ms each.
    pub since_sent: Duration,
    /// How long ago data last arrived; before any did, the age of the connection.
    pub since_received: Duration,
    /// How long ago the other side last acknowledged something.
    pub since_acknowledged: Duration,
}

/// A TCP socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpListening {
    /// The inode of its socket.
    pub inode: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`).
    pub only_v6: bool,
    /// The user that it belongs to.
    pub uid: u32,
}

/// An accepted connection of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    /// The inode of its socket, 0 while no process has accepted it.
    pub inode: u64,
    /// Whether the other side has gone away.
    pub peer_gone: bool,
    /// Bytes that arrived and that the process has not read.
    pub unread: u32,
}

/// The process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid.
    pub pid: i32,
    /// The name of its executable, cut to 15 bytes by the kernel.
    pub name: String,
}

/// The inode of an open descriptor: for a socket, what `/proc/PID/fd` shows.
///
/// # Errors
/// What `fstat(2)` reports.
pub fn inode(fd: &impl AsFd) -> io::Result<u64> {
    // Its width differs between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Ok(nix::sys::stat::fstat(fd)?.st_ino as u64)
}

/// Whether both are one socket.
pub(super) fn is_same_socket(one: &impl AsFd, other: &impl AsFd) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    let of = |stat: nix::sys::stat::FileStat| {
        let socket = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits();
        socket.then_some((stat.st_dev, stat.st_ino))
    };
    let identity = |fd: std::os::fd::BorrowedFd<'_>| fstat(fd).ok().and_then(of);
    let known = identity(one.as_fd());
    known.is_some() && known == identity(other.as_fd())
}
