//! Unix sockets (`sock_diag(7)`, `include/uapi/linux/unix_diag.h`).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::netlink::{Scope, ask, attributes, u32_at};
use crate::os::{Queue, UnixConnection};

const SHOW_NAME: u32 = 1;
const SHOW_VFS: u32 = 2;
const SHOW_RQLEN: u32 = 0x10;

const NAME: u16 = 0;
const VFS: u16 = 1;
const RQLEN: u16 = 4;
const SHUTDOWN: u16 = 6;

const FIXED: usize = 16;
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
const NO_MORE_IN: u8 = 1;
/// Neither side sends any more: so it is as soon as the other end is closed.
const BOTH_WAYS: u8 = 3;

/// The accept queue of the listening unix socket with this inode.
///
/// # Errors
/// `ENOENT` if no socket has it; where the kernel does not answer, what it says.
pub fn unix_queue(inode: u64) -> io::Result<Queue> {
    let mut queue = Queue {
        listening: false,
        waiting: 0,
    };
    let inode = u32::try_from(inode).map_err(|_| io::ErrorKind::NotFound)?;
    ask(
        &request(u32::MAX, inode, SHOW_RQLEN),
        Scope::One,
        |answer| {
            // A listener that was shut down keeps its state, and takes nothing more.
            queue.listening = answer.get(2) == Some(&LISTEN) && shut(answer) & NO_MORE_IN == 0;
            queue.waiting = attribute(answer, RQLEN).map_or(0, |content| u32_at(content, 0));
        },
    )?;
    Ok(queue)
}

/// The inode of the socket that listens at this file.
///
/// # Errors
/// Where the kernel does not answer.
pub fn unix_listening(file: &Metadata) -> io::Result<Option<u64>> {
    let (major, minor) = (
        nix::sys::stat::major(file.dev()),
        nix::sys::stat::minor(file.dev()),
    );
    // Both cut to 32 bits, the device as the kernel writes it inside (`sk_diag_dump_vfs` in `net/unix/diag.c`).
    let wanted = (file.ino() as u32, (major << 20 | minor) as u32);
    let mut found = None;
    ask(&request(1 << LISTEN, 0, SHOW_VFS), Scope::All, |answer| {
        let file = attribute(answer, VFS).map(|content| (u32_at(content, 0), u32_at(content, 4)));
        if file == Some(wanted) {
            found = Some(u64::from(u32_at(answer, 4)));
        }
    })?;
    Ok(found)
}

/// The connections of the sockets that were bound under this name: an accepted socket has its listener's.
///
/// # Errors
/// Where the kernel does not answer.
pub fn unix_connections(name: &Path) -> io::Result<Vec<UnixConnection>> {
    let mut found = Vec::new();
    let wanted = name.as_os_str().as_encoded_bytes();
    ask(
        &request(1 << ESTABLISHED, 0, SHOW_NAME | SHOW_RQLEN),
        Scope::All,
        |answer| {
            let name = attribute(answer, NAME).map(|name| name.strip_suffix(&[0]).unwrap_or(name));
            if name == Some(wanted) {
                found.push(connection(answer));
            }
        },
    )?;
    Ok(found)
}

fn connection(answer: &[u8]) -> UnixConnection {
    UnixConnection {
        inode: u64::from(u32_at(answer, 4)),
        peer_gone: shut(answer) & BOTH_WAYS == BOTH_WAYS,
        unread: attribute(answer, RQLEN).map_or(0, |content| u32_at(content, 0)),
    }
}

/// Which ways were shut down (`SHUTDOWN_MASK` in `include/net/sock.h`).
fn shut(answer: &[u8]) -> u8 {
    attribute(answer, SHUTDOWN)
        .and_then(|content| content.first().copied())
        .unwrap_or(0)
}

/// `struct unix_diag_req`: family, protocol, padding, states, inode, what to show, cookie (any).
fn request(states: u32, inode: u32, show: u32) -> Vec<u8> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend(show.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

fn attribute(answer: &[u8], kind: u16) -> Option<&[u8]> {
    let rest = answer.get(FIXED..)?;
    attributes(rest)
        .find(|(this, _)| *this == kind)
        .map(|(_, content)| content)
}
