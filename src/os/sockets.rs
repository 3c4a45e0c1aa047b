//! Sockets and related kernel data, with the same types on every system.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::process_tree::status_field;

/// One instruction of a classic BPF program (`struct sock_filter`, Linux `Documentation/networking/filter.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions a conditional jump skips if its condition is true.
    pub jt: u8,
    /// How many instructions a conditional jump skips if its condition is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

impl Instruction {
    /// The code of a jump that compares for equality (`BPF_JMP | BPF_JEQ | BPF_K`).
    pub const JUMP_IF_EQUAL: u16 = 0x15;
    /// The code of a jump that compares for `>=`, without signs (`BPF_JMP | BPF_JGE | BPF_K`).
    pub const JUMP_IF_AT_LEAST: u16 = 0x35;
    /// The code of a jump that tests bits (`BPF_JMP | BPF_JSET | BPF_K`).
    pub const JUMP_IF_SET: u16 = 0x45;
    /// The code that ends the program (`BPF_RET | BPF_K`).
    pub const RETURN: u16 = 0x06;

    /// An instruction that is not a conditional jump.
    pub const fn plain(code: u16, k: u32) -> Self {
        Self {
            code,
            jt: 0,
            jf: 0,
            k,
        }
    }

    /// A jump that depends on whether the loaded value equals `k`.
    pub const fn jump_if_equal(k: u32, jt: u8, jf: u8) -> Self {
        let code = Self::JUMP_IF_EQUAL;
        Self { code, jt, jf, k }
    }

    /// A jump that depends on whether the loaded value is at least `k`.
    pub const fn jump_if_at_least(k: u32, jt: u8, jf: u8) -> Self {
        let code = Self::JUMP_IF_AT_LEAST;
        Self { code, jt, jf, k }
    }
}

/// The accept queue of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Whether the socket is still listening. A `shutdown(2)` call by any holder ends listening for all holders.
    pub listening: bool,
    /// The number of connections that are established but not accepted yet.
    pub waiting: u32,
}

/// The state of a TCP connection (RFC 9293, 3.3.2), reduced to which sides have closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Neither side has closed.
    Open,
    /// The peer has closed (`CLOSE-WAIT`).
    PeerClosed,
    /// Our side has closed (`FIN-WAIT-1`, `FIN-WAIT-2`).
    Closed,
    /// Both sides have closed (`CLOSING`, `LAST-ACK`).
    BothClosed,
}

/// A TCP connection with the kernel's counters. Ages are multiples of a kernel tick, which is 1 to 10 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// The inode of the socket, or 0 while no process holds it.
    pub inode: u64,
    /// Which sides have closed.
    pub state: TcpState,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// Bytes that have arrived but have not been read yet.
    pub unread: u32,
    /// Bytes that have been written but not acknowledged yet.
    pub unsent: u32,
    /// Total bytes received, without the FIN.
    pub received: u64,
    /// Total bytes sent, without retransmissions.
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
    /// The inode of the socket.
    pub inode: u64,
    /// The address that the socket listens on.
    pub address: SocketAddr,
    /// Whether this is an IPv6 socket that does not accept IPv4 connections (`IPV6_V6ONLY`).
    pub only_v6: bool,
    /// The user id of the socket's owner.
    pub uid: u32,
}

/// A unix socket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    /// The inode of the socket, or 0 until the connection is accepted.
    pub inode: u64,
    /// Whether the peer has closed the connection.
    pub peer_gone: bool,
    /// Bytes that have arrived but have not been read yet.
    pub unread: u32,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process's pid.
    pub pid: i32,
    /// The process's name (`proc_pid_comm(5)`), which the kernel truncates to 15 bytes.
    pub name: String,
}

/// Whether a process is waiting for connections on a socket. The variants are ordered from weakest to strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accepting {
    /// Every process could be inspected, and no process is waiting on the socket.
    No,
    /// A process that may be waiting on the socket could not be inspected.
    Unknown,
    /// A process is waiting on the socket.
    Yes,
}

/// The sender of a datagram, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The sender's pid, or 0 if it is outside our pid namespace.
    pub pid: i32,
    /// The sender's user id.
    pub uid: u32,
}

/// A received datagram.
#[derive(Debug)]
pub struct Datagram {
    /// How many bytes of the buffer were filled.
    pub length: usize,
    /// Whether the text was truncated.
    pub truncated: bool,
    /// The sender, if the kernel reported one.
    pub sender: Option<Sender>,
    /// The descriptors sent with the datagram. Each has `CLOEXEC`.
    pub descriptors: Vec<OwnedFd>,
}

/// Whether the thread may bind this port: low ports require a privilege (`ip_unprivileged_port_start`, `ip(7)`). A
/// privilege in another user namespace than ours does not count (`user_namespaces(7)`). Returns `true` if unknown.
pub fn may_bind(thread: i32, port: u16) -> bool {
    /// `CAP_NET_BIND_SERVICE` (`include/uapi/linux/capability.h`).
    const BIND_SERVICE: u32 = 10;
    let unprivileged = sysctl("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    let capabilities = || u64::from_str_radix(&status_field(thread, "CapEff:")?, 16).ok();
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
    let ours = || namespace(&thread.to_string()) == namespace("self");
    i32::from(port) >= unprivileged
        || capabilities().is_none_or(|set| set >> BIND_SERVICE & 1 == 1 && ours())
}

/// Returns the maximum length of an accept queue (`net.core.somaxconn`, `listen(2)`), if the kernel reports it.
pub fn longest_queue() -> Option<i32> {
    sysctl("net/core/somaxconn")
}

fn sysctl(name: &str) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_bind_low_ports() {
        let own = may_bind(nix::unistd::gettid().as_raw(), 1);
        let unprivileged = sysctl("net/ipv4/ip_unprivileged_port_start").unwrap();
        // Ordinary users do not have the capability.
        assert!(own || !nix::unistd::geteuid().is_root() || unprivileged <= 1);
        assert!(
            may_bind(i32::MAX, 1),
            "an unknown thread must be assumed to have the privilege"
        );
        assert!(may_bind(i32::MAX, 65_535));
    }
}
