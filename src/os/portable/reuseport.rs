//! Choosing between the sockets that listen on one address: not known here.

use std::io;
use std::os::fd::AsFd;

use crate::os::Instruction;

/// Not possible here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn steer(_member: &impl AsFd, _program: &[Instruction]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not possible here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn hide(_socket: &impl AsFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here: `listen(2)` cuts what it is given.
pub fn longest_queue() -> Option<i32> {
    None
}
