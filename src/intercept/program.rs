//! Handles the `bind`, `listen` and `connect` calls of a program.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::Socket;

use super::decision::{BindCall, Binding, BindingSocket, OnBind, OnListen, ProgramSockets};
use crate::os;
use crate::os::seccomp::{
    Call, InterceptedCalls, Reply, Syscall, Unavailable, descriptor_of, file_of, pidfds,
    read_memory,
};
use crate::os::socket_holders::sockets_of;
use crate::reload::GenId;
use crate::socket::{self, Adopter, Endpoint, Joined, OpenError, OwnPath, Transport};

/// An event that concerns a program's sockets.
#[derive(Debug)]
pub enum InterceptEvent {
    /// The program is listening, and the next generation can share the address.
    Listens(Joined),
    /// The program is about to get `EADDRINUSE`, because another process uses the address. [`Self::InUse`] follows.
    Refused,
    /// The program is about to listen on a unix socket that it has bound to a path.
    ListensOnPath(OwnPath),
    /// Another process uses the address. The error names the process, if known.
    InUse(OpenError),
    /// A `--listen` address overlaps the one that the program binds.
    Listed {
        /// The address that the program binds.
        address: SocketAddr,
        /// The `--listen` address.
        listed: SocketAddr,
    },
    /// The program runs without interception.
    NotIntercepted(Unavailable),
    /// A socket could not be adopted. The program can still use it.
    NotAdopted {
        /// The socket's address, if known.
        address: Option<SocketAddr>,
        /// The reason for the failure.
        error: io::Error,
    },
}

/// A program's thread that is waiting for the reply to its call.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) calls: &'a InterceptedCalls,
    pub(super) call: &'a Call,
}

impl Caller<'_> {
    /// Duplicates the caller's descriptor as a socket.
    fn socket(self, fd: i32) -> io::Result<Socket> {
        let socket = Socket::from(descriptor_of(self.call.thread, fd)?);
        // Thread ids are reused, so the socket belongs to the caller only if the caller is still waiting.
        match self.calls.is_pending(self.call) {
            true => Ok(socket),
            false => Err(Errno::ESRCH.into()),
        }
    }

    /// Reads the address from the caller's memory. Returns `None` if it is not an IP address, its port is 0, the pointer
    /// is invalid, or the caller is gone. Fails if hotrun lacks the permission to read the memory, or a descriptor.
    fn address(self, at: u64, length: u32) -> io::Result<Option<SocketAddr>> {
        if length > LONGEST_ADDRESS {
            return Ok(None);
        }
        match read_memory(self.call.thread, at, length as usize) {
            Ok(bytes) => Ok(parse_address(&bytes).filter(|address| address.port() != 0)),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EFAULT | Errno::ENOENT | Errno::ESRCH) => Ok(None),
                Some(_) | None => Err(error),
            },
        }
    }
}

/// The size of the longest address, in bytes (`struct sockaddr_storage`, `socket.h(0p)`).
const LONGEST_ADDRESS: u32 = 128;

