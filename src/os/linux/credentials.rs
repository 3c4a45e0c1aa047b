//! Datagrams with the credentials of their sender (`SCM_CREDENTIALS`, `unix(7)`).
//!
//! `recvmsg` is called by hand: nix gives an error in place of the control data when that was cut
//! (`MSG_CTRUNC`), and with it go the descriptors that the kernel has already put into our table (it cuts
//! exactly when the table is full, `scm_detach_fds` in `net/core/scm.c`). Whoever can send to us could
//! fill the table for good that way.

mod control;

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

/// Whether the kernel says who sent a datagram.
pub const VOUCHED: bool = true;

/// A bound socket, and the name under which others reach it.
#[derive(Debug)]
pub struct Bound {
    /// Non-blocking, closed on exec; the kernel adds the sender's credentials to what it receives.
    pub socket: UnixDatagram,
    /// To be kept as long as the socket.
    pub name: Name,
}

/// An abstract address, written as `@name`.
#[derive(Debug)]
pub struct Name {
    address: OsString,
}

impl Name {
    /// As `NOTIFY_SOCKET` has it.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.address
    }
}

/// Who sent a datagram, as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its process as seen from here; 0 if it has no number here (another pid namespace).
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// What came in one datagram.
#[derive(Debug)]
pub struct Datagram {
    /// How much of the buffer was filled.
    pub length: usize,
    /// Whether something of it was cut: the text, the descriptors or the credentials.
    pub truncated: bool,
    /// Who sent it. `None` if the kernel did not say.
    pub sender: Option<Sender>,
    /// Descriptors that came with it, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Binds a datagram socket to an abstract name of its own. Abstract names leave no file behind, however we
/// end, and need no folder that the program may write to. The name is no secret (`/proc/net/unix`), so
/// senders have to be checked.
///
/// # Errors
///
/// No socket can be made, or no free name was found.
pub fn bind() -> io::Result<Bound> {
    let (socket, name) = (0..16)
        .find_map(bind_random)
        .unwrap_or(Err(io::ErrorKind::AddrInUse.into()))?;
    socket.set_nonblocking(true)?;
    // Nobody has learned the name so far, so nothing can be queued that has no credentials.
    setsockopt(&socket, sockopt::PassCred, &true)?;
    let name = Name {
        address: format!("@{name}").into(),
    };
    Ok(Bound { socket, name })
}

/// Whether this process has ended, reaped or not.
#[must_use]
pub fn ended(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH);
    };
    // The name in parentheses is the program's own choice and may itself have parentheses (`proc_pid_stat(5)`).
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    matches!(state, Some("Z" | "X"))
}

/// One attempt; `None` if the name is taken. `autobind` would find a free one by itself, of five digits,
/// which a sender whose generation is long gone could still have and mean.
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

/// The kernel passes at most 253 descriptors with a datagram (`SCM_MAX_FD` in `net/scm.h`), so this has room
/// for everything and control data is cut only where no descriptor is free. In words, to be aligned.
const CONTROL_WORDS: usize = 1536 / size_of::<u64>();

/// Takes one datagram, its text into `buffer`. Does not block.
///
/// # Errors
///
/// `WouldBlock` if there is none; else as `recvmsg(2)`.
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
) -> io::Result<(usize, libc::msghdr)> {
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
    // The header still names the buffers; only its lengths and flags are read from here on.
    Ok((
        usize::try_from(length).map_err(|_| io::Error::last_os_error())?,
        header,
    ))
}

/// A `size_t` with glibc, a `socklen_t` with musl.
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

    /// A sender of our own, whose datagrams are there as soon as `send` has returned.
    fn send(to: &Bound, text: &[u8], descriptors: &[RawFd]) {
        let name = to
            .name
            .as_os_str()
            .to_str()
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
    fn the_kernel_says_who_sent_it() {
        let bound = bind().expect("a socket");
        send(&bound, b"READY=1", &[]);
        let mut buffer = [0; 64];
        let datagram = receive(bound.socket.as_fd(), &mut buffer).expect("a datagram");
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
    fn nothing_there_would_block() {
        let bound = bind().expect("a socket");
        let error = receive(bound.socket.as_fd(), &mut [0; 8]).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_cut() {
        let bound = bind().expect("a socket");
        send(&bound, b"READY=1", &[]);
        let datagram = receive(bound.socket.as_fd(), &mut [0; 4]).expect("a datagram");
        assert!(datagram.truncated && datagram.length == 4);
    }

    /// As many descriptors as can be sent arrive, are ours, and are closed when they are dropped: the reader
    /// of the pipe sees its end only when the last writer is gone.
    #[test]
    fn descriptors_are_owned_and_closed() {
        let bound = bind().expect("a socket");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        send(&bound, b"BARRIER=1", &[writer.as_raw_fd(); 253]);
        drop(writer);
        let datagram = receive(bound.socket.as_fd(), &mut [0; 64]).expect("a datagram");
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
    fn a_process_has_ended_when_it_is_a_zombie_too() {
        let mut child = std::process::Command::new("true").spawn().expect("`true`");
        let pid = child.id().cast_signed();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !ended(pid) {
            assert!(std::time::Instant::now() < end, "it never became a zombie");
            std::thread::yield_now();
        }
        child.wait().expect("its end");
        assert!(ended(pid) && !ended(std::process::id().cast_signed()));
    }

    #[test]
    fn two_sockets_have_two_names() {
        let (first, second) = (bind().expect("a socket"), bind().expect("a socket"));
        assert_ne!(first.name.as_os_str(), second.name.as_os_str());
    }
}
