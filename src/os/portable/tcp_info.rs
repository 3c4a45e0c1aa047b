//! What the kernel counts for a TCP socket: not told here.

use std::io;
use std::os::fd::AsFd;

use crate::os::Queue;

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn queue(_socket: &impl AsFd) -> io::Result<Queue> {
    Err(io::ErrorKind::Unsupported.into())
}
