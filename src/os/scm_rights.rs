//! Passes descriptors over a stream socket (`SCM_RIGHTS`, `unix(7)`), on every Unix.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

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

#[cfg(target_os = "linux")]
const FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: MsgFlags = MsgFlags::empty();

/// Receives data into `bytes`, and returns its length and the attached descriptors. Each descriptor has `CLOEXEC` set.
///
/// # Errors
/// As for `recvmsg(2)`; `ENOBUFS` if this process has too few free descriptors. Descriptors that were already delivered
/// then leak, so a process should call this only if it exits on that error.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), FLAGS)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just created these descriptors for us, and nothing else owns them.
            let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
            fds.extend(raw.into_iter().map(own));
        }
    }
    for fd in &fds {
        // Redundant where `recvmsg` has a flag for `CLOEXEC`.
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok((message.bytes, fds))
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
        let (count, mut fds) = receive(there.as_fd(), &mut byte).unwrap();
        assert_eq!((count, byte, fds.len()), (1, *b"x", 1));
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
