use std::io;
use std::os::fd::AsFd;

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
    }

    #[test]
    fn what_is_no_socket_says_so() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(cookie(&reader).map_err(errno), Err(Some(libc::ENOTSOCK)));
    }
}
