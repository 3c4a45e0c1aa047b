//! Intercepts the `bind` and `listen` calls of a program that opens its own sockets, so that the next generation can
//! listen on the same address at the same time. Also intercepts `connect`, because a program that connects to its own
//! address while it starts must not reach the generation that is still live. Reports the files that a program writes, if
//! it is suspected of writing watched files.
//!
//! The program keeps its socket, with its options and its registrations (in an epoll set, for example). Through a
//! duplicate of the descriptor ([`os::seccomp`]), hotrun prepares the socket for the program's own `bind`, which the
//! kernel then allows or refuses. Later, hotrun makes the socket listen, and adds it to the group of its address. The
//! program gets the same results as if no other generation existed.
//!
//! Each generation has a thread that replies to its program's calls. `decision` contains a table of the replies, and
//! `program` carries out the decisions. The program is waiting for the reply, so the thread must not wait
//! for the driver.
//!
//! This module knows the sockets of one program. It asks an [`Adopter`] for everything that concerns other generations.

mod decision;
mod program;

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use self::decision::ProgramSockets;
pub use self::program::InterceptEvent;
use self::program::{Caller, InterceptedProgram};
use crate::os;
use crate::os::seccomp::{Call, InterceptedCalls, Next, Syscall};
use crate::reload::GenId;
use crate::socket::Adopter;

/// The kernel does not report closed sockets, so hotrun has to search for them. This is the time from a call to the
/// first search. It is also the pause between searches while several of the program's sockets share an address, because
/// connections may be steered to a closed one.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two searches while the program makes no call, unless the searches themselves take long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts a thread that replies to the calls of one generation's program. The thread ends once no remaining process can
/// make a call. `channel` is hotrun's end of [`os::seccomp::channel`], `pids` returns the pids of the generation's
/// current processes, `notify` receives events, and `wrote` the paths of files that the program is about to write.
pub fn start(
    channel: OwnedFd,
    id: GenId,
    adopter: Adopter,
    pids: impl Fn() -> Vec<i32> + Send + 'static,
    notify: impl FnMut(InterceptEvent) + Send + 'static,
    wrote: impl Fn(PathBuf) + Send + 'static,
) -> io::Result<()> {
    let program = InterceptedProgram {
        id,
        adopter,
        pids: Box::new(pids),
        sockets: ProgramSockets::default(),
        binding: Vec::new(),
        holders: Vec::new(),
        notify: Box::new(notify),
        wrote: Box::new(wrote),
        hidden: false,
        failed: false,
        in_use: None,
        started: false,
        pause: PAUSE,
        search_at: Instant::now(),
    };
    let thread = thread::Builder::new().name(format!("intercept {id}"));
    thread.spawn(move || program.run(channel))?;
    Ok(())
}

impl InterceptedProgram {
    fn run(mut self, channel: OwnedFd) {
        let calls = match InterceptedCalls::accept(channel) {
            Ok(Ok(calls)) => calls,
            Ok(Err(errno)) => {
                let why = os::seccomp::unavailable(errno);
                return (self.notify)(InterceptEvent::NotIntercepted(why));
            }
            // The program was not started. That is reported elsewhere.
            Err(_) => return,
        };
        loop {
            let listens = self.sockets.0.iter().any(|one| one.listens);
            let searches = listens || !self.binding.is_empty();
            let pause = self.search_at.saturating_duration_since(Instant::now());
            if searches && pause.is_zero() {
                self.search();
                continue;
            }
            match calls.next(&self.holders, searches.then_some(pause)) {
                Ok(Next::Call(call)) => self.handle(&calls, &call),
                Ok(Next::Stopped) => self.search(),
                Ok(Next::Ended) => return,
                // The system is out of memory, which may be temporary. The caller waits until the next attempt.
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    /// Searches for closed sockets, and sets the next pause. The more descriptors the program has, the longer a search
    /// takes, so the pause grows with it.
    fn search(&mut self) {
        let begun = Instant::now();
        self.settle(None);
        self.forget_closed();
        let pause = match self.sockets.several_share() {
            true => PAUSE,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        self.pause = pause.max(begun.elapsed() * 20);
        self.search_at = Instant::now() + self.pause;
    }

    fn handle(&mut self, calls: &InterceptedCalls, call: &Call) {
        // A program may connect or write files all the time, which must not delay the search.
        if !matches!(call.syscall, Syscall::Connect { .. } | Syscall::Write(_)) {
            self.pause = PAUSE;
            self.search_at = Instant::now() + PAUSE;
        }
        let perform = AssertUnwindSafe(|| self.perform(Caller { calls, call }));
        // A panic must not end this thread, because all later calls of the program would then fail.
        let reply = catch_unwind(perform).unwrap_or_else(|_| {
            let error = io::Error::other("internal error in hotrun");
            self.not_adopted(None, error)
        });
        let (id, thread, syscall) = (self.id, call.thread, call.syscall);
        tracing::debug!("gen {id}, thread {thread}: {syscall:?} -> {reply:?}");
        // This fails only if the caller or hotrun's end of the channel is gone. Either way, no caller is waiting.
        let _ = calls.reply(call.id, reply);
        self.await_bind(thread);
        // Finding the process that holds the address takes a long time, so do it only after the reply.
        self.report_in_use();
    }
}
