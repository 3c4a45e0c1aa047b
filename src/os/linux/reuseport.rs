//! Steering between the sockets that listen on one address (`SO_REUSEPORT`, `socket(7)`).

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use crate::os::Instruction;

/// Attaches a program that chooses the socket of the group of `member` that gets a new connection: the program returns an
/// index, in the order in which the sockets joined by `listen`. It replaces the previous program of the whole group in one
/// step (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`; `reuseport_attach_prog` in `net/core/sock_reuseport.c`).
///
/// # Errors
/// `EINVAL` if the program is invalid or the socket is in no group, `ENOMEM` if it is longer than `net.core.optmem_max`
/// allows.
pub fn steer(member: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program.iter().map(native).collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_mut_ptr(),
    };
    // The kernel copies the program during the call, so `filter` need not live longer.
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// No interface has this index.
pub(super) const NO_INTERFACE: u32 = i32::MAX as u32;

/// Hides a listening socket from new connections, as if it did not listen; a listener on an address that covers the same
/// port gets them instead. Connections in its queue and handshakes under way still arrive and can be accepted.
///
/// The socket is bound to an interface that does not exist. The kernel compares the interface of a new connection with that
/// of the socket (`compute_score` in `net/ipv4/inet_hashtables.c`); it finds the socket of a handshake under way without
/// that comparison. Without privileges this works once and cannot be undone (`sock_bindtoindex_locked` in
/// `net/core/sock.c`).
///
/// # Errors
/// `EPERM` if the program has bound it to an interface itself.
pub fn hide(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).bind_device_by_index_v4(NonZeroU32::new(NO_INTERFACE))
}

pub(super) fn native(instruction: &Instruction) -> libc::sock_filter {
    let Instruction { code, jt, jf, k } = *instruction;
    libc::sock_filter { code, jt, jf, k }
}

/// The longest accept queue that the kernel grants (`net.core.somaxconn`, `listen(2)`), if it reports it.
pub fn longest_queue() -> Option<i32> {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}
