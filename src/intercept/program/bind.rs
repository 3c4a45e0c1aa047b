//! Prepares or performs a program's `bind` calls.

use std::thread;
use std::time::Duration;

use super::{InterceptEvent, InterceptedProgram};
use crate::intercept::decision::{BindingSocket, ProgramSocket};
use crate::os;
use crate::os::process_tree::has_ended;
use crate::os::seccomp::Reply;
use crate::socket::Transport;

impl InterceptedProgram {
    /// Leaves the bind of a TCP socket to the kernel, which knows what the program may bind: Landlock, another security
    /// module or a namespace may forbid the program an address that hotrun may bind. The bind is exclusive unless one
    /// of our sockets has the address (`shared`).
    ///
    /// If the address is in use but no other process is listening there, then a generation has bound the address without
    /// listening, or a listener there is about to be closed. Such an address can be shared. Otherwise, the kernel refuses
    /// the exclusive bind, with the same error as without hotrun: it asks the security modules before it looks for
    /// conflicts (`__sys_bind` in `net/socket.c`).
    pub(super) fn prepare_stream(&mut self, socket: BindingSocket, mut shared: bool) -> Reply {
        let endpoint = socket.binding.endpoint;
        if !shared {
            match self.adopter.must_share(&socket.socket, endpoint) {
                Ok(must) => shared = must,
                Err(_) => self.is_in_use(endpoint),
            }
        }
        match socket.socket.set_reuse_port(shared) {
            Ok(()) => self.binding.push(socket),
            Err(error) => return self.not_adopted(Some(endpoint.address), error),
        }
        Reply::Continue
    }

    /// Binds a datagram socket. It joins its group when it is bound, so hotrun must perform the bind, and first checks
    /// whether the program has the privilege that the kernel requires.
    pub(super) fn bind_datagrams(&mut self, socket: &BindingSocket) -> Reply {
        let endpoint = socket.binding.endpoint;
        if !os::may_bind(socket.thread, endpoint.address.port()) {
            return Reply::Continue;
        }
        let duplicate = socket.socket.try_clone();
        let bind = |socket| self.adopter.bind_datagrams(self.id, socket, endpoint);
        match duplicate.and_then(bind) {
            Ok(joined) => {
                self.add(socket);
                (self.notify)(InterceptEvent::Listens(joined));
                Reply::Success
            }
            // Leave the call to the kernel: the program may have a privilege that hotrun lacks.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                self.not_adopted(Some(endpoint.address), error)
            }
            Err(error) => self.refused(endpoint, &error),
        }
    }

    fn add(&mut self, bound: &BindingSocket) {
        let (Ok(cookie), Ok(inode)) = (os::cookie(&bound.socket), os::inode(&bound.socket)) else {
            return;
        };
        self.sockets.0.push(ProgramSocket {
            cookie,
            inode,
            binding: bound.binding,
            listens: bound.binding.endpoint.transport == Transport::Udp,
            thread: bound.thread,
        });
    }

    /// Waits until the kernel has performed this thread's bind, which takes microseconds. That a bind has failed is
    /// known only when the thread makes another call, so this waits for about two milliseconds at most. If the thread
    /// gets no processor time for longer, a later [`settle`](Self::settle) finds its bind.
    pub(in super::super) fn await_bind(&mut self, thread: i32) {
        for microseconds in [5, 10, 20, 40, 80, 160, 320, 640] {
            self.settle(None);
            if self.binding.iter().all(|one| one.thread != thread) {
                return;
            }
            thread::sleep(Duration::from_micros(microseconds));
        }
    }

    /// Adds the sockets that the kernel has bound as requested, so that our other sockets can share their addresses.
    /// Drops those that are bound elsewhere, and those whose bind has failed: their thread is making another call
    /// (`caller`) or has ended.
    pub(in super::super) fn settle(&mut self, caller: Option<i32>) {
        for one in std::mem::take(&mut self.binding) {
            let wanted = one.binding.endpoint.address;
            let at = one.socket.local_addr().ok().and_then(|at| at.as_socket());
            let at = at.filter(|at| at.port() != 0);
            if at.is_some_and(|at| (at.ip(), at.port()) == (wanted.ip(), wanted.port())) {
                if one.socket.set_reuse_port(true).is_ok() {
                    self.add(&one);
                }
            } else if at.is_some() || caller == Some(one.thread) || has_ended(one.thread) {
                let _ = one.socket.set_reuse_port(one.binding.reuse_port);
            } else {
                self.binding.push(one);
            }
        }
    }
}
