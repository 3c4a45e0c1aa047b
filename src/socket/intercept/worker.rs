use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::call::Asked;
use super::claim::{self, LONGEST, parse};
use super::decision::{Claim, OnBind, OnListen, Other, on_bind, on_listen};
use super::event::InterceptEvent;
use super::holders::Holders;
use super::known::{Bound, Known};
use super::verdict::{Verdict, missed, refuse};
use crate::os;
use crate::os::seccomp::{Call, InterceptedCalls, Next, Reply, Syscall, read_memory};
use crate::reload::GenId;
use crate::socket::bind::bind_for_program;
use crate::socket::{Adopter, Endpoint, Transport};

/// A program may close a socket, and nobody tells: how soon that is looked for after a call, and how often where it shares
/// an address among several of its own, so that connections may be going to one that is closed.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two looks while nothing happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Answers the calls of one generation's program.
pub struct Interceptor {
    /// Which generation.
    pub id: GenId,
    /// Where its sockets go.
    pub adopter: Adopter,
    /// Its processes at the moment of the call.
    pub pids: Box<dyn Fn() -> Vec<i32> + Send>,
    /// Told what comes of it.
    pub tell: Box<dyn FnMut(InterceptEvent) + Send>,
}

impl Interceptor {
    /// Begins, in a thread of its own, which ends when no process is left that could call. `channel` is hotrun's end of
    /// the way on which the listener comes ([`os::seccomp::channel`]).
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn begin(self, channel: OwnedFd) -> io::Result<()> {
        let name = format!("adopt {}", self.id);
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
    tell: Box<dyn FnMut(InterceptEvent) + Send>,
    known: Known,
    holders: Holders,
    /// Until the next look.
    pause: Duration,
    /// What could not be done is told once.
    missed: bool,
}

impl Worker {
    fn new(adoption: Interceptor) -> Self {
        let Interceptor {
            id,
            adopter,
            pids,
            tell,
        } = adoption;
        Self {
            id,
            adopter,
            holders: Holders::new(pids),
            tell,
            pause: LOOK,
            known: Known::default(),
            missed: false,
        }
    }

