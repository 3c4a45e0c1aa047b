//! Passes descriptors over a unix socket (`SCM_RIGHTS`, `unix(7)`), on every Unix.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::slice;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{Datagram, Sender};

/// The maximum number of descriptors in one message (`SCM_MAX_FD`, `include/net/scm.h`).
pub const MAX_FDS: usize = 253;

/// Sends `bytes` with the descriptors attached to the first byte. Returns the number of bytes sent.
///
/// # Errors
/// As for `sendmsg(2)`; `EINVAL` for more than [`MAX_FDS`] descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let attached = if raw.is_empty() { &[] } else { &rights[..] };
    let (fd, parts) = (socket.as_raw_fd(), [IoSlice::new(bytes)]);
    Ok(sendmsg::<()>(
        fd,
        &parts,
        attached,
        MsgFlags::empty(),
        None,
    )?)
}

/// Room for the descriptors and for the credentials of the sender.
const CONTROL_WORDS: usize = 192;

/// `SCM_CREDENTIALS` (`include/linux/socket.h`), with `struct ucred { pid_t pid; uid_t uid; gid_t gid; }`.
const CREDENTIALS: i32 = 2;

#[cfg(target_os = "linux")]
const FLAGS: libc::c_int = libc::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: libc::c_int = 0;

/// Receives data or one datagram into `buffer`, with the attached descriptors, each of which has `CLOEXEC` set. Those
/// for which this process has no free descriptor are lost.
///
/// nix's `recvmsg` cannot be used: if descriptors were lost, it returns an error and leaks those that the kernel has
/// already added (`scm_detach_fds` in `net/core/scm.c`).
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros is a valid `msghdr`: integers and null pointers.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` describes two buffers that live through the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, FLAGS) };
    let mut datagram = Datagram {
        length: Errno::result(length)?.cast_unsigned(),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        sender: None,
        descriptors: Vec::new(),
    };
    // SAFETY: the kernel has filled the control buffer with whole messages, and set its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: the pointer is null or refers to a header in the buffer, which is aligned for it.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: the header is part of a message.
        let data = unsafe { libc::CMSG_DATA(next) };
        let start = data.addr() - next.addr();
        #[allow(clippy::unnecessary_cast)]
        let count = (header.cmsg_len as usize - start) / size_of::<i32>();
        // SAFETY: the content of both kinds of messages consists of this many aligned integers.
        let content = unsafe { slice::from_raw_parts(data.cast::<i32>(), count) };
        match (header.cmsg_level, header.cmsg_type, content) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS, fds) => {
                // SAFETY: the kernel has just created these descriptors for us, and nothing else owns them.
                let own = |fd: &RawFd| unsafe { OwnedFd::from_raw_fd(*fd) };
                datagram.descriptors.extend(fds.iter().map(own));
            }
            (libc::SOL_SOCKET, CREDENTIALS, [pid, uid, _]) => {
                let (pid, uid) = (*pid, uid.cast_unsigned());
                datagram.sender = Some(Sender { pid, uid });
            }
            _ => {}
        }
        // SAFETY: as for the first header.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    for fd in &datagram.descriptors {
        // Redundant where `recvmsg` has a flag for `CLOEXEC`.
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_cloexec() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        assert_eq!(send(here.as_fd(), b"x", &[writer.as_fd()]).unwrap(), 1);
        drop(writer);
        let mut byte = [0];
        let received = receive(there.as_fd(), &mut byte).unwrap();
        let mut fds = received.descriptors;
        assert_eq!((received.length, byte, fds.len()), (1, *b"x", 1));
        let flags = nix::fcntl::fcntl(&fds[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::libc::FD_CLOEXEC);
        std::io::PipeWriter::from(fds.remove(0))
            .write_all(b"through")
            .unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}
