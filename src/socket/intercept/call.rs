use std::io;

use nix::errno::Errno;
use socket2::Socket;

use crate::os::seccomp::{Call, InterceptedCalls, descriptor_of};

/// A call, and by what it was heard.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) calls: &'a InterceptedCalls,
    pub(super) call: &'a Call,
}

impl Asked<'_> {
    /// Whether the caller still waits for its answer.
    pub(super) fn is_pending(self) -> bool {
        self.calls.is_pending(self.call)
    }

    /// A duplicate of the caller's descriptor, if that is a socket.
    pub(super) fn socket(self, fd: i32) -> io::Result<Socket> {
        let socket = Socket::from(descriptor_of(self.call.thread, fd)?);
        // Whatever was found out is of this caller only if it still waits.
        match self.is_pending() {
            true => Ok(socket),
            false => Err(Errno::ESRCH.into()),
        }
    }
}
