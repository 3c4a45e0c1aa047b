//! Interception of `bind` and `listen`, which does not exist here.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;

pub use crate::os::intercept::{Call, Next, Reply, Syscall, TestRefusal, Unavailable};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn may_lose_replies() -> bool {
    false
}

pub fn probe(_refusal: Option<TestRefusal>) -> Result<(), Unavailable> {
    Err(Unavailable::Unsupported)
}

pub fn unavailable(_errno: Errno) -> Unavailable {
    Unavailable::Unsupported
}

pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

#[derive(Debug, Default)]
pub struct Filter;

impl Filter {
    pub fn install(&self, _channel: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(())
    }
}

#[derive(Debug)]
pub struct InterceptedCalls(Infallible);

impl InterceptedCalls {
    pub fn accept(_channel: impl AsFd) -> io::Result<Result<Self, Errno>> {
        unsupported()
    }

    pub fn next(
        &self,
        _stop: Option<BorrowedFd<'_>>,
        _timeout: Option<Duration>,
    ) -> io::Result<Next> {
        match self.0 {}
    }

    pub fn is_pending(&self, _call: &Call) -> bool {
        match self.0 {}
    }

    pub fn reply(&self, _call: &Call, _reply: Reply) -> io::Result<()> {
        match self.0 {}
    }
}

pub fn descriptor_of(_thread: i32, _fd: RawFd) -> io::Result<OwnedFd> {
    unsupported()
}

pub fn read_memory(_thread: i32, _address: u64, _length: usize) -> io::Result<Vec<u8>> {
    unsupported()
}
