//! Addresses of IP sockets, compared as the kernel compares them, and the processes that use them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Socket, Type};

use crate::os::socket_holders::socket_holder;
use crate::os::{Holder, TcpListening, tcp_listening, tcp_listening_at};

/// The transport protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The socket listens for connections.
    Tcp,
    /// The socket receives datagrams. It is bound, but does not listen.
    Udp,
}

/// The properties of a socket that decide which reuse-port group it belongs to (`inet_reuseport_add_sock` in
/// `net/ipv4/inet_hashtables.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address, in the socket's address family.
    pub address: SocketAddr,
    /// Whether an IPv6 socket excludes IPv4 (`IPV6_V6ONLY`, `ipv6(7)`).
    pub only_v6: bool,
    /// The transport protocol. TCP and UDP sockets do not conflict.
    pub transport: Transport,
}

impl Endpoint {
    /// Returns the endpoint that a socket is bound to. Fails with [`io::ErrorKind::InvalidInput`] if it is not an IP
    /// socket.
    pub fn of(socket: &Socket) -> io::Result<Self> {
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            address,
            only_v6: address.is_ipv6() && socket.only_v6()?,
            transport: match socket.r#type()? {
                Type::DGRAM => Transport::Udp,
                _ => Transport::Tcp,
            },
        })
    }

    /// Whether a socket bound to one endpoint prevents binding the other: the ports are the same, and one address
    /// covers the other. `::` also covers IPv4, unless it is IPv6-only.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.canonical(), other.canonical());
        self.transport == other.transport
            && self.address.port() == other.address.port()
            && (a == b || self.covers(b) || other.covers(a))
    }

    /// Whether every client of this endpoint would reach one of the others if no process listened here.
    pub fn is_covered_by(&self, others: &[Self]) -> bool {
        let same = |other: &&Self| {
            self.transport == other.transport && self.address.port() == other.address.port()
        };
        let covered = |ip: IpAddr| {
            let mut others = others.iter().filter(same);
            others.any(|other| other.canonical() == ip || other.covers(ip))
        };
        let own = self.canonical();
        let v4_too = own == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !self.only_v6;
        covered(own) && (!v4_too || covered(Ipv4Addr::UNSPECIFIED.into()))
    }

    /// Returns the IP addresses of those of the others that the kernel prefers for clients that might also reach this
    /// endpoint (`compute_score` in `net/ipv4/inet_hashtables.c`). `0.0.0.0` stands for all IPv4 addresses.
    pub(super) fn preferred(&self, others: &[Self]) -> Vec<IpAddr> {
        let own = self.canonical();
        if !own.is_unspecified() {
            return Vec::new();
        }
        let preferred = others.iter().filter(|other| {
            let ip = other.canonical();
            // Between two IPv6 sockets on all addresses, the kernel's choice does not depend on what they cover.
            let narrower = !ip.is_unspecified() || other.address.is_ipv4();
            self.overlaps(other) && self.covers(ip) && own != ip && narrower
        });
        preferred.map(Self::canonical).collect()
    }

    /// Whether this endpoint might cover others. A program may have thousands of endpoints that cannot, and comparing
    /// each of them with every other one would take seconds.
    pub(super) fn may_cover_others(&self) -> bool {
        match self.address.ip() {
            IpAddr::V4(ip) => ip.is_unspecified(),
            IpAddr::V6(_) => true,
        }
    }

    fn canonical(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    fn covers(&self, ip: IpAddr) -> bool {
        match self.canonical() {
            IpAddr::V4(own) => own.is_unspecified() && ip.is_ipv4(),
            IpAddr::V6(own) => own.is_unspecified() && (ip.is_ipv6() || !self.only_v6),
        }
    }
}

/// Finds the listeners of other processes (`sock_diag(7)`). For each query, the kernel walks over all of its sockets,
/// which takes milliseconds on a busy machine.
impl Endpoint {
    /// Finds a listener, other than `ours`, that prevents this endpoint from being bound.
    pub(super) fn occupant(self, ours: &[u64]) -> Option<Occupant> {
        let found = tcp_listening(self.address.port());
        first_other(found, ours, |other| other.overlaps(&self))
    }

    /// Finds a listener, other than `ours`, that shares exactly this address through `SO_REUSEPORT`. The kernel allows
    /// any process of the same user to do so.
    pub(super) fn stranger(self, ours: &[u64]) -> Option<Occupant> {
        let found = tcp_listening_at(self.address);
        first_other(found, ours, |other| is_same(other, self))
    }
}

fn first_other(
    found: io::Result<Vec<TcpListening>>,
    ours: &[u64],
    fits: impl Fn(Endpoint) -> bool,
) -> Option<Occupant> {
    let mut others = found.unwrap_or_default().into_iter();
    let other = others.find(|one| {
        let endpoint = Endpoint {
            only_v6: one.only_v6,
            ..one.address.into()
        };
        !ours.contains(&one.inode) && fits(endpoint)
    })?;
    Some(Occupant {
        inode: other.inode,
        uid: Some(other.uid),
    })
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            only_v6: false,
            transport: Transport::Tcp,
        }
    }
}

/// The listener of another process.
pub(super) struct Occupant {
    pub(super) inode: u64,
    /// The user id of the socket's owner, if the system reports it.
    pub(super) uid: Option<u32>,
}

