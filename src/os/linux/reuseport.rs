//! Choosing between the sockets that listen on one address.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use crate::os::Instruction;

/// Makes `program` choose which socket of the group of `member` gets a new connection: the index that it
/// returns, in the order in which the sockets joined by `listen`. It replaces the one before at once, for
/// the whole group (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`; `reuseport_attach_prog` in
/// `net/core/sock_reuseport.c`).
///
/// # Errors
/// `EINVAL` where the program is not a valid one or the socket is in no group, `ENOMEM` where it is longer than
/// `net.core.optmem_max` allows.
pub fn steer(member: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program.iter().map(native).collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // The kernel copies the program during the call: `filter` need not live longer.
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// No interface has this number.
pub(super) const NOWHERE: u32 = i32::MAX as u32;

/// From now on no new connection finds this socket, as if it did not listen; what listens on an address that covers its
/// own gets them. What it has been asked for already still arrives, and is accepted as before.
///
/// It is bound to an interface that does not exist: the kernel looks whether a socket is bound to the one on which a
/// connection comes (`compute_score` in `net/ipv4/inet_hashtables.c`), a handshake that has begun is found without that.
/// Without privileges that can be done once, and not be undone (`sock_bindtoindex_locked` in `net/core/sock.c`).
///
/// # Errors
/// `EPERM` where the program has bound it to an interface itself.
pub fn hide(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).bind_device_by_index_v4(NonZeroU32::new(NOWHERE))
}

pub(super) fn native(instruction: &Instruction) -> libc::sock_filter {
    let Instruction { code, jt, jf, k } = *instruction;
    libc::sock_filter { code, jt, jf, k }
}

/// The longest accept queue that the kernel grants (`net.core.somaxconn`, `listen(2)`), if it says so.
pub fn longest_queue() -> Option<i32> {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}
