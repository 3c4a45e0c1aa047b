//! Intercepts `bind` and `listen` of a program that opens its own sockets, so that the next generation can listen on the
//! same address beside it.
//!
//! The program keeps its socket, with its options and wherever it is registered already. hotrun binds it and makes it
//! listen through a duplicate of the descriptor ([`os::seccomp`]), and adds it to the group of its
//! address. The program gets the results that it would get if it were alone.
//!
//! `decision` decides how to reply, and `program` carries that out, in a thread for each generation: the program waits for
//! the reply, so the thread must not wait for the driver.

mod binding;
mod decision;
mod program;

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use self::decision::ProgramSockets;
pub use self::program::InterceptEvent;
use self::program::{Caller, Program, not_adopted};
use super::adopter::Adopter;
use crate::os;
use crate::os::seccomp::{Call, InterceptedCalls, Next};
use crate::reload::GenId;

/// The kernel does not report closed sockets. This is how soon they are looked for after a call, and how often while a
/// program shares an address between its own sockets: connections may be steered to a closed one.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two looks while nothing happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts a thread that replies to the calls of one generation's program. It ends when no process is left that could call.
/// `channel` is hotrun's end of [`os::seccomp::channel`], `pids` returns the current processes, and `notify` receives what
/// happened.
pub fn start(
    channel: OwnedFd,
    id: GenId,
    adopter: Adopter,
    pids: impl Fn() -> Vec<i32> + Send + 'static,
    notify: impl FnMut(InterceptEvent) + Send + 'static,
) -> io::Result<()> {
    let worker = Worker {
        program: Program {
            id,
            adopter,
            pids: Box::new(pids),
            sockets: ProgramSockets::default(),
        },
        notify: Box::new(notify),
        pause: LOOK,
        failed: false,
    };
    let thread = thread::Builder::new().name(format!("intercept {id}"));
    thread.spawn(move || worker.run(channel))?;
    Ok(())
}

struct Worker {
    program: Program,
    notify: Box<dyn FnMut(InterceptEvent) + Send>,
    /// Until the next look.
    pause: Duration,
    /// Whether the first failure was reported. Later ones are not.
    failed: bool,
}

impl Worker {
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
            let listens = self.program.sockets.0.iter().any(|one| one.listens);
            match calls.next(None, listens.then_some(self.pause)) {
                Ok(Next::Call(call)) => self.handle(&calls, &call),
                Ok(Next::Stopped) => self.look_again(),
                Ok(Next::Ended) => return,
                // Out of memory: the caller waits, and it may pass.
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// Looks for closed sockets, and sets the next pause. A look takes longer the more the program has open.
    fn look_again(&mut self) {
        let begun = Instant::now();
        self.program.look();
        let pause = match self.program.sockets.several_share() {
            true => LOOK,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
        self.pause = pause.max(begun.elapsed() * 20);
    }

    fn handle(&mut self, calls: &InterceptedCalls, call: &Call) {
        self.pause = LOOK;
        let perform = AssertUnwindSafe(|| self.program.perform(Caller { calls, call }));
        // Without this thread every later call of the program would fail.
        let outcome = catch_unwind(perform)
            .unwrap_or_else(|_| not_adopted(None, io::Error::other("internal error of hotrun")));
        if outcome.in_use.is_some() {
            self.report(InterceptEvent::Refused);
        }
        let id = self.program.id;
        tracing::debug!(
            "gen {id}, thread {}: {:?} -> {:?}",
            call.thread,
            call.syscall,
            outcome.reply
        );
        // This fails only if the caller or hotrun's end of the channel is gone. Either ends the wait.
        let _ = calls.reply(call, outcome.reply);
        if let Some(event) = outcome.event {
            self.report(event);
        }
        // Finding the holder takes long, so it comes after the reply.
        if let Some(endpoint) = outcome.in_use {
            let error = self.program.in_use(endpoint);
            self.report(InterceptEvent::InUse(error));
        }
    }

    fn report(&mut self, event: InterceptEvent) {
        let fails = matches!(event, InterceptEvent::NotAdopted { .. });
        if !(fails && std::mem::replace(&mut self.failed, true)) {
            (self.notify)(event);
        }
    }
}
