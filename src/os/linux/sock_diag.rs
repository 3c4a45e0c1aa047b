//! The TCP sockets of this network namespace (`sock_diag(7)`, `include/uapi/linux/inet_diag.h`).
//!
//! Every function fails if the kernel refuses the request: it may have been built without `sock_diag`, or a sandbox may
//! forbid netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;

use super::netlink::{DiagResponse, array_at, query, u32_at};
use super::socket_options::NO_INTERFACE;
use crate::os::{Queue, TcpConnection, TcpListening, TcpState};

const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// The size of `struct inet_diag_msg`.
const FIXED: usize = 72;

// `include/net/tcp_states.h`
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

const CONNECTED: [u8; 6] = [
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    CLOSE_WAIT,
    LAST_ACK,
    CLOSING,
];

/// How long the kernel waits for the last packet of a handshake before it retransmits its SYN-ACK.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the TCP sockets of both families that listen on `port`, except the hidden ones
/// ([`hide`](super::socket_options::hide)).
pub fn tcp_listening(port: u16) -> io::Result<Vec<TcpListening>> {
    let mut found = Vec::new();
    for any in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        dump(SocketAddr::new(any, port), &[LISTEN], 0, &[], |socket| {
            found.extend(listening(socket));
        })?;
    }
    Ok(found)
}

/// Like [`tcp_listening`], but returns only sockets bound to exactly this address. With thousands of listeners on one
/// port, this takes a fraction of the time, because the kernel describes only the sockets that match.
pub fn tcp_listening_at(at: SocketAddr) -> io::Result<Vec<TcpListening>> {
    let mut found = Vec::new();
    dump(at, &[LISTEN], 0, &only_from(at.ip()), |socket| {
        found.extend(listening(socket));
    })?;
    Ok(found)
}

fn listening(socket: &DiagResponse<'_>) -> Option<TcpListening> {
    // Offset 40 holds the interface that the socket is bound to.
    if socket.u32(40) == NO_INTERFACE {
        return None;
    }
    // The kernel reports this attribute for every listening IPv6 socket (`inet_diag_msg_attrs_fill` in
    // `net/ipv4/inet_diag.c`).
    let only_v6 = socket.attribute(INET_DIAG_SKV6ONLY);
    Some(TcpListening {
        inode: socket.u32(68).into(),
        address: address(socket.fixed, 4, 8),
        only_v6: only_v6.is_some_and(|content| content.first() == Some(&1)),
        uid: socket.u32(64),
    })
}

/// Builds an attribute that restricts a dump to one local address: a program of one `struct inet_diag_bc_op`, followed
/// by its `struct inet_diag_hostcond`. It jumps past the end unless the address matches (`inet_diag_bc_run` in
/// `net/ipv4/inet_diag.c`).
fn only_from(ip: IpAddr) -> Vec<u8> {
    const REQ_BYTECODE: u16 = 1;
    const S_COND: u8 = 7;
    const ANY_PORT: i32 = -1;
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let length = 12 + octets.len() as u8;
    let mut attribute = (u16::from(length) + 4).to_ne_bytes().to_vec();
    attribute.extend(REQ_BYTECODE.to_ne_bytes());
    attribute.extend([S_COND, length]);
    attribute.extend((u16::from(length) + 4).to_ne_bytes());
    attribute.extend([family as u8, octets.len() as u8 * 8, 0, 0]);
    attribute.extend(ANY_PORT.to_ne_bytes());
    attribute.extend(octets);
    attribute
}

/// Returns the TCP connections in the family of `address` whose local port is `address.port()`, or all in that family
/// if the port is 0.
pub fn tcp_connections(address: SocketAddr) -> io::Result<Vec<TcpConnection>> {
    let mut found = Vec::new();
    let info = 1 << (INET_DIAG_INFO - 1);
    dump(address, &CONNECTED, info, &[], |socket| {
        found.extend(connection(socket));
    })?;
    Ok(found)
}

/// Returns the age of the oldest unfinished handshake on the port (any port if it is 0) and in the family of `address`.
/// The kernel does not report which listener a handshake belongs to.
pub fn tcp_half_open(address: SocketAddr) -> io::Result<Option<Duration>> {
    let mut oldest = None;
    dump(address, &[SYN_RECV], 0, &[], |socket| {
        oldest = oldest.max(Some(handshake_age(socket)));
    })?;
    Ok(oldest)
}

/// Requests all sockets in these states that have the family and local port of `address`. The kernel filters by state,
/// family, port and `attribute` (`inet_diag_dump_icsk` in `net/ipv4/inet_diag.c`). Port 0 means all ports.
fn dump(
    address: SocketAddr,
    states: &[u8],
    extensions: u8,
    attribute: &[u8],
    each: impl FnMut(&DiagResponse<'_>),
) -> io::Result<()> {
    let family = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let states: u32 = states.iter().fold(0, |mask, state| mask | 1 << state);
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, then struct inet_diag_sockid
    let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, extensions, 0];
    request.extend(states.to_ne_bytes());
    request.extend(address.port().to_be_bytes());
    request.extend([0; 2 + 16 + 16 + 4]);
    request.extend([0xff; 8]);
    request.extend(attribute);
    query(&request, true, FIXED, each)
}

