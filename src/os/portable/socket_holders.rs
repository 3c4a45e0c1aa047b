//! Which process holds a socket: not told here.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::os::Holder;

/// Not told here.
pub fn socket_holder(_inode: u64) -> Option<Holder> {
    None
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn sockets_of(_pid: i32, _knows: impl Fn(u32) -> Option<u64>) -> io::Result<HashMap<u32, u64>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no such path here.
///
/// # Errors
/// Always [`io::ErrorKind::InvalidInput`]: the path is too long for a unix socket.
pub fn short_path(_directory: &impl AsRawFd, _name: &str) -> io::Result<PathBuf> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the path is too long for a unix socket",
    ))
}

/// Not told here: `true`, so that nothing is taken for a leftover.
pub fn process_exists(_pid: u32) -> bool {
    true
}
