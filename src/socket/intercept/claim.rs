//! What the kernel tells of a socket that a program binds.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::{Domain, Socket, Type};

use super::decision::Claim;
use crate::os;
use crate::socket::{Endpoint, Transport};

/// The longest address that there is (`struct sockaddr_storage`, `socket.h(0p)`).
pub(super) const LONGEST: u32 = 128;

/// Reads an address as `bind` gets it (`ip(7)`, `ipv6(7)`). Nothing where it is of another family, or too short: the
/// kernel knows what to say to that.
pub(super) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let array = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let family = i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        // The kernel wants the padding too, and does not look at it.
        libc::AF_INET if bytes.len() >= 16 => {
            let ip = Ipv4Addr::from(array(4)?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 if bytes.len() >= 24 => {
            let flow = u32::from_be_bytes(array(4)?);
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            // The oldest form ends before the scope.
            let scope = array(24).map_or(0, u32::from_ne_bytes);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// What it claims by binding this socket to that address; nothing if that is no TCP or UDP socket, or
/// one of another network.
pub(super) fn claim(socket: &Socket, address: SocketAddr) -> io::Result<Option<Claim>> {
    let Some(transport) = transport(socket)? else {
        return Ok(None);
    };
    // The kernel knows what to say to an address of another family.
    if os::family(socket)? != i32::from(Domain::for_address(address)) {
        return Ok(None);
    }
    // Both have the address beside ours: there is nothing to share with them.
    if !os::is_of_our_network(socket) || os::is_of_one_device(socket) {
        return Ok(None);
    }
    Ok(Some(Claim {
        endpoint: Endpoint {
            address,
            only_v6: address.is_ipv6() && socket.only_v6()?,
            transport,
        },
        reuse_address: socket.reuse_address()?,
        reuse_port: socket.reuse_port()?,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(address: SocketAddr) -> Vec<u8> {
        let address = socket2::SockAddr::from(address);
        // The kernel's own form of it, by way of a socket that is bound to it would need the address to be free.
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
    fn addresses_are_read_as_the_kernel_reads_them() {
        for text in ["127.0.0.1:80", "0.0.0.0:65535", "[::1]:1", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(&bytes(address)), Some(address));
            let longer = [bytes(address), vec![7; 20]].concat();
            assert_eq!(parse(&longer), Some(address));
        }
        let oldest = &bytes("[::1]:1".parse().unwrap())[..24];
        assert_eq!(parse(oldest), Some("[::1]:1".parse().unwrap()));
    }

    #[test]
    fn what_is_cut_or_strange_is_left_to_the_kernel() {
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
    fn only_streams_and_datagrams_of_ip_make_a_claim() {
        let claimed = |domain, kind, protocol| {
            let socket = Socket::new(domain, kind, protocol).unwrap();
            let address: SocketAddr = match domain {
                socket2::Domain::IPV6 => "[::1]:80".parse().unwrap(),
                _ => "127.0.0.1:80".parse().unwrap(),
            };
            claim(&socket, address).unwrap()
        };
        let tcp = claimed(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(tcp.endpoint.transport, Transport::Tcp);
        assert!(!tcp.reuse_address && !tcp.reuse_port);
        let udp = claimed(Domain::IPV6, Type::DGRAM, None).unwrap();
        assert_eq!(udp.endpoint.transport, Transport::Udp);
        assert_eq!(claimed(Domain::UNIX, Type::STREAM, None), None);
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
