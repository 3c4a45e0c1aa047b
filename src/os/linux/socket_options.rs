//! Socket options (`socket(7)`). For a descriptor that is not a socket, each function fails with `ENOTSOCK` or returns
//! `false`.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::{getsockopt_impl, sockopt_impl};
use socket2::SockRef;

use crate::os::Instruction;

// The cookie of a socket's network namespace (`include/uapi/asm-generic/socket.h`, since 5.14).
sockopt_impl!(
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Returns a number that identifies this socket and its duplicates, and that no other socket has had since the system
/// started (`SO_COOKIE`).
pub fn cookie(socket: &impl AsFd) -> io::Result<u64> {
    SockRef::from(socket).cookie()
}

/// Returns the socket's address family (`SO_DOMAIN`), such as `AF_INET`.
pub fn family(socket: &impl AsFd) -> io::Result<i32> {
    SockRef::from(socket).domain().map(i32::from)
}

/// Returns the socket's protocol (`SO_PROTOCOL`), such as `IPPROTO_TCP`, or 0 for a family with a single protocol.
pub fn protocol(socket: &impl AsFd) -> io::Result<i32> {
    let protocol = SockRef::from(socket).protocol()?;
    Ok(protocol.map_or(0, i32::from))
}

/// Whether this is a multipath TCP socket, which newer Go programs listen on by default. Such a socket does not accept
/// a steering program.
pub fn is_multipath(socket: &impl AsFd) -> bool {
    protocol(socket).is_ok_and(|protocol| protocol == libc::IPPROTO_MPTCP)
}

/// Whether the socket belongs to hotrun's network namespace. In another namespace (`network_namespaces(7)`), the same
/// address refers to something else.
pub fn is_of_our_network(socket: &impl AsFd) -> bool {
    static OURS: LazyLock<Option<u64>> =
        LazyLock::new(|| getsockopt(&UnixDatagram::unbound().ok()?, NetnsCookie).ok());
    // A kernel that is too old for the cookie is also too old for interception.
    getsockopt(socket, NetnsCookie).ok() == *OURS
}

/// Whether the socket is bound to one network interface (`SO_BINDTODEVICE`).
pub fn is_of_one_device(socket: &impl AsFd) -> bool {
    let device = SockRef::from(socket).device();
    device.is_ok_and(|device| device.is_some())
}

/// Whether the socket is listening (`SO_ACCEPTCONN`).
pub fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    SockRef::from(socket).is_listener()
}

/// Attaches a program that chooses which socket in the group of `member` gets a new connection. The program returns an
/// index: a socket that joins the group gets the next index, and when a socket leaves, the last one takes over its
/// index. Atomically replaces the previous program of the whole group (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`;
/// `reuseport_attach_prog` in `net/core/sock_reuseport.c`).
///
/// # Errors
/// `EINVAL` if the program is invalid or the socket is in no group, `ENOMEM` if the program is longer than
/// `net.core.optmem_max` allows.
pub fn steer(member: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program.iter().map(native).collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // The kernel copies the program during the call, so `filter` need not outlive it.
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// An index that no network interface has.
pub(super) const NO_INTERFACE: u32 = i32::MAX as u32;

/// Hides a listening socket from new connections, as if it were not listening; another listener whose address covers
/// the socket's gets them instead. Connections that are already queued can still be accepted, and handshakes that have
/// begun still complete.
///
/// The socket is bound to an interface that does not exist. The kernel compares a new connection's interface with the
/// socket's (`compute_score` in `net/ipv4/inet_hashtables.c`), but makes no such comparison to find the socket of a
/// handshake that has begun. Without privileges, this works only once and cannot be undone (`sock_bindtoindex_locked`
/// in `net/core/sock.c`).
///
/// # Errors
/// `EPERM` if the program itself has bound the socket to an interface.
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
    fn a_pipe_has_no_cookie() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(cookie(&reader).map_err(errno), Err(Some(libc::ENOTSOCK)));
    }
}
