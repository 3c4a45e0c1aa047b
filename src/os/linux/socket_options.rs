//! What a socket reports about itself (`socket(7)`). Each function fails with `ENOTSOCK` for anything but a socket.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::SockRef;

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
