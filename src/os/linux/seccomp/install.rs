use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::prctl;

use super::filter::{NATIVE, filter};
use crate::os::linux::reuseport::native;

/// `WAIT_KILLABLE_RECV`: once a call was received, only a fatal signal interrupts it. Without it, the signals by which Go
/// preempts its threads would make the call start again and again. `SPEC_ALLOW`: this is no sandbox, and the mitigations
/// that a kernel may apply to sandboxes would only slow the program down.
const FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;

/// The filter, built before the fork so that the child neither allocates nor locks.
#[derive(Debug)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Default for Filter {
    /// The filter for this architecture.
    fn default() -> Self {
        let program = NATIVE.map(|architecture| filter(architecture).iter().map(native).collect());
        Self {
            program: program.unwrap_or_default(),
        }
    }
}

impl Filter {
    /// Whether this architecture is supported.
    pub(super) fn is_supported(&self) -> bool {
        !self.program.is_empty()
    }

    /// Intercepts the calls of this process and its future descendants, and sends the listener over the channel, or the
    /// reason why there is none. Call it just before an exec, which closes the channel and the listener. It neither
    /// allocates nor locks.
    ///
    /// If the kernel refuses the filter this is not an error: the process continues without it, and the reader of the
    /// channel is told.
    ///
    /// # Errors
    /// The filter is in force and its listener is lost: every `bind` and `listen` would fail with `ENOSYS`.
    pub fn install(&self, channel: BorrowedFd<'_>) -> Result<(), Errno> {
        match self.listener() {
            // Our copy is closed here: while it is open the kernel does not report that every process is gone.
            Ok(listener) => send(channel, 0, Some(listener.as_fd())),
            Err(errno) => {
                // If this fails there is no reader, and none that waits.
                let _ = send(channel, errno as i32, None);
                Ok(())
            }
        }
    }

    fn listener(&self) -> Result<OwnedFd, Errno> {
        match self.set() {
            // Neither `CAP_SYS_ADMIN` nor `no_new_privs` (`seccomp_prepare_filter` in `kernel/seccomp.c`).
            Err(Errno::EACCES) => {
                prctl::set_no_new_privs()?;
                self.set()
            }
            result => result,
        }
    }

    fn set(&self) -> Result<OwnedFd, Errno> {
        if self.program.is_empty() {
            return Err(Errno::ENOSYS);
        }
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).map_err(|_| Errno::EINVAL)?,
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes `len` instructions, live during the call; the kernel only reads them.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                FLAGS,
                &raw const program,
            )
        };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor (with `CLOEXEC`) and nothing else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Ancillary data with one descriptor, in the layout of `cmsg(3)`.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: RawFd,
}

// On 64-bit systems the data follow the header without padding (`CMSG_DATA`).
const _: () = assert!(offset_of!(Rights, fd) == size_of::<libc::cmsghdr>());

/// Sends one message: an `errno` or 0, and the descriptor. Hand-written because nix's `sendmsg` allocates.
fn send(channel: BorrowedFd<'_>, errno: i32, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut bytes = errno.to_ne_bytes();
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut rights = fd.map(rights);
    // SAFETY: a message of zeros is valid: no name, no data, no ancillary data.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(rights) = &mut rights {
        message.msg_control = ptr::from_mut(rights).cast();
        message.msg_controllen = size_of::<Rights>() as _;
    }
    loop {
        // SAFETY: `message` points to `part`, `bytes` and `rights`, all live during the call. `NOSIGNAL`: a reader that
        // is gone is an error, not the end of this process.
        let sent =
            unsafe { libc::sendmsg(channel.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

fn rights(fd: BorrowedFd<'_>) -> Rights {
    // SAFETY: zeros are a valid header (some C libraries have padding in it that cannot be named).
    let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    // Without the padding behind the descriptor, as `CMSG_LEN` counts.
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    Rights {
        header,
        fd: fd.as_raw_fd(),
    }
}