impl Occupant {
    /// Finds the process, if we may inspect it. This takes a long time.
    pub(super) fn holder(&self) -> Option<Holder> {
        socket_holder(self.inode)
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.holder(), self.uid) {
            (Some(Holder { pid, name }), _) => write!(f, "`{name}` (pid {pid})"),
            (None, Some(uid)) => write!(f, "a process with user id {uid}"),
            (None, None) => f.write_str("another process"),
        }
    }
}

/// Whether two endpoints have the same address. Dual-stack `::` and IPv6-only `::` are different addresses
/// (`ipv6_rcv_saddr_equal` in `net/ipv4/inet_connection_sock.c`).
fn is_same(a: Endpoint, b: Endpoint) -> bool {
    let key = |one: Endpoint| (one.address.ip(), one.address.port(), one.only_v6);
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        let (text, only_v6) = match text.strip_prefix("only ") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        Endpoint {
            only_v6,
            ..Endpoint::from(text.parse::<SocketAddr>().unwrap())
        }
    }

    #[test]
    fn addresses_overlap_if_one_covers_the_other() {
        let check = |a: &str, b: &str| {
            let (a, b) = (endpoint(a), endpoint(b));
            assert_eq!(a.overlaps(&b), b.overlaps(&a), "{a:?} {b:?}");
            a.overlaps(&b)
        };
        assert!(check("127.0.0.1:1", "127.0.0.1:1"));
        assert!(check("0.0.0.0:1", "127.0.0.1:1"));
        assert!(check("[::]:1", "127.0.0.1:1"));
        assert!(check("[::]:1", "0.0.0.0:1"));
        assert!(check("[::]:1", "[::1]:1"));
        assert!(check("[::ffff:127.0.0.1]:1", "127.0.0.1:1"));
        assert!(check("only [::]:1", "[::1]:1"));
        assert!(!check("only [::]:1", "127.0.0.1:1"));
        assert!(!check("only [::]:1", "0.0.0.0:1"));
        assert!(!check("127.0.0.2:1", "127.0.0.1:1"));
        assert!(!check("0.0.0.0:1", "[::1]:1"));
        assert!(!check("0.0.0.0:1", "0.0.0.0:2"));
    }

    #[test]
    fn an_address_is_covered_if_all_its_clients_would_reach_other_addresses() {
        let check = |one: &str, others: &[&str]| {
            let others: Vec<_> = others.iter().map(|other| endpoint(other)).collect();
            endpoint(one).is_covered_by(&others)
        };
        assert!(check("127.0.0.1:1", &["0.0.0.0:1"]));
        assert!(check("127.0.0.1:1", &["[::]:1"]));
        assert!(check("0.0.0.0:1", &["[::]:1"]));
        assert!(check("[::1]:1", &["only [::]:1"]));
        assert!(check("only [::]:1", &["[::]:1"]));
        assert!(check("[::ffff:127.0.0.1]:1", &["127.0.0.1:1"]));
        assert!(check("[::]:1", &["only [::]:1", "0.0.0.0:1"]));
        assert!(!check("[::]:1", &["only [::]:1"]));
        assert!(!check("[::]:1", &["only [::]:1", "127.0.0.1:1"]));
        assert!(!check("0.0.0.0:1", &["127.0.0.1:1"]));
        assert!(!check("0.0.0.0:1", &["only [::]:1"]));
        assert!(!check("127.0.0.1:1", &["0.0.0.0:2"]));
        assert!(!check("127.0.0.1:1", &[]));
    }

    #[test]
    fn the_kernel_prefers_the_narrower_of_two_endpoints() {
        let check = |one: &str, other: &str| {
            let preferred = endpoint(one).preferred(&[endpoint(other)]);
            let texts = preferred.iter().map(ToString::to_string);
            texts.collect::<String>()
        };
        assert_eq!(check("0.0.0.0:1", "127.0.0.1:1"), "127.0.0.1");
        assert_eq!(check("0.0.0.0:1", "[::ffff:127.0.0.1]:1"), "127.0.0.1");
        assert_eq!(check("[::]:1", "127.0.0.1:1"), "127.0.0.1");
        assert_eq!(check("[::]:1", "[::1]:1"), "::1");
        assert_eq!(check("only [::]:1", "[::1]:1"), "::1");
        assert_eq!(check("[::]:1", "0.0.0.0:1"), "0.0.0.0");
        assert_eq!(check("[::]:1", "[::ffff:0.0.0.0]:1"), "");
        assert_eq!(check("[::]:1", "only [::]:1"), "");
        assert_eq!(check("only [::]:1", "127.0.0.1:1"), "");
        assert_eq!(check("0.0.0.0:1", "0.0.0.0:1"), "");
        assert_eq!(check("0.0.0.0:1", "[::]:1"), "");
        assert_eq!(check("0.0.0.0:1", "127.0.0.1:2"), "");
        assert_eq!(check("127.0.0.1:1", "0.0.0.0:1"), "");
    }

    #[test]
    fn a_listener_on_exactly_the_same_address_is_a_stranger_unless_it_is_ours() {
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = std::net::TcpListener::bind(at).unwrap();
            let endpoint = Endpoint::of(&listener.try_clone().unwrap().into()).unwrap();
            let inode = crate::os::inode(&listener).unwrap();
            assert!(endpoint.stranger(&[inode]).is_none(), "{at}");
            assert!(endpoint.stranger(&[7]).is_some(), "{at}");
            let mut other = endpoint;
            other.address.set_ip("127.0.0.9".parse().unwrap());
            assert!(other.stranger(&[7]).is_none(), "{at}");
        }
    }
}
