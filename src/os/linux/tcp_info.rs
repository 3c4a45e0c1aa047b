//! What the kernel counts for a TCP socket (`TCP_INFO`, `tcp(7)`, `include/uapi/linux/tcp.h`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::os::Queue;

/// `TCP_LISTEN` in `include/net/tcp_states.h`.
const LISTEN: u8 = 10;
/// Enough for the fields that are read here.
const LENGTH: usize = 256;
const UNACKED: usize = 24;

/// The accept queue of a listening TCP socket. For a listener the kernel puts its length into `tcpi_unacked`
/// (`tcp_get_info` in `net/ipv4/tcp.c`).
///
/// # Errors
/// What `getsockopt` answers, `EOPNOTSUPP` for a socket that is not TCP.
pub fn queue(socket: &impl AsFd) -> io::Result<Queue> {
    let info = read(socket)?;
    Ok(Queue {
        listening: info.first() == Some(&LISTEN),
        waiting: super::netlink::u32_at(&info, UNACKED),
    })
}

fn read(socket: &impl AsFd) -> io::Result<Vec<u8>> {
    let mut info = vec![0_u8; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointers are to `length` writable bytes and to `length` itself, both live during the call.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    info.truncate(length as usize);
    Ok(info)
}
