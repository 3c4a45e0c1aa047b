//! Information about connections from the kernel.

use std::fs;
use std::net::{IpAddr, SocketAddr};

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
