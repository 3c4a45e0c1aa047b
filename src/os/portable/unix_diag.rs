//! Unix sockets of the system: not told here.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::os::{Queue, UnixConnection};

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn unix_queue(_inode: u64) -> io::Result<Queue> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn unix_listening(_file: &Metadata) -> io::Result<Option<u64>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn unix_connections(_name: &Path) -> io::Result<Vec<UnixConnection>> {
    Err(io::ErrorKind::Unsupported.into())
}
