//! Datagrams with the credentials of their sender (`SCM_CREDENTIALS`, `unix(7)`).
//!
//! Control data is parsed by hand: if it was truncated because the descriptor table is full (`scm_detach_fds` in
//! `net/core/scm.c`), nix returns an error and leaks the descriptors that the kernel has already added.
//!
//! On systems other than Linux, the sender is unknown. There, the socket is in a directory that only its owner may
//! enter.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use socket2::{MaybeUninitSlice, MsgHdrMut, SockRef};

use super::{Datagram, Sender};

/// The address of a datagram socket: an abstract name (`@name`) on Linux, and elsewhere a path in a directory that is
/// removed when the `DatagramAddress` is dropped.
#[derive(Debug)]
pub struct DatagramAddress {
    value: OsString,
    #[cfg(not(target_os = "linux"))]
    _directory: tempfile::TempDir,
}

impl DatagramAddress {
    /// The value for `NOTIFY_SOCKET`.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.value
    }
}

/// Binds a datagram socket to a new abstract name. The socket is non-blocking, and the kernel adds the sender's
/// credentials to each datagram.
///
/// An abstract name leaves no file behind, however hotrun exits, and needs no directory that the program can write to.
/// It is not secret (`/proc/net/unix`), so senders must be checked. Autobind would not do: the kernel chooses one of
/// only a million names, so a late sender of an earlier generation could reach the new socket.
///
/// # Errors
/// The socket cannot be created.
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
///
/// # Errors
/// The directory or the socket cannot be created.
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

/// Room for the 253 descriptors that a datagram can carry (`SCM_MAX_FD` in `net/scm.h`) and the credentials. On other
/// systems there is no room, and the kernel closes descriptors that arrive with a datagram.
const CONTROL_SIZE: usize = if cfg!(target_os = "linux") { 1536 } else { 0 };

#[cfg(target_os = "linux")]
const FLAGS: libc::c_int = libc::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: libc::c_int = 0;

/// Receives one datagram into `buffer` without blocking. If the process has no free descriptors, those sent with the
/// datagram are lost.
///
/// # Errors
/// `WouldBlock` if no datagram is queued; otherwise as for `recvmsg(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = [0; CONTROL_SIZE];
    let mut parts = [MaybeUninitSlice::new(writable(buffer))];
    let mut message = MsgHdrMut::new()
        .with_buffers(&mut parts)
        .with_control(writable(&mut control));
    let length = SockRef::from(&socket).recvmsg(&mut message, FLAGS)?;
    let (used, truncated) = (message.control_len(), message.flags().is_truncated());
    let (sender, descriptors) = parse(control.get(..used).unwrap_or(&control));
    // SAFETY: the kernel has just created these descriptors for us (`SCM_RIGHTS`), and nothing else owns them.
    let own = |fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(Datagram {
        length,
        truncated,
        sender,
        descriptors: descriptors.into_iter().map(own).collect(),
    })
}

/// Casts a buffer to the type that socket2 uses for memory that the kernel writes to.
fn writable(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let pointer = std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>];
    // SAFETY: the layout is the same, and only the kernel writes to the buffer, so every byte stays initialized.
    unsafe { &mut *pointer }
}

/// A control message starts with its length (header included), level and type (`cmsg(3)`, `struct cmsghdr` in
/// `linux/socket.h`). The kernel's length is a `size_t`, whatever type the C library declares.
const LENGTH: usize = size_of::<usize>();
const HEADER: usize = LENGTH + 2 * size_of::<i32>();

/// `SCM_CREDENTIALS` (`include/linux/socket.h`).
const CREDENTIALS: i32 = 2;

/// Returns the sender and the descriptors in control data, up to the first malformed message.
fn parse(mut bytes: &[u8]) -> (Option<Sender>, Vec<RawFd>) {
    let (mut sender, mut descriptors) = (None, Vec::new());
    while let Some((level, kind, data, rest)) = message(bytes) {
        match (level, kind) {
            // `struct ucred { pid_t pid; uid_t uid; gid_t gid; }`
            (libc::SOL_SOCKET, CREDENTIALS) => {
                let mut words = words(data);
                let ids = words.next().zip(words.next());
                sender = ids.map(|(pid, uid)| Sender {
                    pid,
                    uid: uid.cast_unsigned(),
                });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => descriptors.extend(words(data)),
            (_, _) => {}
        }
        bytes = rest;
    }
    (sender, descriptors)
}

/// Splits off the first message: its level, its type, its data, and the remaining bytes.
fn message(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let (header, _) = bytes.split_at_checked(HEADER)?;
    let (length, kinds) = header.split_at(LENGTH);
    let length = usize::from_ne_bytes(length.try_into().ok()?);
    let mut kinds = words(kinds);
    let data = bytes.get(HEADER..length)?;
    // The last message may end without padding.
    let rest = bytes
        .get(length.next_multiple_of(LENGTH)..)
        .unwrap_or_default();
    Some((kinds.next()?, kinds.next()?, data, rest))
}

fn words(data: &[u8]) -> impl Iterator<Item = i32> {
    data.chunks_exact(size_of::<i32>())
        .filter_map(|word| Some(i32::from_ne_bytes(word.try_into().ok()?)))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

    use proptest::prelude::*;

    use super::*;

    type Bound = (UnixDatagram, DatagramAddress);

    /// Sends a datagram from this process. The datagram is in the receiver's queue when this function returns.
    fn send((_, name): &Bound, text: &[u8], descriptors: &[RawFd]) {
        let name = name.as_os_str().to_str();
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
        assert_ne!(first.1.as_os_str(), second.1.as_os_str());
    }

    fn encoded(kind: i32, data: &[i32]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len() * 4).to_ne_bytes().to_vec();
        [libc::SOL_SOCKET, kind]
            .iter()
            .chain(data)
            .for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes.resize(bytes.len().next_multiple_of(LENGTH), 0);
        bytes
    }

    #[test]
    fn all_control_messages_are_parsed() {
        let bytes = [
            encoded(libc::SCM_CREDENTIALS, &[42, -1, 0]),
            encoded(999, &[1]),
            encoded(libc::SCM_RIGHTS, &[7, 8, 9]),
        ];
        let sender = Sender {
            pid: 42,
            uid: u32::MAX,
        };
        assert_eq!(parse(&bytes.concat()), (Some(sender), vec![7, 8, 9]));
    }

    #[test]
    fn parsing_stops_at_a_malformed_length() {
        for length in [0, 1, HEADER - 1, HEADER + 5, usize::MAX] {
            let mut bytes = encoded(libc::SCM_RIGHTS, &[7]);
            bytes.truncate(HEADER + 4);
            bytes[..LENGTH].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&bytes), (None, Vec::new()), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cause_no_panic(bytes: Vec<u8>, kind in 0..3_i32, data: Vec<i32>) {
            let _ = parse(&bytes);
            let both = [encoded(kind, &data), bytes].concat();
            prop_assert!(parse(&both).1.len() * 4 <= both.len());
        }
    }

    #[test]
    fn fuzz_control_data() {
        let examples = [
            encoded(libc::SCM_CREDENTIALS, &[42, -1, 0]),
            encoded(libc::SCM_RIGHTS, &[7, 8, 9]),
        ];
        let examples = examples.each_ref().map(Vec::as_slice);
        crate::fuzz::fuzz("control data", &examples, &["\0\0\0\0"], |input| {
            assert!(parse(input).1.len() * 4 <= input.len());
        });
    }
}