/// Parses an IP address in the format that `bind` takes (`ip(7)`, `ipv6(7)`). Returns `None` for other families, and if
/// there are too few bytes: the kernel then returns the right error.
fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let array = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let family = i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        // The kernel requires the padding, but ignores its content.
        libc::AF_INET if bytes.len() >= 16 => {
            let ip = Ipv4Addr::from(array(4)?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 if bytes.len() >= 24 => {
            let flow = u32::from_be_bytes(array(4)?);
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            // The oldest form of `sockaddr_in6` has no scope.
            let scope = array(24).map_or(0, u32::from_ne_bytes);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// One generation's program and its sockets.
pub(super) struct InterceptedProgram {
    pub(super) id: GenId,
    pub(super) adopter: Adopter,
    /// Returns the pids of the program's current processes.
    pub(super) pids: Box<dyn Fn() -> Vec<i32> + Send>,
    pub(super) sockets: ProgramSockets,
    pub(super) binding: Vec<BindingSocket>,
    /// Pidfds of the processes that hold one of the sockets, while several sockets share an address.
    pub(super) holders: Vec<OwnedFd>,
    pub(super) notify: Box<dyn FnMut(InterceptEvent) + Send>,
    pub(super) wrote: Box<dyn Fn(PathBuf) + Send>,
    /// Whether the program has called `bind` while hotrun lacked the permission to read its memory.
    pub(super) hidden: bool,
    /// Whether [`InterceptEvent::NotAdopted`] has been reported, which happens only once.
    pub(super) failed: bool,
    /// The address for which the program gets `EADDRINUSE`, until the address's holder is reported.
    pub(super) in_use: Option<Endpoint>,
    /// Whether the generation is no longer starting. If so, the kernel handles all its connections.
    pub(super) started: bool,
    /// The pause before the next search for closed sockets.
    pub(super) pause: Duration,
    pub(super) search_at: Instant,
}

impl InterceptedProgram {
    pub(super) fn perform(&mut self, caller: Caller<'_>) -> Reply {
        self.settle(Some(caller.call.thread));
        match caller.call.syscall {
            Syscall::Bind {
                fd,
                address,
                length,
            } => match caller.address(address, length) {
                Ok(Some(address)) => self.bind(caller, fd, address),
                Ok(None) => Reply::Continue,
                // This may be any socket, even a client's, so the failure is reported only on `listen`.
                Err(_) => {
                    self.hidden = true;
                    Reply::Continue
                }
            },
            Syscall::Listen { fd, backlog } => self.listen(caller, fd, backlog),
            Syscall::Connect { .. } if self.started => Reply::Continue,
            Syscall::Connect {
                fd,
                address,
                length,
            } => match caller.address(address, length) {
                Ok(Some(address)) => self.connect(caller, fd, address),
                Ok(None) | Err(_) => Reply::Continue,
            },
            Syscall::Write(files) => {
                // A file that cannot be determined counts as changed.
                let paths = files.into_iter().flatten();
                let paths = paths.flat_map(|file| file_of(caller.call.thread, file));
                let mut paths: Vec<_> = paths.collect();
                // A call that opens a directory makes a file without a name (`O_TMPFILE`), and one that removes a directory
                // finds it empty. Neither changes a file in it.
                if let [path] = &paths[..]
                    && path.is_dir()
                {
                    paths.clear();
                }
                if caller.calls.is_pending(caller.call) {
                    paths.into_iter().for_each(&self.wrote);
                }
                Reply::Continue
            }
        }
    }

    fn bind(&mut self, caller: Caller<'_>, fd: i32, address: SocketAddr) -> Reply {
        let socket = match caller.socket(fd) {
            Ok(socket) => socket,
            Err(error) => return self.not_adopted(Some(address), error),
        };
        let (Ok(Some(binding)), Ok(cookie)) = (Binding::of(&socket, address), os::cookie(&socket))
        else {
            return Reply::Continue;
        };
        let endpoint = binding.endpoint;
        let bound = Endpoint::of(&socket).is_ok_and(|bound| bound.address.port() != 0);
        if !bound && self.sockets.any_overlaps(cookie, endpoint) {
            self.forget_closed();
        }
        let decision = self.sockets.on_bind(&BindCall {
            cookie,
            thread: caller.call.thread,
            binding,
            bound,
            may_repeat: endpoint.transport == Transport::Udp && os::seccomp::may_lose_replies(),
            neighbours: self.adopter.neighbours(endpoint),
        });
        tracing::debug!("gen {}: bind to {address}: {decision:?}", self.id);
        match decision {
            OnBind::PassOn => Reply::Continue,
            OnBind::Repeated => Reply::Success,
            OnBind::InUse => Reply::Errno(libc::EADDRINUSE),
            OnBind::Listed(listed) => {
                let listed = listed.address;
                (self.notify)(InterceptEvent::Listed { address, listed });
                Reply::Errno(libc::EADDRINUSE)
            }
            OnBind::Bind { shared } => {
                let socket = BindingSocket {
                    socket,
                    binding,
                    thread: caller.call.thread,
                };
                match endpoint.transport {
                    Transport::Tcp => self.prepare_stream(socket, shared),
                    Transport::Udp => self.bind_datagrams(&socket),
                }
            }
        }
    }

    fn listen(&mut self, caller: Caller<'_>, fd: i32, backlog: i32) -> Reply {
        let socket = match caller.socket(fd) {
            Ok(socket) => socket,
            // The program has bound no socket that hotrun could adopt.
            Err(_) if self.sockets.0.is_empty() && !self.hidden => return Reply::Continue,
            Err(error) => return self.not_adopted(None, error),
        };
        let Ok(cookie) = os::cookie(&socket) else {
            return Reply::Continue;
        };
        let binding = self.sockets.binding(cookie);
        if binding.is_some_and(|one| self.sockets.any_overlaps(cookie, one.endpoint)) {
            self.forget_closed();
        }
        let listens = os::is_listening(&socket).unwrap_or(false);
        let decision = self.sockets.on_listen(cookie, listens);
        tracing::debug!("gen {}: listen: {decision:?}", self.id);
        match decision {
            OnListen::PassOn if listens => Reply::Continue,
            OnListen::PassOn => {
                let path = OwnPath::of(&socket, caller.call.thread);
                let path = path.map(InterceptEvent::ListensOnPath);
                path.into_iter().for_each(&mut self.notify);
                Reply::Continue
            }
            OnListen::InUse => Reply::Errno(libc::EADDRINUSE),
            OnListen::Again => match socket::listen(&socket, backlog) {
                Ok(()) => Reply::Success,
                Err(_) => Reply::Continue,
            },
            OnListen::Join(endpoint) => {
                let duplicate = socket.try_clone();
                let join = |socket| self.adopter.join(self.id, socket, backlog);
                match duplicate.and_then(join) {
                    Ok(joined) => {
                        self.sockets.set_listening(cookie);
                        if self.sockets.several_share() {
                            self.forget_closed();
                        }
                        (self.notify)(InterceptEvent::Listens(joined));
                        Reply::Success
                    }
                    // The socket is listening, so the program must not get an error.
                    Err(error) if os::is_listening(&socket).unwrap_or(false) => {
                        self.not_adopted(Some(endpoint.address), error);
                        Reply::Success
                    }
                    Err(error) => self.refused(endpoint, &error),
                }
            }
        }
    }

    /// Passes the kernel's error on to the program. Reports that the address is in use, if that is the error.
    fn refused(&mut self, endpoint: Endpoint, error: &io::Error) -> Reply {
        let errno = error.raw_os_error().unwrap_or(libc::EADDRINUSE);
        if errno == libc::EADDRINUSE {
            self.is_in_use(endpoint);
        }
        Reply::Errno(errno)
    }

    fn is_in_use(&mut self, endpoint: Endpoint) {
        (self.notify)(InterceptEvent::Refused);
        self.in_use = Some(endpoint);
    }

    /// Leaves the call to the kernel, so connections cannot be steered to or away from the socket. Does not report errors
    /// that the program itself has caused.
    pub(super) fn not_adopted(&mut self, address: Option<SocketAddr>, error: io::Error) -> Reply {
        let errno = error.raw_os_error().unwrap_or_default();
        let own = [libc::EBADF, libc::ESRCH, libc::ENOTSOCK].contains(&errno);
        if !own && !std::mem::replace(&mut self.failed, true) {
            (self.notify)(InterceptEvent::NotAdopted { address, error });
        }
        Reply::Continue
    }

    /// Reports which process uses the address for which the program got `EADDRINUSE`.
    pub(super) fn report_in_use(&mut self) {
        if let Some(endpoint) = self.in_use.take() {
            (self.notify)(InterceptEvent::InUse(self.adopter.in_use(endpoint)));
        }
    }

    /// Forgets the sockets that no process holds any longer, and orphans their listeners.
    pub(super) fn forget_closed(&mut self) {
        let Some(mut held) = self.held() else {
            return;
        };
        if self.sockets.0.iter().all(|one| held.contains(&one.inode)) {
            return;
        }
        // Check twice: during the first check, a process may have passed a socket on to one that was already checked.
        let Some(again) = self.held() else {
            return;
        };
        held.extend(again);
        if self.adopter.orphan_unheld(self.id, held.clone()).is_ok() {
            self.sockets.0.retain(|one| held.contains(&one.inode));
        }
    }

    /// Returns the inodes of all sockets that the program's processes hold, or `None` if there are no processes or we may
    /// not inspect one of them.
    fn held(&mut self) -> Option<HashSet<u64>> {
        let ours: HashSet<u64> = self.sockets.0.iter().map(|one| one.inode).collect();
        let pids = (self.pids)();
        let (mut held, mut holders) = (HashSet::new(), Vec::new());
        let inspected = pids.iter().try_for_each(|pid| {
            let sockets = sockets_of(*pid).ok()?;
            if sockets.values().any(|one| ours.contains(one)) {
                holders.push(*pid);
            }
            held.extend(sockets.into_values());
            Some(())
        });
        // Replace them even if the search failed: once a process has exited, its pidfd stays readable.
        let several = self.sockets.several_share();
        self.holders = match several {
            true => pidfds(&holders),
            false => Vec::new(),
        };
        inspected.filter(|()| !pids.is_empty()).map(|()| held)
    }
}

mod bind;
mod connect;
#[cfg(test)]
mod tests;
