//! Free ports, and what the kernel reports about connections.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The number of established connections to this IPv4 address, from `/proc/net/tcp` (see `proc(5)`): an address is
/// hexadecimal with its four bytes in native order, and state 1 means established.
pub(crate) fn established_connections(to: SocketAddr) -> usize {
    let IpAddr::V4(ip) = to.ip() else { return 0 };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), to.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("can read `/proc/net/tcp`");
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&local.as_str()) && row.get(3) == Some(&"01"))
        .count()
}

/// Finds three consecutive free ports, and returns the first. They are outside the range from which the kernel assigns
/// ports to clients, so no client can occupy them. No two calls in one process return the same port.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = std::process::id() as u16;
    loop {
        let next = own
            .wrapping_mul(31)
            .wrapping_add(NEXT.fetch_add(3, Ordering::Relaxed));
        let port = 12_000 + next % 18_000;
        let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if free(port) && free(port + 1) && free(port + 2) {
            return port;
        }
    }
}

/// A loopback address with a port from [`free_port`].
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
