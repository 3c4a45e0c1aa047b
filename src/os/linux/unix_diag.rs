//! Unix sockets (`sock_diag(7)`, `include/uapi/linux/unix_diag.h`). Every function fails if the kernel refuses the
//! request.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::netlink::{DiagResponse, query, u32_at};
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
const RCV_SHUTDOWN: u8 = 1;
/// Both directions are shut down, which is the case once the peer has closed its socket.
const SHUTDOWN_MASK: u8 = 3;

/// Returns the accept queue of the listening unix socket with this inode.
pub fn unix_queue(inode: u64) -> io::Result<Queue> {
    let mut queue = Queue {
        listening: false,
        waiting: 0,
    };
    let inode = u32::try_from(inode).map_err(|_| io::ErrorKind::NotFound)?;
    let request = request(u32::MAX, inode, SHOW_RQLEN);
    query(&request, false, FIXED, |socket| {
        // A listener that was shut down keeps its state, but accepts no more connections.
        queue.listening = socket.fixed[2] == LISTEN && shut_down(socket) & RCV_SHUTDOWN == 0;
        queue.waiting = queue_length(socket);
    })?;
    Ok(queue)
}

/// Returns the inode of the listening socket that is bound to this file.
pub fn unix_listening(file: &Metadata) -> io::Result<Option<u64>> {
    let (major, minor) = (major(file.dev()), minor(file.dev()));
    // The kernel reports the inode and the device truncated to 32 bits, the device in its internal form
    // (`sk_diag_dump_vfs` in `net/unix/diag.c`).
    let wanted = (file.ino() as u32, (major << 20 | minor) as u32);
    let mut found = None;
    query(&request(1 << LISTEN, 0, SHOW_VFS), true, FIXED, |socket| {
        let file = socket
            .attribute(VFS)
            .map(|content| (u32_at(content, 0), u32_at(content, 4)));
        if file == Some(wanted) {
            found = Some(socket.u32(4).into());
        }
    })?;
    Ok(found)
}

/// Returns the connections to the sockets bound to this name. An accepted socket has the same name as its listener.
pub fn unix_connections(name: &Path) -> io::Result<Vec<UnixConnection>> {
    let mut found = Vec::new();
    let wanted = name.as_os_str().as_encoded_bytes();
    let request = request(1 << ESTABLISHED, 0, SHOW_NAME | SHOW_RQLEN);
    query(&request, true, FIXED, |socket| {
        let name = socket
            .attribute(NAME)
            .map(|name| name.strip_suffix(&[0]).unwrap_or(name));
        if name == Some(wanted) {
            found.push(UnixConnection {
                inode: socket.u32(4).into(),
                peer_gone: shut_down(socket) == SHUTDOWN_MASK,
                unread: queue_length(socket),
            });
        }
    })?;
    Ok(found)
}

/// Builds a `struct unix_diag_req`: family, protocol, padding, states, inode, attributes to show, cookie (any).
fn request(states: u32, inode: u32, show: u32) -> Vec<u8> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend(show.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

/// Returns the number of connections to accept (for a listener) or of bytes to read (for a connection).
fn queue_length(socket: &DiagResponse<'_>) -> u32 {
    socket
        .attribute(RQLEN)
        .map_or(0, |content| u32_at(content, 0))
}

/// Returns the directions that have been shut down (`SHUTDOWN_MASK` in `include/net/sock.h`).
fn shut_down(socket: &DiagResponse<'_>) -> u8 {
    let content = socket
        .attribute(SHUTDOWN)
        .and_then(|content| content.first());
    content.map_or(0, |directions| directions & SHUTDOWN_MASK)
}
