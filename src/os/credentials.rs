//! Datagram sockets that report the credentials of their senders (`SCM_CREDENTIALS`, `unix(7)`).
//!
//! On systems other than Linux, the sender is unknown. There, the socket is in a directory that only its owner may
//! enter.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;

#[cfg(target_os = "linux")]
use socket2::SockRef;

/// The address of a datagram socket: an abstract name (`@name`) on Linux, and elsewhere a path in a directory that is
/// removed when the `DatagramAddress` is dropped.
#[derive(Debug)]
pub struct DatagramAddress {
    /// The value for `NOTIFY_SOCKET`.
    pub value: OsString,
    #[cfg(not(target_os = "linux"))]
    _directory: tempfile::TempDir,
}

/// Binds a datagram socket to a new abstract name. The socket is non-blocking, and the kernel adds the sender's
/// credentials to each datagram.
///
/// An abstract name leaves no file behind, however hotrun exits, and needs no directory that the program can write to.
/// It is not secret (`/proc/net/unix`), so senders must be checked. Autobind would not do: the kernel chooses one of
/// only a million names, so a late sender of an earlier generation could reach the new socket.
#[cfg(target_os = "linux")]
pub fn bind() -> io::Result<(UnixDatagram, DatagramAddress)> {
    use std::hash::{BuildHasher, Hasher, RandomState};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let random = || RandomState::new().build_hasher().finish();
    let name = format!("hotrun/{:016x}{:016x}", random(), random());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    socket.set_nonblocking(true)?;
    // No other process knows the name yet, so the queue cannot contain a datagram without credentials.
    SockRef::from(&socket).set_passcred(true)?;
    let value = format!("@{name}").into();
    Ok((socket, DatagramAddress { value }))
}

/// Binds a datagram socket in its own temporary directory. The socket is non-blocking.
#[cfg(not(target_os = "linux"))]
pub fn bind() -> io::Result<(UnixDatagram, DatagramAddress)> {
    let directory = tempfile::Builder::new().prefix("hotrun-").tempdir()?;
    let path = directory.path().join("n");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let name = DatagramAddress {
        value: path.into(),
        _directory: directory,
    };
    Ok((socket, name))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

    use super::*;
    use crate::os::Sender;
    use crate::os::scm_rights::receive;

    type Bound = (UnixDatagram, DatagramAddress);

    /// Sends a datagram from this process. The datagram is in the receiver's queue when this function returns.
    fn send((_, name): &Bound, text: &[u8], descriptors: &[RawFd]) {
        let name = name.value.to_str();
        let name = name
            .and_then(|name| name.strip_prefix('@'))
            .expect("the name is abstract");
        let address =
            UnixAddr::new_abstract(name.as_bytes()).expect("the name fits into an address");
        let socket = UnixDatagram::unbound().expect("can create a socket");
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &[][..]
        } else {
            &rights
        };
        let sent = sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(text)],
            control,
            MsgFlags::empty(),
            Some(&address),
        );
        assert_eq!(sent, Ok(text.len()));
    }

    #[test]
    fn the_kernel_reports_the_sender() {
        let bound = bind().expect("can bind a socket");
        send(&bound, b"READY=1", &[]);
        let mut buffer = [0; 64];
        let datagram = receive(bound.0.as_fd(), &mut buffer).expect("a datagram is queued");
        assert_eq!(&buffer[..datagram.length], b"READY=1");
        let me = Sender {
            pid: std::process::id().cast_signed(),
            uid: nix::unistd::getuid().as_raw(),
        };
        assert_eq!(
            (
                datagram.sender,
                datagram.truncated,
                datagram.descriptors.len()
            ),
            (Some(me), false, 0)
        );
    }

    #[test]
    fn receiving_from_an_empty_queue_fails_with_would_block() {
        let bound = bind().expect("can bind a socket");
        let error =
            receive(bound.0.as_fd(), &mut [0; 8]).expect_err("reading an empty queue must fail");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn truncation_is_reported() {
        let bound = bind().expect("can bind a socket");
        send(&bound, b"READY=1", &[]);
        let datagram = receive(bound.0.as_fd(), &mut [0; 4]).expect("a datagram is queued");
        assert!(datagram.truncated && datagram.length == 4);
    }

    /// Dropping the datagram closes its descriptors: the pipe's reader reads end of file only once the last writer is
    /// closed.
    #[test]
    fn the_maximum_number_of_descriptors_is_received_and_closed_when_dropped() {
        let bound = bind().expect("can bind a socket");
        let (mut reader, writer) = std::io::pipe().expect("can create a pipe");
        send(&bound, b"BARRIER=1", &[writer.as_raw_fd(); 253]);
        drop(writer);
        let datagram = receive(bound.0.as_fd(), &mut [0; 64]).expect("a datagram is queued");
        assert_eq!(
            (datagram.descriptors.len(), datagram.truncated),
            (253, false)
        );
        let cloexec = |fd: &OwnedFd| nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD);
        assert!(
            datagram
                .descriptors
                .iter()
                .all(|fd| cloexec(fd) == Ok(libc::FD_CLOEXEC))
        );
        drop(datagram);
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(reader.read(&mut [0; 1]).expect("can read the pipe")));
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(0));
    }

    #[test]
    fn every_socket_has_its_own_name() {
        let (first, second) = (
            bind().expect("can bind a socket"),
            bind().expect("can bind a socket"),
        );
        assert_ne!(first.1.value, second.1.value);
    }
}
