use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::{Domain, Socket, Type};

use crate::os;
use crate::socket::endpoint::{Endpoint, Transport};

/// The size of the longest address, in bytes (`struct sockaddr_storage`, `socket.h(0p)`).
pub(super) const LONGEST_ADDRESS: u32 = 128;

/// The address that a program binds a socket to, and how it shares the address with its other sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) endpoint: Endpoint,
    /// The program's `SO_REUSEADDR`.
    pub(super) reuse_address: bool,
    /// The program's `SO_REUSEPORT`: several of its sockets may share the address.
    pub(super) reuse_port: bool,
}

impl Binding {
    /// Describes the binding of this socket to this address. Returns `None` unless it is a TCP or UDP socket in our
    /// network namespace: the kernel handles other sockets without us.
    pub(super) fn of(socket: &Socket, address: SocketAddr) -> io::Result<Option<Self>> {
        let Some(transport) = transport(socket)? else {
            return Ok(None);
        };
        let other_family = os::family(socket)? != i32::from(Domain::for_address(address));
        // A socket in another network namespace, or bound to one device, does not conflict with ours.
        if other_family || !os::is_of_our_network(socket) || os::is_of_one_device(socket) {
            return Ok(None);
        }
        Ok(Some(Self {
            endpoint: Endpoint {
                address,
                only_v6: address.is_ipv6() && socket.only_v6()?,
                transport,
            },
            reuse_address: socket.reuse_address()?,
            reuse_port: socket.reuse_port()?,
        }))
    }
}

fn transport(socket: &Socket) -> io::Result<Option<Transport>> {
    let protocol = os::protocol(socket)?;
    Ok(match socket.r#type()? {
        Type::STREAM if protocol == libc::IPPROTO_TCP || os::is_multipath(socket) => {
            Some(Transport::Tcp)
        }
        Type::DGRAM if protocol == libc::IPPROTO_UDP => Some(Transport::Udp),
        _ => None,
    })
}

/// Parses an address in the format that `bind` takes (`ip(7)`, `ipv6(7)`). Returns `None` for another family or an
/// address that is too short: the kernel returns the right error for those.
pub(super) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let array = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let family = i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        // The kernel requires the padding, but ignores its content.
        libc::AF_INET if bytes.len() >= 16 => {
            let ip = Ipv4Addr::from(array(4)?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 if bytes.len() >= 24 => {
            let flow = u32::from_be_bytes(array(4)?);
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            // The oldest form of the structure has no scope.
            let scope = array(24).map_or(0, u32::from_ne_bytes);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(address: SocketAddr) -> Vec<u8> {
        let address = socket2::SockAddr::from(address);
        let mut bytes = Vec::new();
        bytes.extend((address.family()).to_ne_bytes());
        let full = address.as_socket().unwrap();
        bytes.extend(full.port().to_be_bytes());
        match full {
            SocketAddr::V4(v4) => {
                bytes.extend(v4.ip().octets());
                bytes.extend([0; 8]);
            }
            SocketAddr::V6(v6) => {
                bytes.extend(v6.flowinfo().to_be_bytes());
                bytes.extend(v6.ip().octets());
                bytes.extend(v6.scope_id().to_ne_bytes());
            }
        }
        bytes
    }

    #[test]
    fn address_parsing_matches_the_kernel() {
        for text in ["127.0.0.1:80", "0.0.0.0:65535", "[::1]:1", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(&bytes(address)), Some(address));
            let longer = [bytes(address), vec![7; 20]].concat();
            assert_eq!(parse(&longer), Some(address));
        }
        let oldest_form = &bytes("[::1]:1".parse().unwrap())[..24];
        assert_eq!(parse(oldest_form), Some("[::1]:1".parse().unwrap()));
    }

    #[test]
    fn short_and_non_ip_addresses_are_left_to_the_kernel() {
        for text in ["127.0.0.1:80", "[::1]:1"] {
            let whole = bytes(text.parse().unwrap());
            let least = if whole.len() == 16 { 16 } else { 24 };
            for length in 0..least {
                assert_eq!(parse(&whole[..length]), None, "{text}, {length} bytes");
            }
        }
        assert_eq!(
            parse(&[1, 0, b'/', b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
    }

    #[test]
    fn only_tcp_and_udp_sockets_are_handled() {
        let binding = |domain, kind, protocol| {
            let socket = Socket::new(domain, kind, protocol).unwrap();
            let address: SocketAddr = match domain {
                socket2::Domain::IPV6 => "[::1]:80".parse().unwrap(),
                _ => "127.0.0.1:80".parse().unwrap(),
            };
            Binding::of(&socket, address).unwrap()
        };
        let tcp = binding(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(tcp.endpoint.transport, Transport::Tcp);
        assert!(!tcp.reuse_address && !tcp.reuse_port);
        let udp = binding(Domain::IPV6, Type::DGRAM, None).unwrap();
        assert_eq!(udp.endpoint.transport, Transport::Udp);
        assert_eq!(binding(Domain::UNIX, Type::STREAM, None), None);
    }

    #[test]
    fn fuzz_addresses() {
        let four = [&[2, 0, 0x1f, 0x90, 127, 0, 0, 1][..], &[0; 8]].concat();
        let six = [&[10, 0, 0x1f, 0x90][..], &[0; 24]].concat();
        crate::fuzz::fuzz(
            "addresses",
            &[&four, &six],
            &["\x02\0", "\x0a\0"],
            |input| {
                let known = parse(input);
                assert!(known.is_none() || input.len() >= 16);
            },
        );
    }
}
