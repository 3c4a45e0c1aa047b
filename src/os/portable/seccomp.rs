//! Seeing the `bind` and `listen` of a program: there is no call for it here.

use std::convert::Infallible;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

pub use crate::os::intercept::{Call, Next, Reply, Syscall, TestRefusal, Unavailable};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No answers are given.
pub fn may_lose_replies() -> bool {
    false
}

/// It does not work here.
///
/// # Errors
/// Always [`Unavailable::Unsupported`].
pub fn probe(_refuse: Option<TestRefusal>) -> Result<(), Unavailable> {
    Err(Unavailable::Unsupported)
}

/// It does not work here.
pub fn unavailable(_errno: Errno) -> Unavailable {
    Unavailable::Unsupported
}

/// No use for it here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

/// Nothing.
#[derive(Debug, Default)]
pub struct Filter;

impl Filter {
    /// Nothing.
    pub fn new() -> Self {
        Self
    }

    /// Installs nothing.
    ///
    /// # Errors
    /// None.
    pub fn install(&self, _channel: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(())
    }
}

/// There are none.
#[derive(Debug)]
pub struct InterceptedCalls(Infallible);

impl InterceptedCalls {
    /// Not to be had.
    ///
    /// # Errors
    /// Always [`io::ErrorKind::Unsupported`].
    #[expect(clippy::needless_pass_by_value)]
    pub fn accept(_channel: OwnedFd) -> io::Result<Result<Self, Errno>> {
        unsupported()
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn next(&self, _stop: BorrowedFd<'_>) -> io::Result<Next> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn next_within(
        &self,
        _stop: Option<BorrowedFd<'_>>,
        _timeout: Option<std::time::Duration>,
    ) -> io::Result<Next> {
        match self.0 {}
    }

    /// Never called.
    pub fn is_pending(&self, _call: &Call) -> bool {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn reply(&self, _call: &Call, _answer: Reply) -> io::Result<()> {
        match self.0 {}
    }
}

/// Not to be had.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn descriptor_of(_thread: i32, _fd: RawFd) -> io::Result<OwnedFd> {
    unsupported()
}

/// Not to be had.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn read_memory(_thread: i32, _address: u64, _length: usize) -> io::Result<Vec<u8>> {
    unsupported()
}
