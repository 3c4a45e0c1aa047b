use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::binding::Binding;
use super::caller::Caller;
use super::decision::{OnBind, OnListen, ProgramSocket, ProgramSockets};
use super::event::InterceptEvent;
use super::holders::Holders;
use super::outcome::{Outcome, listens, not_adopted, refused};
use crate::os;
use crate::os::seccomp::{Call, InterceptedCalls, Next, Reply, Syscall};
use crate::reload::GenId;
use crate::socket::address::Address;
use crate::socket::adopter::Adopter;
use crate::socket::bind;
use crate::socket::endpoint::{Endpoint, Transport};
use crate::socket::open_error::OpenError;
use crate::socket::scan;

/// The kernel does not report closed sockets. This is how soon they are looked for after a call, and how often while a
/// program shares an address between its own sockets: connections may be steered to a closed one.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two looks while nothing happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Replies to the calls of one generation's program.
pub struct Interceptor {
    /// The generation.
    pub id: GenId,
    /// The owner of the listeners.
    pub adopter: Adopter,
    /// Returns the current processes of the generation.
    pub pids: Box<dyn Fn() -> Vec<i32> + Send>,
    /// Receives what happened.
    pub notify: Box<dyn FnMut(InterceptEvent) + Send>,
}

impl Interceptor {
    /// Starts a thread, which ends when no process is left that could call. `channel` is hotrun's end of
    /// [`os::seccomp::channel`].
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(self, channel: OwnedFd) -> io::Result<()> {
        let name = format!("intercept {}", self.id);
        let thread = thread::Builder::new().name(name);
        thread.spawn(move || Worker::new(self).run(channel))?;
        Ok(())
    }
}

impl fmt::Debug for Interceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptor")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

struct Worker {
    id: GenId,
    adopter: Adopter,
    notify: Box<dyn FnMut(InterceptEvent) + Send>,
    sockets: ProgramSockets,
    holders: Holders,
    /// Until the next look.
    pause: Duration,
    /// Whether the first failure was reported. Later ones are not.
    failed: bool,
}

impl Worker {
    fn new(interceptor: Interceptor) -> Self {
        Self {
            id: interceptor.id,
            adopter: interceptor.adopter,
            notify: interceptor.notify,
            sockets: ProgramSockets::default(),
            holders: Holders::new(interceptor.pids),
            pause: LOOK,
            failed: false,
        }
    }