    fn run(mut self, channel: OwnedFd) {
        let calls = match InterceptedCalls::accept(channel) {
            Ok(Ok(calls)) => calls,
            Ok(Err(errno)) => {
                return self.tell(InterceptEvent::Untrapped(os::seccomp::unavailable(errno)));
            }
            // It was never started, which is told elsewhere.
            Err(_) => return,
        };
        loop {
            match self.next(&calls) {
                Ok(Next::Call(call)) => self.answer(&calls, &call),
                Ok(Next::Stopped) => self.look_again(),
                Ok(Next::Ended) => return,
                // Out of memory: the caller waits, and it may pass.
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// The next call, or that it is time to look which sockets are held.
    fn next(&self, calls: &InterceptedCalls) -> io::Result<Next> {
        match (self.known.any_listens(), self.known.several_share()) {
            (false, _) => calls.next_within(None, None),
            (true, false) => calls.next_within(None, Some(self.pause)),
            (true, true) => calls.next_within(self.holders.deaths(), Some(self.pause)),
        }
    }

    /// Looks, and says when next: a look takes the longer the more the program has open.
    fn look_again(&mut self) {
        let begun = Instant::now();
        self.look();
        let next = match self.known.several_share() {
            true => LOOK.max(begun.elapsed() * 20),
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        self.pause = next.max(begun.elapsed() * 20);
    }

    fn answer(&mut self, calls: &InterceptedCalls, call: &Call) {
        self.pause = LOOK;
        // Without this thread every call of the program would fail from then on.
        let decide = AssertUnwindSafe(|| self.decide(Asked { calls, call }));
        let verdict = catch_unwind(decide).unwrap_or_else(|_| {
            missed(None, io::Error::other("hotrun has met a fault of its own"))
        });
        if verdict.in_use.is_some() {
            self.tell(InterceptEvent::Taken);
        }
        // If the answer can't be given the caller is gone, or hotrun's end of it is: both end the waiting.
        let _ = calls.reply(call, verdict.answer);
        // To find out who has an address takes long, so the caller has its answer before.
        let in_use = verdict
            .in_use
            .map(|at| InterceptEvent::InUse(self.adopter.in_use(at)));
        for news in verdict.news.into_iter().chain(in_use) {
            self.tell(news);
        }
    }

    fn decide(&mut self, asked: Asked<'_>) -> Verdict {
        match asked.call.syscall {
            Syscall::Bind {
                fd,
                address,
                length,
            } => self.bind(asked, fd, (address, length)),
            Syscall::Listen { fd, backlog } => self.listen(asked, fd, backlog),
        }
    }

    fn tell(&mut self, news: InterceptEvent) {
        if matches!(news, InterceptEvent::Missed { .. })
            && std::mem::replace(&mut self.missed, true)
        {
            return;
        }
        (self.tell)(news);
    }

    fn bind(&mut self, asked: Asked<'_>, fd: i32, (at, length): (u64, u32)) -> Verdict {
        if length > LONGEST {
            return Reply::Continue.into();
        }
        let bytes = read_memory(asked.call.thread, at, length as usize);
        let Some(address) = bytes.ok().and_then(|bytes| parse(&bytes)) else {
            return Reply::Continue.into();
        };
        if address.port() == 0 {
            return Reply::Continue.into();
        }
        match asked.socket(fd) {
            Ok(socket) => match claim::claim(&socket, address) {
                Ok(Some(claim)) => self.decide_bind(asked, &socket, claim),
                Ok(None) | Err(_) => Reply::Continue.into(),
            },
            Err(error) => missed(Some(address), error),
        }
    }

    fn decide_bind(&mut self, asked: Asked<'_>, socket: &Socket, claim: Claim) -> Verdict {
        let Ok(cookie) = os::cookie(socket) else {
            return Reply::Continue.into();
        };
        if self.lost_answer(cookie, asked.call.thread, claim.endpoint) {
            return Reply::Success.into();
        }
        // The kernel refuses that, whatever the address.
        if Endpoint::of(socket).is_ok_and(|bound| bound.address.port() != 0) {
            return Reply::Continue.into();
        }
        let turn = match claim.endpoint.transport {
            Transport::Udp => Some(self.adopter.datagrams()),
            Transport::Tcp => None,
        };
        let _turn = turn
            .as_ref()
            .map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let around = self.adopter.around(claim.endpoint);
        let others = self.others(cookie, claim.endpoint);
        let address = claim.endpoint.address;
        match on_bind(&claim, &others, around) {
            OnBind::Leave => Reply::Continue.into(),
            OnBind::InUse => Reply::Errno(libc::EADDRINUSE).into(),
            OnBind::Listed(listed) => Verdict {
                answer: Reply::Errno(libc::EADDRINUSE),
                news: Some(InterceptEvent::Listed {
                    address,
                    listed: listed.address,
                }),
                in_use: None,
            },
            OnBind::Bind { shared } => self.perform_bind(asked, socket, cookie, claim, shared),
        }
    }

    /// Some kernels lose an answer, and the caller comes again (see [`InterceptedCalls::answer`]). It is told the same then. Who
    /// really binds a socket twice gets the kernel's answer on the others.
    fn lost_answer(&self, cookie: u64, thread: i32, endpoint: Endpoint) -> bool {
        os::seccomp::may_lose_replies() && self.known.was_told(cookie, thread, endpoint)
    }

    fn perform_bind(
        &mut self,
        asked: Asked<'_>,
        socket: &Socket,
        cookie: u64,
        claim: Claim,
        shared: bool,
    ) -> Verdict {
        let address = claim.endpoint.address;
        if address.port() < os::privilege::first_unprivileged_port()
            && os::privilege::may_bind(asked.call.thread) == Some(false)
        {
            return Reply::Errno(libc::EACCES).into();
        }
        match self.try_bind(socket, claim.endpoint, shared) {
            Ok(()) => self.note_bound(asked, socket, cookie, claim),
            // The program may be allowed what hotrun is not.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                missed(Some(address), error)
            }
            Err(error) => refuse(claim.endpoint, &error),
        }
    }

    /// What is in the way and does not listen is mostly ours: bound by another generation that never listened, or about
    /// to be closed. Those share, and so does it then.
    fn try_bind(&self, socket: &Socket, endpoint: Endpoint, shared: bool) -> io::Result<()> {
        let bound = bind_for_program(socket, endpoint, shared);
        let in_use = |error: &io::Error| error.raw_os_error() == Some(libc::EADDRINUSE);
        let again =
            !shared && endpoint.transport == Transport::Tcp && bound.as_ref().is_err_and(in_use);
        match again && !self.adopter.has_stranger(endpoint) {
            true => bind_for_program(socket, endpoint, true),
            false => bound,
        }
    }

    fn note_bound(
        &mut self,
        asked: Asked<'_>,
        socket: &Socket,
        cookie: u64,
        claim: Claim,
    ) -> Verdict {
        let Ok(inode) = os::inode(socket) else {
            return Reply::Success.into();
        };
        if self.known.is_large() {
            self.look();
        }
        let datagrams = claim.endpoint.transport == Transport::Udp;
        self.known.add(Bound {
            cookie,
            inode,
            claim,
            listens: false,
            thread: asked.call.thread,
        });
        match datagrams {
            true => self.join(asked, socket, 0, claim),
            false => Reply::Success.into(),
        }
    }

    fn listen(&mut self, asked: Asked<'_>, fd: i32, backlog: i32) -> Verdict {
        if self.known.is_empty() {
            return Reply::Continue.into();
        }
        let socket = match asked.socket(fd) {
            Ok(socket) => socket,
            Err(error) => return missed(None, error),
        };
        let Ok(cookie) = os::cookie(&socket) else {
            return Reply::Continue.into();
        };
        let claim = self.known.claim(cookie);
        let others = claim.map_or_else(Vec::new, |claim| self.others(cookie, claim.endpoint));
        let listens = os::is_listening(&socket).unwrap_or(false);
        match (on_listen(claim.as_ref(), listens, &others), claim) {
            (OnListen::Leave, _) | (_, None) => Reply::Continue.into(),
            (OnListen::InUse, _) => Reply::Errno(libc::EADDRINUSE).into(),
            (OnListen::Again, _) => match self.adopter.listen_again(&socket, backlog) {
                Ok(()) => Reply::Success.into(),
                Err(_) => Reply::Continue.into(),
            },
            (OnListen::Join, Some(claim)) => self.join(asked, &socket, backlog, claim),
        }
    }

    fn join(&mut self, asked: Asked<'_>, socket: &Socket, backlog: i32, claim: Claim) -> Verdict {
        let joined = os::cookie(socket).and_then(|cookie| {
            let socket = socket.try_clone()?;
            let adopter = &self.adopter;
            let joined = adopter.listen(self.id, socket, backlog, || asked.is_pending())?;
            Ok((cookie, joined))
        });
        match joined {
            Ok((cookie, joined)) => {
                self.known.listens(cookie);
                if self.known.several_share() {
                    self.look();
                }
                Verdict {
                    answer: Reply::Success,
                    news: Some(InterceptEvent::Listens {
                        address: joined.address,
                        first: joined.first,
                    }),
                    in_use: None,
                }
            }
            // The kernel has done it, and the program must not hear otherwise.
            Err(error) if os::is_listening(socket).unwrap_or(false) => Verdict {
                answer: Reply::Success,
                ..missed(Some(claim.endpoint.address), error)
            },
            Err(error) => refuse(claim.endpoint, &error),
        }
    }

    /// The other sockets of the generation that are in the way, of which some process still has a descriptor.
    fn others(&mut self, cookie: u64, endpoint: Endpoint) -> Vec<Other> {
        if self.known.any_meets(cookie, endpoint) {
            self.look();
        }
        self.known.others(cookie, endpoint)
    }

    /// Forgets what no process holds any more: it is nobody's, and gets nothing.
    fn look(&mut self) {
        let known = &self.known;
        let Some(held) = self.holders.look(|inode| known.has(inode)) else {
            return;
        };
        if self.known.all(|inode| held.contains(&inode)) {
            return;
        }
        // One look is not enough: a process may have handed a socket on while the others were looked at.
        let Some(again) = self.holders.look(|inode| known.has(inode)) else {
            return;
        };
        let is_held = |inode: u64| held.contains(&inode) || again.contains(&inode);
        if self.adopter.disown_unheld(self.id, is_held).is_ok() {
            self.known.keep(is_held);
        }
    }
}
