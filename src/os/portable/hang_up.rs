//! When a listening socket ends: not told here.

use std::future;
use std::io;
use std::os::fd::OwnedFd;

/// Not told here: waits for ever.
///
/// # Errors
/// None.
pub async fn hung_up(_socket: OwnedFd) -> io::Result<()> {
    future::pending().await
}