/// Computes the age of a handshake. The kernel retransmits its SYN-ACK after one second (`TCP_TIMEOUT_INIT`). Until
/// then, the time left on the retransmission timer shows the age (`inet_req_diag_fill` in `net/ipv4/inet_diag.c`);
/// afterwards, the age is unknown and counts as [`Duration::MAX`].
fn handshake_age(socket: &DiagResponse<'_>) -> Duration {
    let (retransmitted, remaining) = (socket.fixed[3] > 0, socket.u32(52));
    match FIRST_TIMEOUT.checked_sub(Duration::from_millis(remaining.into())) {
        Some(age) if !retransmitted => age,
        Some(_) | None => Duration::MAX,
    }
}

/// Reads an address whose port and IP address are at these offsets of `struct inet_diag_msg`.
fn address(fixed: &[u8], port: usize, ip: usize) -> SocketAddr {
    let port = array_at(fixed, port).map_or(0, u16::from_be_bytes);
    let ip = if i32::from(fixed[0]) == libc::AF_INET {
        IpAddr::from(array_at::<4>(fixed, ip).unwrap_or_default())
    } else {
        IpAddr::from(array_at::<16>(fixed, ip).unwrap_or_default())
    };
    SocketAddr::new(ip, port)
}

/// Reads a connection and its counters.
fn connection(socket: &DiagResponse<'_>) -> Option<TcpConnection> {
    let info = socket.attribute(INET_DIAG_INFO).unwrap_or_default();
    let (inode, peer) = (socket.u32(68).into(), address(socket.fixed, 6, 24));
    let counted = counted(socket.fixed[1], info, inode, peer)?;
    // A received FIN uses one sequence number, so the kernel counts it as a byte although it carries no data.
    let fin = u32::from(has_fin(counted.state));
    Some(TcpConnection {
        unread: socket.u32(56).saturating_sub(fin),
        unsent: socket.u32(60),
        ..counted
    })
}

/// Returns the current state and counters of a connection that was reported as `known`.
///
/// # Errors
/// [`io::ErrorKind::NotConnected`] if the connection has ended.
pub fn tcp_connection(socket: &impl AsFd, known: &TcpConnection) -> io::Result<TcpConnection> {
    let fd = socket.as_fd().as_raw_fd();
    let info = tcp_info(socket)?;
    let counted = counted(
        info.first().copied().unwrap_or(0),
        &info,
        known.inode,
        known.peer,
    );
    let (mut unread, mut unsent) = (0, 0);
    // SAFETY: the call writes the integer.
    unsafe { bytes_unread(fd, &raw mut unread) }?;
    // SAFETY: the call writes the integer.
    unsafe { bytes_unsent(fd, &raw mut unsent) }?;
    let (unread, unsent) = (unread.cast_unsigned(), unsent.cast_unsigned());
    let counted = counted.ok_or(io::ErrorKind::NotConnected)?;
    Ok(TcpConnection {
        unread,
        unsent,
        ..counted
    })
}

// `tcp(7)`. The kernel does not count a FIN as unread here.
nix::ioctl_read_bad!(bytes_unread, libc::FIONREAD, libc::c_int);
nix::ioctl_read_bad!(bytes_unsent, libc::TIOCOUTQ, libc::c_int);

/// Whether the peer has sent its FIN.
const fn has_fin(state: TcpState) -> bool {
    match state {
        TcpState::PeerClosed | TcpState::BothClosed => true,
        TcpState::Open | TcpState::Closed => false,
    }
}

/// Reads the counters from `struct tcp_info`. Counters that an old kernel does not report are 0.
fn counted(state: u8, info: &[u8], inode: u64, peer: SocketAddr) -> Option<TcpConnection> {
    let state = match state {
        ESTABLISHED => TcpState::Open,
        CLOSE_WAIT => TcpState::PeerClosed,
        FIN_WAIT1 | FIN_WAIT2 => TcpState::Closed,
        CLOSING | LAST_ACK => TcpState::BothClosed,
        _ => return None,
    };
    let age = |offset| Duration::from_millis(u32_at(info, offset).into());
    let count = |offset| array_at(info, offset).map(u64::from_ne_bytes);
    // See `tcp_rcv_nxt_update` in `net/ipv4/tcp_input.c`.
    let fin = u64::from(has_fin(state));
    Some(TcpConnection {
        inode,
        state,
        peer,
        unread: 0,
        unsent: 0,
        received: count(128).unwrap_or(0).saturating_sub(fin),
        // `tcpi_bytes_sent` includes `tcpi_bytes_retrans`. Kernels before 4.19 have neither, and report only the
        // acknowledged bytes.
        sent: count(200)
            .zip(count(208))
            .map(|(all, again)| all - again)
            .or_else(|| count(120))
            .unwrap_or(0),
        since_sent: age(44),
        since_received: age(52),
        since_acknowledged: age(56),
    })
}

/// Returns the accept queue of a listening TCP socket. For a listener, the kernel reports the queue length as
/// `tcpi_unacked` (`tcp_get_info` in `net/ipv4/tcp.c`).
pub fn tcp_queue(socket: &impl AsFd) -> io::Result<Queue> {
    let info = tcp_info(socket)?;
    Ok(Queue {
        listening: info.first() == Some(&LISTEN),
        waiting: u32_at(&info, 24),
    })
}

/// Returns `struct tcp_info` (`TCP_INFO`, `tcp(7)`), as far as this kernel knows it.
fn tcp_info(socket: &impl AsFd) -> io::Result<Vec<u8>> {
    let mut info = vec![0; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the pointers refer to `length` writable bytes and to `length` itself, and both live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    info.truncate(length as usize);
    Ok(info)
}
