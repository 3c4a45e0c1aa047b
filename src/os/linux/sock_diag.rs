//! The TCP sockets of this network namespace (`sock_diag(7)`, `include/uapi/linux/inet_diag.h`).
//!
//! Every function fails if the kernel does not answer: it may be built without `sock_diag`, or a sandbox may refuse
//! netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::netlink::{Scope, array_at, attribute, query, u32_at, u64_at};
use super::socket_options::NO_INTERFACE;
use crate::os::{TcpConnection, TcpListening, TcpState};

const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;

// `include/net/tcp_states.h`
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
pub(super) const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

const CONNECTED: [u8; 6] = [
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    CLOSE_WAIT,
    LAST_ACK,
    CLOSING,
];

/// How long the kernel waits for the last packet of a handshake before it sends its own again.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// The TCP sockets of both families that listen on `port`, without those that are hidden
/// ([`hide`](super::socket_options::hide)).
pub fn tcp_listening(port: u16) -> io::Result<Vec<TcpListening>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(family, port, &[LISTEN], 0, |socket| {
            if socket.interface() != NO_INTERFACE {
                found.push(TcpListening {
                    inode: u64::from(socket.inode()),
                    address: socket.address(4, 8),
                    only_v6: socket.only_v6(),
                    uid: socket.uid(),
                });
            }
        })?;
    }
    Ok(found)
}

/// The TCP connections with local port `address.port()`, of the family of `address`.
pub fn tcp_connections(address: SocketAddr) -> io::Result<Vec<TcpConnection>> {
    let mut found = Vec::new();
    let info = 1 << (INET_DIAG_INFO - 1);
    dump(
        family(address),
        address.port(),
        &CONNECTED,
        info,
        |socket| {
            found.extend(socket.connection());
        },
    )?;
    Ok(found)
}

/// The age of the oldest unfinished handshake with `address`. The kernel does not report which listener it belongs to.
pub fn tcp_half_open(address: SocketAddr) -> io::Result<Option<Duration>> {
    let mut oldest = None;
    dump(family(address), address.port(), &[SYN_RECV], 0, |socket| {
        oldest = oldest.max(Some(socket.handshake_age()));
    })?;
    Ok(oldest)
}

fn family(address: SocketAddr) -> i32 {
    match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

/// Requests all sockets with this local port in one of these states. The kernel filters by both
/// (`inet_diag_dump_icsk` in `net/ipv4/inet_diag.c`).
fn dump(
    family: i32,
    port: u16,
    states: &[u8],
    extensions: u8,
    mut each: impl FnMut(&Socket<'_>),
) -> io::Result<()> {
    let states: u32 = states.iter().fold(0, |mask, state| mask | 1 << state);
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, then struct inet_diag_sockid
    let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, extensions, 0];
    request.extend(states.to_ne_bytes());
    request.extend(port.to_be_bytes());
    request.extend([0; 2 + 16 + 16 + 4]);
    request.extend([0xff; 8]);
    query(&request, Scope::All, |payload| {
        if payload.len() >= Socket::FIXED {
            each(&Socket(payload));
        }
    })
}

/// `struct inet_diag_msg` and the attributes that follow it.
struct Socket<'a>(&'a [u8]);

impl Socket<'_> {
    const FIXED: usize = 72;

    fn attribute(&self, kind: u16) -> Option<&[u8]> {
        attribute(&self.0[Self::FIXED..], kind)
    }

    fn inode(&self) -> u32 {
        u32_at(self.0, 68)
    }

    /// The index of the interface that it is bound to; 0 if none.
    fn interface(&self) -> u32 {
        u32_at(self.0, 40)
    }

    /// Until the kernel sends its answer to a SYN again, which is after one second (`TCP_TIMEOUT_INIT`), the remaining
    /// time of the timer shows the age (`inet_req_diag_fill` in `net/ipv4/inet_diag.c`).
    fn handshake_age(&self) -> Duration {
        let (retransmitted, remaining) = (self.0[3] > 0, u32_at(self.0, 52));
        match FIRST_TIMEOUT.checked_sub(Duration::from_millis(remaining.into())) {
            Some(age) if !retransmitted => age,
            Some(_) | None => Duration::MAX,
        }
    }

    fn uid(&self) -> u32 {
        u32_at(self.0, 64)
    }

    /// Reported for every listening IPv6 socket (`inet_diag_msg_attrs_fill` in `net/ipv4/inet_diag.c`).
    fn only_v6(&self) -> bool {
        self.attribute(INET_DIAG_SKV6ONLY)
            .is_some_and(|content| content.first() == Some(&1))
    }

    /// The address with the port and the IP address at these offsets.
    fn address(&self, port: usize, ip: usize) -> SocketAddr {
        let port = array_at(self.0, port).map_or(0, u16::from_be_bytes);
        let ip = if i32::from(self.0[0]) == libc::AF_INET {
            IpAddr::from(array_at::<4>(self.0, ip).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from))
        } else {
            IpAddr::from(array_at::<16>(self.0, ip).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from))
        };
        SocketAddr::new(ip, port)
    }

    fn state(&self) -> Option<TcpState> {
        match self.0[1] {
            ESTABLISHED => Some(TcpState::Open),
            CLOSE_WAIT => Some(TcpState::PeerClosed),
            FIN_WAIT1 | FIN_WAIT2 => Some(TcpState::Closed),
            CLOSING | LAST_ACK => Some(TcpState::BothClosed),
            _ => None,
        }
    }

    /// Its counters, from `struct tcp_info`. Counters that the kernel is too old to report are 0.
    fn connection(&self) -> Option<TcpConnection> {
        let state = self.state()?;
        let info = self.attribute(INET_DIAG_INFO).unwrap_or_default();
        let age = |offset| Duration::from_millis(u64::from(u32_at(info, offset)));
        // A received FIN takes one sequence number, and the kernel counts it as a byte although it carries no data
        // (`tcp_rcv_nxt_update` in `net/ipv4/tcp_input.c`).
        let fin = match state {
            TcpState::PeerClosed | TcpState::BothClosed => 1,
            TcpState::Open | TcpState::Closed => 0,
        };
        let acked = u64_at(info, 120).unwrap_or(0);
        let received = u64_at(info, 128).unwrap_or(0);
        Some(TcpConnection {
            inode: u64::from(self.inode()),
            state,
            peer: self.address(6, 24),
            unread: u32_at(self.0, 56).saturating_sub(fin),
            unsent: u32_at(self.0, 60),
            received: received.saturating_sub(u64::from(fin)),
            // `tcpi_bytes_sent` exists since Linux 4.19; older kernels report only the acknowledged bytes.
            sent: u64_at(info, 200).unwrap_or(acked),
            since_sent: age(44),
            since_received: age(52),
            since_acknowledged: age(56),
        })
    }
}
