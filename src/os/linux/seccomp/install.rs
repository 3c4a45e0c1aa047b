use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::prctl;

use super::filter::{NATIVE, filter};
use crate::os::linux::reuseport::native;

/// `WAIT_KILLABLE_RECV`: once a call was received, only a fatal signal still interrupts it. Without, the signals by
/// which Go preempts its threads make it come again and again. `SPEC_ALLOW`: this is no sandbox, so the
/// mitigations that a kernel may turn on for sandboxes would only slow the program down.
const FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;

/// The filter, made before the fork, so that nothing needs to be allocated or locked behind it.
#[derive(Debug)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

impl Filter {
    /// The one for this architecture.
    pub fn new() -> Self {
        let program = NATIVE.map(|architecture| filter(architecture).iter().map(native).collect());
        Self {
            program: program.unwrap_or_default(),
        }
    }

    /// Whether there is one.
    pub(super) fn fits(&self) -> bool {
        !self.program.is_empty()
    }

    /// Traps this process and all that will descend from it, and sends the listener over the channel, or why there
    /// is none. For the last moment before an exec; neither allocates nor locks. The channel and the listener are
    /// closed by that exec if not before.
    ///
    /// It does not fail where the kernel refuses the filter: the process then goes on without it, and who reads the
    /// channel knows.
    ///
    /// # Errors
    /// The filter is in force and its listener is lost: every `bind` and `listen` would fail with `ENOSYS`.
    pub fn install(&self, channel: BorrowedFd<'_>) -> Result<(), Errno> {
        match self.listener() {
            // Ours is closed here: as long as one is open the kernel does not tell that everybody is gone.
            Ok(listener) => tell(channel, 0, Some(listener.as_fd())),
            Err(errno) => {
                // Nobody reads it: then nobody waits for it.
                let _ = tell(channel, errno as i32, None);
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
            other => other,
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

/// Room for one descriptor as ancillary data, laid out as `cmsg(3)` wants it.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: RawFd,
}

// The data follow the header directly (`CMSG_DATA`), on 64-bit systems.
const _: () = assert!(offset_of!(Rights, fd) == size_of::<libc::cmsghdr>());

/// One message: an `errno` or 0, and the descriptor. By hand, since nix's `sendmsg` allocates.
fn tell(channel: BorrowedFd<'_>, errno: i32, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
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

/// What [`Filter::install`] sent.
pub(super) fn told(bytes: [u8; 4], fd: Option<OwnedFd>) -> io::Result<Result<OwnedFd, Errno>> {
    match (i32::from_ne_bytes(bytes), fd) {
        (0, Some(listener)) => Ok(Ok(listener)),
        (errno, None) if errno > 0 => Ok(Err(Errno::from_raw(errno))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