    fn run(mut self, channel: OwnedFd) {
        let calls = match InterceptedCalls::accept(channel) {
            Ok(Ok(calls)) => calls,
            Ok(Err(errno)) => {
                let why = os::seccomp::unavailable(errno);
                return self.report(InterceptEvent::NotIntercepted(why));
            }
            // The program was never started, which is reported elsewhere.
            Err(_) => return,
        };
        loop {
            match self.next(&calls) {
                Ok(Next::Call(call)) => self.handle(&calls, &call),
                Ok(Next::Stopped) => self.look_again(),
                Ok(Next::Ended) => return,
                // Out of memory: the caller waits, and it may pass.
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// Waits for the next call, or until it is time to look for closed sockets.
    fn next(&self, calls: &InterceptedCalls) -> io::Result<Next> {
        match (self.sockets.any_listens(), self.sockets.several_share()) {
            (false, _) => calls.next(None, None),
            (true, false) => calls.next(None, Some(self.pause)),
            (true, true) => calls.next(self.holders.deaths(), Some(self.pause)),
        }
    }

    /// Looks, and sets the next pause. A look takes longer the more the program has open.
    fn look_again(&mut self) {
        let begun = Instant::now();
        self.look();
        let pause = match self.sockets.several_share() {
            true => LOOK,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        self.pause = pause.max(begun.elapsed() * 20);
    }

    fn handle(&mut self, calls: &InterceptedCalls, call: &Call) {
        self.pause = LOOK;
        let perform = AssertUnwindSafe(|| self.perform(Caller { calls, call }));
        // Without this thread every later call of the program would fail.
        let outcome = catch_unwind(perform)
            .unwrap_or_else(|_| not_adopted(None, io::Error::other("internal error of hotrun")));
        if outcome.in_use.is_some() {
            self.report(InterceptEvent::Refused);
        }
        // This fails only if the caller or hotrun's end of the channel is gone. Either ends the wait.
        let _ = calls.reply(call, outcome.reply);
        if let Some(event) = outcome.event {
            self.report(event);
        }
        // Finding the holder takes long, so it comes after the reply.
        if let Some(endpoint) = outcome.in_use {
            let error = self.in_use(endpoint);
            self.report(InterceptEvent::InUse(error));
        }
    }

    fn report(&mut self, event: InterceptEvent) {
        let fails = matches!(event, InterceptEvent::NotAdopted { .. });
        if !(fails && std::mem::replace(&mut self.failed, true)) {
            (self.notify)(event);
        }
    }

    fn in_use(&self, endpoint: Endpoint) -> OpenError {
        let occupant = match endpoint.transport {
            Transport::Tcp => scan::occupant(endpoint, &self.adopter.inodes()),
            Transport::Udp => None,
        };
        OpenError::InUse {
            address: Address::Tcp(endpoint.address),
            occupant,
        }
    }

    fn perform(&mut self, caller: Caller<'_>) -> Outcome {
        match caller.call.syscall {
            Syscall::Bind {
                fd,
                address,
                length,
            } => match caller.address(address, length) {
                Some(address) => self.bind(caller, fd, address),
                None => Reply::Continue.into(),
            },
            Syscall::Listen { .. } if self.sockets.is_empty() => Reply::Continue.into(),
            Syscall::Listen { fd, backlog } => self.listen(caller, fd, backlog),
        }
    }

    fn bind(&mut self, caller: Caller<'_>, fd: i32, address: SocketAddr) -> Outcome {
        let socket = match caller.socket(fd) {
            Ok(socket) => socket,
            Err(error) => return not_adopted(Some(address), error),
        };
        let (Ok(Some(binding)), Ok(cookie)) = (Binding::of(&socket, address), os::cookie(&socket))
        else {
            return Reply::Continue.into();
        };
        let endpoint = binding.endpoint;
        // Some kernels lose a reply, and the caller repeats its call (see `InterceptedCalls::reply`).
        if self
            .sockets
            .is_repeated(cookie, caller.call.thread, endpoint)
        {
            return Reply::Success.into();
        }
        // The kernel refuses to bind a socket twice, whatever the address.
        if Endpoint::of(&socket).is_ok_and(|bound| bound.address.port() != 0) {
            return Reply::Continue.into();
        }
        if self.sockets.any_overlaps(cookie, endpoint) {
            self.look();
        }
        let neighbours = self.adopter.neighbours(endpoint);
        match self.sockets.on_bind(cookie, &binding, neighbours) {
            OnBind::PassOn => Reply::Continue.into(),
            OnBind::InUse => Reply::Errno(libc::EADDRINUSE).into(),
            OnBind::Listed(listed) => Outcome {
                event: Some(InterceptEvent::Listed {
                    address,
                    listed: listed.address,
                }),
                ..Reply::Errno(libc::EADDRINUSE).into()
            },
            OnBind::Bind { shared } => {
                let bound = self.perform_bind(caller, &socket, endpoint, shared);
                if bound.reply == Reply::Success {
                    self.add(caller, &socket, cookie, binding);
                }
                bound
            }
        }
    }

    fn perform_bind(
        &self,
        caller: Caller<'_>,
        socket: &Socket,
        endpoint: Endpoint,
        shared: bool,
    ) -> Outcome {
        let address = endpoint.address;
        if !os::may_bind(caller.call.thread, address.port()) {
            return Reply::Errno(libc::EACCES).into();
        }
        let bound = match endpoint.transport {
            Transport::Tcp => self
                .bind_stream(socket, endpoint, shared)
                .map(|()| Reply::Success.into()),
            Transport::Udp => socket
                .try_clone()
                .and_then(|socket| self.adopter.bind_datagrams(self.id, socket, endpoint))
                .map(listens),
        };
        match bound {
            Ok(outcome) => outcome,
            // The program may have a privilege that hotrun lacks.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                not_adopted(Some(address), error)
            }
            Err(error) => refused(endpoint, &error),
        }
    }

    /// If the address is in use but nobody else listens there, another generation has it, one that never listened or whose
    /// listener is about to be closed. Those share it.
    fn bind_stream(&self, socket: &Socket, endpoint: Endpoint, shared: bool) -> io::Result<()> {
        let bound = bind::bind_for_program(socket, endpoint, shared);
        let in_use = |error: &io::Error| error.raw_os_error() == Some(libc::EADDRINUSE);
        if !shared
            && bound.as_ref().is_err_and(in_use)
            && !scan::is_occupied(endpoint, &self.adopter.inodes())
        {
            return bind::bind_for_program(socket, endpoint, true);
        }
        bound
    }

    fn add(&mut self, caller: Caller<'_>, socket: &Socket, cookie: u64, binding: Binding) {
        if self.sockets.are_many() {
            self.look();
        }
        if let Ok(inode) = os::inode(socket) {
            self.sockets.add(ProgramSocket {
                cookie,
                inode,
                binding,
                listens: binding.endpoint.transport == Transport::Udp,
                thread: caller.call.thread,
            });
        }
    }

    fn listen(&mut self, caller: Caller<'_>, fd: i32, backlog: i32) -> Outcome {
        let socket = match caller.socket(fd) {
            Ok(socket) => socket,
            Err(error) => return not_adopted(None, error),
        };
        let Ok(cookie) = os::cookie(&socket) else {
            return Reply::Continue.into();
        };
        let binding = self.sockets.binding(cookie);
        if binding.is_some_and(|one| self.sockets.any_overlaps(cookie, one.endpoint)) {
            self.look();
        }
        let listens = os::is_listening(&socket).unwrap_or(false);
        match self.sockets.on_listen(cookie, listens) {
            OnListen::PassOn => Reply::Continue.into(),
            OnListen::InUse => Reply::Errno(libc::EADDRINUSE).into(),
            OnListen::Again => match bind::listen(&socket, backlog) {
                Ok(()) => Reply::Success.into(),
                Err(_) => Reply::Continue.into(),
            },
            OnListen::Join(binding) => self.join(&socket, cookie, backlog, binding.endpoint),
        }
    }

    fn join(&mut self, socket: &Socket, cookie: u64, backlog: i32, at: Endpoint) -> Outcome {
        let duplicate = socket.try_clone();
        let joined = duplicate.and_then(|socket| self.adopter.listen(self.id, socket, backlog));
        match joined {
            Ok(joined) => {
                self.sockets.set_listening(cookie);
                if self.sockets.several_share() {
                    self.look();
                }
                listens(joined)
            }
            // It does listen, so the program must not see an error.
            Err(error) if os::is_listening(socket).unwrap_or(false) => Outcome {
                reply: Reply::Success,
                ..not_adopted(Some(at.address), error)
            },
            Err(error) => refused(at, &error),
        }
    }

    /// Forgets the sockets that no process holds any more, and takes their listeners out.
    fn look(&mut self) {
        let ours = |inode| self.sockets.has(inode);
        let Some(mut held) = self.holders.look(ours) else {
            return;
        };
        if self.sockets.all(|inode| held.contains(&inode)) {
            return;
        }
        // One look is not enough: a process may pass a socket on while the others are looked at.
        let Some(again) = self.holders.look(ours) else {
            return;
        };
        held.extend(again);
        if self.adopter.orphan_unheld(self.id, &held).is_ok() {
            self.sockets.retain(|inode| held.contains(&inode));
        }
    }
}
