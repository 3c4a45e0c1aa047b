//! The accept queue of a TCP socket (`TCP_INFO`, `tcp(7)`, `include/uapi/linux/tcp.h`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use crate::os::Queue;

/// `TCP_LISTEN` in `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

/// The accept queue of a listening TCP socket. For a listener the kernel puts its length into `tcpi_unacked`
/// (`tcp_get_info` in `net/ipv4/tcp.c`).
///
/// # Errors
/// `EOPNOTSUPP` if the socket is not TCP.
pub fn queue(socket: &impl AsFd) -> io::Result<Queue> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers are to `length` writable bytes and to `length` itself, both live during the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    // SAFETY: it consists of integers, for which any bytes are valid, and was zeroed before the kernel wrote to it.
    let info = unsafe { info.assume_init() };
    Ok(Queue {
        listening: info.tcpi_state == LISTEN,
        waiting: info.tcpi_unacked,
    })
}
