//! Datagrams with the credentials of their sender (`SCM_CREDENTIALS`, `unix(7)`).
//!
//! `recvmsg` is called directly: when control data was truncated (`MSG_CTRUNC`), nix returns an error instead of the data,
//! and loses the descriptors that the kernel has already added to our table (it truncates when the table is full,
//! `scm_detach_fds` in `net/core/scm.c`). A sender could fill the table permanently that way.

mod control;

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use crate::os::Datagram;

/// Whether the kernel reports the sender of a datagram.
pub const SENDER_KNOWN: bool = true;

/// An abstract address, written as `@name`.
#[derive(Debug)]
pub struct Name(OsString);

impl Name {
    /// The value for `NOTIFY_SOCKET`.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// Binds a datagram socket to a new abstract name. The socket does not block, and the kernel adds the sender's credentials
/// to what it receives.
///
/// An abstract name leaves no file behind, however we end, and needs no directory that the program may write to. It is not
/// secret (`/proc/net/unix`), so senders must be checked.
///
/// # Errors
/// No socket can be created, or no free name was found.
pub fn bind() -> io::Result<(UnixDatagram, Name)> {
    let (socket, name) = (0..16)
        .find_map(bind_random)
        .unwrap_or(Err(io::ErrorKind::AddrInUse.into()))?;
    socket.set_nonblocking(true)?;
    // Nobody knows the name yet, so no datagram without credentials can be in the queue.
    setsockopt(&socket, sockopt::PassCred, &true)?;
    Ok((socket, Name(format!("@{name}").into())))
}

/// One attempt; `None` if the name is taken. The kernel's autobind would choose one of a million names, and a late sender of
/// an earlier generation could still use it.
fn bind_random(_attempt: u8) -> Option<io::Result<(UnixDatagram, String)>> {
    let random = || RandomState::new().build_hasher().finish();
    let name = format!("hotrun/{:016x}{:016x}", random(), random());
    let bound =
        SocketAddr::from_abstract_name(&name).and_then(|address| UnixDatagram::bind_addr(&address));
    match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        bound => Some(bound.map(|socket| (socket, name))),
    }
}

/// Room for the 253 descriptors that a datagram can carry (`SCM_MAX_FD` in `net/scm.h`) and the credentials, so control data
/// is truncated only if no descriptor is free. In words, for the alignment.
const CONTROL_WORDS: usize = 1536 / size_of::<u64>();

/// Receives one datagram into `buffer`. Does not block.
///
/// # Errors
/// `WouldBlock` if there is none; otherwise as for `recvmsg(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = [0_u64; CONTROL_WORDS];
    let (length, header) = receive_raw(socket, buffer, &mut control)?;
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let used = bytes.get(..control_length(&header)).unwrap_or(&bytes);
    let control = control::parse(used);
    Ok(Datagram {
        length,
        truncated: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        sender: control.sender,
        descriptors: control.descriptors.into_iter().map(own).collect(),
    })
}

fn receive_raw(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u64; CONTROL_WORDS],
) -> Result<(usize, libc::msghdr), Errno> {
    let mut text = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all zeroes is a valid `msghdr`: null pointers, lengths of zero.
    let mut header = unsafe { header.assume_init() };
    header.msg_iov = &raw mut text;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header names one buffer for text and one for control data; both are borrowed exclusively
    // until the call has returned, with their true sizes.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    // The header still points to the buffers; only its lengths and flags are read from here on.
    Ok((Errno::result(length)?.cast_unsigned(), header))
}

/// A `size_t` in glibc, a `socklen_t` in musl.
#[allow(clippy::unnecessary_cast)]
fn control_length(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (`SCM_RIGHTS`), and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

    use super::*;
    use crate::os::Sender;

    type Bound = (UnixDatagram, Name);

    /// Sends from this process: the datagram has arrived when this returns.
    fn send((_, name): &Bound, text: &[u8], descriptors: &[RawFd]) {
        let name = name.as_os_str().to_str();
        let name = name
            .and_then(|name| name.strip_prefix('@'))
            .expect("an abstract name");
        let address = UnixAddr::new_abstract(name.as_bytes()).expect("an address");
        let socket = UnixDatagram::unbound().expect("a socket");
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
        let bound = bind().expect("a socket");
        send(&bound, b"READY=1", &[]);
        let mut buffer = [0; 64];
        let datagram = receive(bound.0.as_fd(), &mut buffer).expect("a datagram");
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
    fn an_empty_queue_would_block() {
        let bound = bind().expect("a socket");
        let error = receive(bound.0.as_fd(), &mut [0; 8]).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn truncation_is_reported() {
        let bound = bind().expect("a socket");
        send(&bound, b"READY=1", &[]);
        let datagram = receive(bound.0.as_fd(), &mut [0; 4]).expect("a datagram");
        assert!(datagram.truncated && datagram.length == 4);
    }

    /// The maximum number of descriptors arrives. Dropping them closes them: the reader of the pipe sees the end only when
    /// the last writer is closed.
    #[test]
    fn descriptors_are_owned_and_closed() {
        let bound = bind().expect("a socket");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        send(&bound, b"BARRIER=1", &[writer.as_raw_fd(); 253]);
        drop(writer);
        let datagram = receive(bound.0.as_fd(), &mut [0; 64]).expect("a datagram");
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
        std::thread::spawn(move || done.send(reader.read(&mut [0; 1]).expect("a read")));
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(0));
    }

    #[test]
    fn two_sockets_have_two_names() {
        let (first, second) = (bind().expect("a socket"), bind().expect("a socket"));
        assert_ne!(first.1.as_os_str(), second.1.as_os_str());
    }
}
