use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use nix::errno::Errno;
use socket2::SockRef;

/// A number that no other socket of this system has had since its start, and every descriptor of this one gives
/// (`SO_COOKIE`, `include/uapi/asm-generic/socket.h`).
///
/// # Errors
/// What `getsockopt(2)` reports, `ENOTSOCK` above all.
pub fn cookie(socket: &impl AsFd) -> io::Result<u64> {
    SockRef::from(socket).cookie()
}

/// Its family (`SO_DOMAIN`): `AF_INET` and its like.
///
/// # Errors
/// What `getsockopt(2)` reports, `ENOTSOCK` above all.
pub fn family(socket: &impl AsFd) -> io::Result<i32> {
    SockRef::from(socket).domain().map(i32::from)
}

/// Its protocol (`SO_PROTOCOL`): `IPPROTO_TCP` and its like, 0 where the family has but one.
///
/// # Errors
/// What `getsockopt(2)` reports, `ENOTSOCK` above all.
pub fn protocol(socket: &impl AsFd) -> io::Result<i32> {
    let protocol = SockRef::from(socket).protocol()?;
    Ok(protocol.map_or(0, i32::from))
}

/// Whether it is multipath TCP, which newer Go programs listen with by themselves. Such a socket takes no program that steers.
pub fn is_multipath(socket: &impl AsFd) -> bool {
    protocol(socket).is_ok_and(|protocol| protocol == libc::IPPROTO_MPTCP)
}

/// Whether it is of the network that hotrun is in: of another (`network_namespaces(7)`) every address is another one
/// (`SO_NETNS_COOKIE`, since 5.14).
pub fn is_of_our_network(socket: &impl AsFd) -> bool {
    static OURS: LazyLock<Option<u64>> =
        LazyLock::new(|| network(&UnixDatagram::unbound().ok()?).ok());
    // Where the kernel can't tell there is no trap either.
    network(socket).ok() == *OURS
}

fn network(socket: &impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the call writes at most `length` bytes to `cookie`, and how many to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(cookie)
}

/// Whether it is for one network interface only (`SO_BINDTODEVICE`, `socket(7)`).
pub fn is_of_one_device(socket: &impl AsFd) -> bool {
    let device = SockRef::from(socket).device();
    device.is_ok_and(|device| device.is_some())
}

/// Whether it listens (`SO_ACCEPTCONN`).
///
/// # Errors
/// What `getsockopt(2)` reports, `ENOTSOCK` above all.
pub fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    SockRef::from(socket).is_listener()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_socket_says_what_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let another = TcpListener::bind("[::1]:0").unwrap();
        let again = listener.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(cookie(&listener).unwrap(), cookie(&again).unwrap());
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
    fn what_is_no_socket_says_so() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(cookie(&reader).map_err(errno), Err(Some(libc::ENOTSOCK)));
    }
}
