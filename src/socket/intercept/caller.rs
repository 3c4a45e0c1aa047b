use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::Socket;

use super::binding;
use crate::os::seccomp::{Call, InterceptedCalls, descriptor_of, read_memory};

/// The thread of a program that waits for the reply to its call.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) calls: &'a InterceptedCalls,
    pub(super) call: &'a Call,
}

impl Caller<'_> {
    /// A duplicate of the caller's descriptor, if that is a socket.
    pub(super) fn socket(self, fd: i32) -> io::Result<Socket> {
        let socket = Socket::from(descriptor_of(self.call.thread, fd)?);
        // Thread ids are reused: the socket is the caller's only if the caller still waits.
        match self.calls.is_pending(self.call) {
            true => Ok(socket),
            false => Err(Errno::ESRCH.into()),
        }
    }

    /// The IP address in the caller's memory, if it names a port.
    pub(super) fn address(self, at: u64, length: u32) -> Option<SocketAddr> {
        if length > binding::LONGEST_ADDRESS {
            return None;
        }
        let bytes = read_memory(self.call.thread, at, length as usize).ok()?;
        binding::parse(&bytes).filter(|address| address.port() != 0)
    }
}
