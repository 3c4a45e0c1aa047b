//! Options of sockets (`socket(7)`). Each function fails with `ENOTSOCK` for anything but a socket.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::{getsockopt_impl, sockopt_impl};
use socket2::SockRef;

use crate::os::Instruction;

// The cookie of its network namespace (`include/uapi/asm-generic/socket.h`, since 5.14).
sockopt_impl!(
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// A number that no other socket has had since this system started, and that is the same for all duplicates of this one
/// (`SO_COOKIE`).
pub fn cookie(socket: &impl AsFd) -> io::Result<u64> {
    SockRef::from(socket).cookie()
}

/// Its address family (`SO_DOMAIN`), such as `AF_INET`.
pub fn family(socket: &impl AsFd) -> io::Result<i32> {
    SockRef::from(socket).domain().map(i32::from)
}

/// Its protocol (`SO_PROTOCOL`), such as `IPPROTO_TCP`; 0 where the family has only one.
pub fn protocol(socket: &impl AsFd) -> io::Result<i32> {
    let protocol = SockRef::from(socket).protocol()?;
    Ok(protocol.map_or(0, i32::from))
}

/// Whether it is multipath TCP, which newer Go programs listen with by default. Such a socket does not accept a steering
/// program.
pub fn is_multipath(socket: &impl AsFd) -> bool {
    protocol(socket).is_ok_and(|protocol| protocol == libc::IPPROTO_MPTCP)
}

/// Whether it belongs to the network namespace that hotrun is in. In another one (`network_namespaces(7)`) the same address
/// is a different address.
pub fn is_of_our_network(socket: &impl AsFd) -> bool {
    static OURS: LazyLock<Option<u64>> =
        LazyLock::new(|| getsockopt(&UnixDatagram::unbound().ok()?, NetnsCookie).ok());
    // A kernel too old for the cookie is too old for interception as well.
    getsockopt(socket, NetnsCookie).ok() == *OURS
}

/// Whether it is bound to one network interface (`SO_BINDTODEVICE`).
pub fn is_of_one_device(socket: &impl AsFd) -> bool {
    let device = SockRef::from(socket).device();
    device.is_ok_and(|device| device.is_some())
}

/// Whether it listens (`SO_ACCEPTCONN`).
pub fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    SockRef::from(socket).is_listener()
}

/// Attaches a program that chooses the socket of the group of `member` that gets a new connection: the program returns an
/// index, in the order in which the sockets joined by `listen`. It replaces the previous program of the whole group in one
/// step (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`; `reuseport_attach_prog` in `net/core/sock_reuseport.c`).
///
/// # Errors
/// `EINVAL` if the program is invalid or the socket is in no group, `ENOMEM` if it is longer than `net.core.optmem_max`
/// allows.
pub fn steer(member: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program.iter().map(native).collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // The kernel copies the program during the call, so `filter` need not live longer.
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// No interface has this index.
pub(super) const NO_INTERFACE: u32 = i32::MAX as u32;

/// Hides a listening socket from new connections, as if it did not listen; a listener on an address that covers the same
/// port gets them instead. Connections in its queue and handshakes under way still arrive and can be accepted.
///
/// The socket is bound to an interface that does not exist. The kernel compares the interface of a new connection with that
/// of the socket (`compute_score` in `net/ipv4/inet_hashtables.c`); it finds the socket of a handshake under way without
/// that comparison. Without privileges this works once and cannot be undone (`sock_bindtoindex_locked` in
/// `net/core/sock.c`).
///
/// # Errors
/// `EPERM` if the program has bound it to an interface itself.
pub fn hide(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).bind_device_by_index_v4(NonZeroU32::new(NO_INTERFACE))
}

pub(super) fn native(instruction: &Instruction) -> libc::sock_filter {
    let Instruction { code, jt, jf, k } = *instruction;
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_report_their_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let another = TcpListener::bind("[::1]:0").unwrap();
        let duplicate = listener.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(cookie(&listener).unwrap(), cookie(&duplicate).unwrap());
        assert_ne!(cookie(&listener).unwrap(), cookie(&another).unwrap());
        assert_eq!(family(&listener).unwrap(), libc::AF_INET);
        assert_eq!(family(&another).unwrap(), libc::AF_INET6);
        assert_eq!(protocol(&listener).unwrap(), libc::IPPROTO_TCP);
        assert!(is_listening(&listener).unwrap());
        assert!(!is_multipath(&listener));
        let unix = UnixDatagram::unbound().unwrap();
        assert_eq!(protocol(&unix).unwrap(), 0);
        assert!(!is_listening(&unix).unwrap());
        assert!(is_of_our_network(&unix) && is_of_our_network(&listener));
        assert!(!is_of_one_device(&listener));
    }

    #[test]
    fn a_pipe_is_not_a_socket() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(cookie(&reader).map_err(errno), Err(Some(libc::ENOTSOCK)));
    }
}
