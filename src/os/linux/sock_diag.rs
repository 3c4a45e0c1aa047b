//! TCP sockets of this network namespace (`sock_diag(7)`, `include/uapi/linux/inet_diag.h`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::netlink::{Scope, array_at, ask, attributes, u32_at, u64_at};
use super::reuseport::NOWHERE;
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
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

/// The TCP sockets that listen on `port`, of both families, but for those that were hidden
/// ([`hide`](super::reuseport::hide)).
///
/// # Errors
/// Where the kernel does not answer: `sock_diag` may be left out of it, or a sandbox may refuse netlink.
pub fn tcp_listening(port: u16) -> io::Result<Vec<TcpListening>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(family, port, 1 << LISTEN, 0, |answer| {
            if answer.interface() == NOWHERE {
                return;
            }
            found.push(TcpListening {
                inode: u64::from(answer.inode()),
                address: answer.address(4, 8),
                only_v6: answer.only_v6(),
                uid: answer.uid(),
            });
        })?;
    }
    Ok(found)
}

/// The TCP connections whose own end is `port`, of the family of `address`.
///
/// # Errors
/// As for [`tcp_listening`].
pub fn tcp_connections(address: SocketAddr) -> io::Result<Vec<TcpConnection>> {
    let states = [
        ESTABLISHED,
        FIN_WAIT1,
        FIN_WAIT2,
        CLOSE_WAIT,
        LAST_ACK,
        CLOSING,
    ];
    let states = states.iter().fold(0, |mask, state| mask | 1 << state);
    let mut found = Vec::new();
    let info = 1 << (INET_DIAG_INFO - 1);
    dump(family(address), address.port(), states, info, |answer| {
        found.extend(answer.connection());
    })?;
    Ok(found)
}

/// Whether some handshake with `address` has begun and not ended: which socket's it is the kernel does not tell.
///
/// # Errors
/// As for [`tcp_listening`].
pub fn tcp_half_open(address: SocketAddr) -> io::Result<bool> {
    let mut any = false;
    dump(family(address), address.port(), 1 << SYN_RECV, 0, |_| {
        any = true;
    })?;
    Ok(any)
}

fn family(address: SocketAddr) -> i32 {
    match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

/// Asks for all sockets with this port and one of these states. The kernel itself filters by both
/// (`inet_diag_dump_icsk` in `net/ipv4/inet_diag.c`).
fn dump(
    family: i32,
    port: u16,
    states: u32,
    extensions: u8,
    mut each: impl FnMut(&Answer<'_>),
) -> io::Result<()> {
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, then struct inet_diag_sockid
    let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, extensions, 0];
    request.extend(states.to_ne_bytes());
    request.extend(port.to_be_bytes());
    request.extend([0; 2 + 16 + 16 + 4]);
    request.extend([0xff; 8]);
    ask(&request, Scope::All, |payload| {
        if payload.len() >= Answer::FIXED {
            each(&Answer(payload));
        }
    })
}

/// `struct inet_diag_msg` and what follows it.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    const FIXED: usize = 72;

    fn inode(&self) -> u32 {
        u32_at(self.0, 68)
    }

    /// The number of the interface that it is bound to, 0 if it is bound to none.
    fn interface(&self) -> u32 {
        u32_at(self.0, 40)
    }

    fn uid(&self) -> u32 {
        u32_at(self.0, 64)
    }

    /// Told of every IPv6 socket that listens (`inet_diag_msg_attrs_fill` in `net/ipv4/inet_diag.c`).
    fn only_v6(&self) -> bool {
        let only = attributes(&self.0[Self::FIXED..]).find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY);
        only.is_some_and(|(_, content)| content.first() == Some(&1))
    }

    /// The address of which the port is at one offset and the IP address at another.
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

    /// The counters, from `struct tcp_info`. Whatever the kernel is too old to tell is 0.
    fn connection(&self) -> Option<TcpConnection> {
        let state = self.state()?;
        let info = attributes(&self.0[Self::FIXED..]).find(|(kind, _)| *kind == INET_DIAG_INFO);
        let info = info.map_or(&[][..], |(_, content)| content);
        let age = |offset| Duration::from_millis(u64::from(u32_at(info, offset)));
        // The mark of the end takes one number of the sequence, and the kernel counts it as a byte: it did not
        // carry data (`tcp_rcv_nxt_update` in `net/ipv4/tcp_input.c`).
        let end = match state {
            TcpState::PeerClosed | TcpState::BothClosed => 1,
            TcpState::Open | TcpState::Closed => 0,
        };
        let acked = u64_at(info, 120).unwrap_or(0);
        Some(TcpConnection {
            inode: u64::from(self.inode()),
            state,
            peer: self.address(6, 24),
            unread: u32_at(self.0, 56).saturating_sub(end),
            unsent: u32_at(self.0, 60),
            received: u64_at(info, 128)
                .unwrap_or(0)
                .saturating_sub(u64::from(end)),
            // bytes_sent since Linux 4.19; before, what was acknowledged stands in for it.
            sent: u64_at(info, 200).unwrap_or(acked),
            since_sent: age(44),
            since_received: age(52),
            since_acknowledged: age(56),
        })
    }
}
