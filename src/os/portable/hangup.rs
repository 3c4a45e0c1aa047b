//! When a listening socket ends: not told here.

use std::future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Not told here: waits for ever.
///
/// # Errors
/// None.
pub async fn hung_up(_socket: OwnedFd) -> io::Result<()> {
    future::pending().await
}

/// Descriptors of which it is to be told when they end: not told here.
#[derive(Debug)]
pub struct HangupSet;

impl HangupSet {
    /// None yet.
    ///
    /// # Errors
    /// None.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Not told here.
    ///
    /// # Errors
    /// None.
    pub fn watch(&self, _fd: impl AsFd, _key: u64) -> io::Result<()> {
        Ok(())
    }

    /// Nothing to do.
    pub fn forget(&self, _fd: impl AsFd) {}

    /// Waits for ever.
    pub async fn next(&self) -> u64 {
        future::pending().await
    }
}
