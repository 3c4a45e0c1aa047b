//! hotrun rebuilds a server when its sources change, starts the new build next to the old one, waits until it is ready,
//! switches new connections over, and lets the old one drain.
//!
//! This page is for people who read or change the code. The README explains what hotrun does for its users.
//!
//! # One page
//!
//! ```text
//! files ──> watch ──┐                                 ┌──> build   (cargo)
//! sources ────╯     │                                 │
//! keys, signals ────┤                                 ├──> process (spawn, signal, reap)
//! processes ────────┼──> driver ──Event──> reload ────┤
//! probes, notify ───┤   (one select!)   (pure machine)├──> socket  (steer, hold) ──> unclaimed (forward, respond)
//! timers ───────────┘         <──Effect──             ├──> drain   (has a generation finished?)
//!                                                     └──> ui      (Report stream)
//! bind, listen, connect ──> intercept ───────────────────> socket
//! ```
//!
//! - [`reload`] is a pure state machine: it takes [`Event`](reload::Event)s and returns [`Effect`](reload::Effect)s and
//!   [`Notice`](reload::Notice)s. It does no I/O and has no clock; the caller passes in the time and asks for the next
//!   deadline. **It decides when a generation is built, started, switched to, drained and killed.** To change such
//!   a policy, change it there; the tests show within seconds which promise the change breaks. What counts as a change,
//!   as ready and as idle is decided before, in [`watch`] and the driver's `changes`, [`ready`] and [`drain`].
//! - [`driver`] runs the main loop around one `select!`. It turns the input from every source into events, passes them
//!   to the machine, and performs the effects. Long work runs in tasks that send back functions, which the loop calls.
//! - [`socket`] does for listening sockets what [`reload`] does for generations: a pure table decides, and one thread
//!   owns the table and all sockets. The driver sends requests to that thread. So does [`intercept`], which replies to
//!   programs' `bind`, `listen` and `connect` calls, so a program never waits for the driver. [`unclaimed`] handles the
//!   connections that no program accepts, and [`drain`] finds out whether a generation has finished.
//! - [`ui`] receives [`Report`](ui::Report)s: the machine's notices, the driver's messages, and output. The only
//!   resource that it owns is the terminal. The driver turns keys into [`Request`](reload::Request)s.
//! - [`os`] wraps the kernel's interfaces. It is the only place with `unsafe`, and almost the only one with
//!   platform-specific code.
//!
//! # Terms
//!
//! - **generation**: one build or start, and the process tree that comes from it, numbered from 1.
//! - **phases**: *building, starting, ready, sharing, live, kept, draining, gone*. A generation can *fail* in any of the
//!   first five. Only with `--keep`, it is *kept*: it gets no new connections, but may go live again at once.
//! - **instance**: one of several processes of the program (`--instances`), each with its own generations. A reload replaces
//!   the first one, and the others **follow**, one after another.
//! - **live**: the one generation (of each instance) that gets new connections. **switch**: the moment another one becomes live.
//! - **share**: the percentage of new connections that a ready generation gets beside the live one (`--share`).
//! - **drain**: the old generation finishes its connections and exits. After the **stop timeout** it is killed.
//! - **listener**: one listening socket of one generation for one address. **group**: all listeners of an address.
//! - **steer**: choose the listener that gets new connections. **hold**: keep connections waiting until the next
//!   generation gets them, while no generation is live or, with `--fresh`, from a change on. **adopt**: turn the socket that an
//!   unmodified program opens into a listener. **forward**: accept a connection from an old listener and splice it to
//!   the live generation. **respond**: send HTTP clients a 503 with the reason while no generation is live, being built
//!   or starting or, with `--fresh=strict`, after a failure.
//!
//! # A reload, step by step
//!
//! 1. [`watch`] reports changed files, and the machine requests a build. In cargo mode, the command is `cargo run`
//!    with hotrun as cargo's `runner` ([`build`]): cargo builds, then passes hotrun the program that it would have
//!    started, with its arguments, environment and working directory.
//! 2. [`process`] starts the program under a *guardian*, a small hotrun process. The guardian is the subreaper of the
//!    generation's process tree, reports how the program exits, and kills the tree when hotrun is gone, for any reason.
//!    The program inherits its listening sockets ([`socket`]), or opens them itself and hotrun adopts them
//!    ([`intercept`]). It also gets `NOTIFY_SOCKET`.
//! 3. [`ready`] detects when the program is ready. Until then, the program gets only its own connections and those of
//!    hotrun's probes on the live generation's addresses. A narrower address that it opens is an exception.
//! 4. The switch: every address has a group of sockets bound with `SO_REUSEPORT`, and a small filter program in the
//!    kernel chooses the one that gets a new connection. Replacing that program is one system call.
//! 5. With `--keep`, the old generation first stays as it is for a while. Then it drains: it accepts the connections that
//!    are already in its queue, and gets the stop signal once its connections are closed or idle. If they do not become
//!    idle, it gets the signal at the stop timeout, or earlier if it handles the signal.
//!    In the meantime, hotrun keeps its HTTP/1 connections for the live generation ([`drain`], its `kept`).
//! 6. TCP connections that still arrive at its listeners are forwarded. After the stop timeout the tree is killed.
//!    Closing a listener makes the kernel renumber the group, so hotrun closes one only when every connection still lands
//!    in a listener that serves or forwards it.
//!
//! # Threads, tasks and processes
//!
//! | what | how many | owns | talks to |
//! | --- | --- | --- | --- |
//! | main thread: [`driver`]'s loop, tokio's one worker | 1 | the machine, the generations | everything, by messages |
//! | tasks on it: probes, monitors, output, forwarded and kept connections | as needed | one piece of work each | the driver, or `sockets` |
//! | blocking threads (at most 16): files, `/proc`, socket dumps | as needed | nothing | the task or thread that started the work |
//! | `sockets` | 1 | the table and every listening socket | its inbox: inputs, and requests with a reply |
//! | `forward PORT` | 1 per listener that is retired, or from which hotrun responds or forwards | nothing: it accepts from one listener | `sockets`, tasks |
//! | `intercept N` | 1 per generation whose sockets are adopted | its record of the program's sockets | `sockets`, the driver |
//! | threads of [`ui`] and [`watch`] | 1 each | the terminal's output; the watches | the driver |
//! | thread of the notify crate | 1 | the kernel's events | [`watch`]'s thread |
//! | `signals` | 1 | nothing: it receives the signals to hotrun | the driver |
//! | guardian | 1 process per generation, build, rule command, probe command, hook or source | its process tree | the driver, through a socket pair |
//! | cargo, build commands | 1 process tree at a time | | the driver, by their output |
//! | cargo for its metadata and configuration | 1 process at a time, without a guardian | | the thread that reads its output |
//!
//! # Invariants
//!
//! Tests check each invariant: 1 to 8 and 11 by name, on every edge of the explored state space (`reload/tests`), 9 in
//! `tests/process`, and 10 under load in `tests/e2e`.
//!
//! 1. At most one build is running, at most one generation is starting, and at most one is live (of each instance).
//! 2. A live generation is stopped, aborted or killed only after another one has become live, on quit, because its
//!    watchdog fired, or in stop-first mode. That mode also applies to programs that store descriptors or have no
//!    listener that hotrun manages.
//! 3. No generation is started from sources older than the last reported change, except to roll back, or if the newer
//!    build or start has failed.
//! 4. A broken build, a crash before ready and a readiness timeout leave the live generation untouched.
//! 5. A stale event (from a generation that is gone) changes nothing.
//! 6. Draining is bounded: the program is asked to stop once, after it has accepted the connections in its queues, and
//!    in time. If it does not exit in time, it is killed. A program may extend the timeout, each time by a stated amount.
//! 7. No change is lost: a change that arrives during a build or start is acted on afterwards.
//! 8. Quitting finishes exactly once, with the terminal restored and no process left that can be killed in time.
//! 9. Of hotrun's file descriptors, a child inherits only those meant for it.
//! 10. From the first listen to quit, a reload refuses or resets no connection to an address that hotrun manages, unless
//!     hotrun has given the address up and said so.
//! 11. No crash loop: at most two automatic restarts after crashes; then hotrun waits for a change or a request.
//!
//! # Allowed imports
//!
//! ```text
//! main -> lib -> driver, config, doctor, error, os, ui
//! doctor -> os
//! driver -> everything below
//! artifact -> build, reload, os
//! ui, watch, build, socket, process, intercept, drain -> reload (its vocabulary), os
//! intercept, drain -> socket  socket -> unclaimed
//! watch, build -> error       ready -> os, socket, value
//! source -> nothing in the crate
//! config, cli -> the types in which the modules above take their settings
//! config -> cli               cli -> guide, error, value
//! reload -> std only          os, unclaimed -> nothing in the crate
//! ```
//!
//! `tests/tidy` enforces this table.
//!
//! # Where to find things
//!
//! | to change | look at |
//! | --- | --- |
//! | when a generation is built, started, stopped or killed, and the time limits | [`reload`], whose page lists the files |
//! | a flag, its help, its default | [`cli`], then [`config`] |
//! | `hotrun help TOPIC` and the man page | [`guide`] |
//! | messages, JSON fields, the live terminal, keys | [`ui`] |
//! | what counts as a change | [`watch`], then [`driver`]'s `changes` |
//! | which changes are the program's own | [`watch::Suspicion`], [`watch::WriteCalls`], [`intercept`] |
//! | how cargo is called and its output read | [`build`] |
//! | which listener gets connections, and when a listener is closed | [`socket`], its `table` |
//! | the replies to a program's `bind`, `listen` and `connect` | [`intercept`] |
//! | the 503 response while no generation is live | [`unclaimed`], its `respond` |
//! | what happens to a connection that no program accepts | [`socket`], its `table/forwarding`, then [`unclaimed`] |
//! | what counts as ready | [`ready`] |
//! | the warm-up before the switch | [`driver`]'s `warm_up` |
//! | the share that a new generation gets first | [`reload`], its `machine/share`, then [`driver`]'s `share` and [`socket`]'s `table/switch` |
//! | how several instances follow the first one | [`reload`], its `machine/instances` |
//! | the address of `--preview` | [`driver`]'s `preview` |
//! | what happens if memory is short | [`driver`]'s `memory`, then `reload/machine/memory` |
//! | which connections outlive their generation | [`drain`], its `kept`, then [`unclaimed`]'s `kept` |
//! | when a draining generation counts as idle | [`drain`], then `reload/machine/drain` |
//! | the `--doctor` checks | [`doctor`] |
//! | the messages that a program may send to `NOTIFY_SOCKET`, the descriptors it stores | [`process::notify`], [`driver`], [`reload::Machine`] |
//! | how processes are started, signalled and reaped | [`process`] |
//! | the builds kept for rolling back, and when a build counts as unchanged | [`artifact`], then [`driver`]'s `build` |
//! | what counts as a change of a source | [`source`], then [`driver`]'s `sources` |
//! | the commands of `--hook` | [`driver`]'s `hooks` |
//! | how an effect is performed | [`driver`] |
//!
//! `.github/CONTRIBUTING.md` says how to run the tests.

pub mod artifact;
pub mod build;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod drain;
pub mod driver;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod guide;
pub mod intercept;
pub mod os;
pub mod process;
pub mod ready;
pub mod reload;
pub mod socket;
pub mod source;
pub mod ui;
pub mod unclaimed;
pub mod value;
pub mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::config::{Config, Task};
use crate::driver::Outcome;
use crate::error::Failure;
use crate::ui::Ui;

/// Runs hotrun with these arguments, the first of which is its own name, and returns the exit code.
pub fn run(args: &[OsString]) -> ExitCode {
    if let Some(code) = driver::hidden_mode(args) {
        return code;
    }
    match request(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let color = console::colors_enabled_stderr();
            ui::print_error(&failure.render(color));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn request(args: &[OsString]) -> Result<(), Failure> {
    match config::read(args)? {
        Task::Print(text) => print(&text),
        Task::Run(config) => outcome(drive(*config)?),
        Task::Doctor(workdir) => check_system(&workdir),
    }
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let printed = ui::print(text);
    printed.map_err(|error| Failure::environment(format!("cannot write the output: {error}")))
}

fn check_system(workdir: &Path) -> Result<(), Failure> {
    let findings = doctor::check(workdir);
    print(doctor::report(&findings, console::colors_enabled()).as_bytes())?;
    match doctor::failures(&findings) {
        0 => Ok(()),
        1 => Err(Failure::environment("1 check failed")),
        count => Err(Failure::environment(format!("{count} checks failed"))),
    }
}

/// How many threads may read files and query the kernel. On the main thread, this work would block everything else.
const MAX_BLOCKING_THREADS: usize = 16;

/// Runs everything on the main thread: the thread that starts the guardians must live as long as hotrun (see
/// [`process::guardian`]).
fn drive(config: Config) -> Result<Outcome, Failure> {
    // If the limit on open files cannot be raised, hotrun makes do with the current one.
    let _ = os::fd_limit::raise();
    // One blocking thread is kept forever. It does all blocking work if the system allows no further thread.
    const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(FOREVER)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    let runtime = runtime
        .map_err(|error| Failure::environment(format!("cannot start the runtime: {error}")))?;
    runtime.spawn_blocking(|| ());
    let ui = Ui::standard(config.ui.clone());
    let outcome = runtime.block_on(driver::run(config, ui));
    // Done on this thread, because a terminal that accepts no output may be blocking the user interface's thread.
    ui::restore_permanently();
    driver::kill_helpers();
    end(runtime);
    Ok(outcome?)
}

/// Shuts the runtime down without waiting for its blocking threads.
fn end(runtime: Runtime) {
    runtime.shutdown_background();
}

fn outcome(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome { clean: false, .. } => Err(Failure::environment("a program had to be killed")
            .hint("`--stop-timeout` gives it more time")),
        Outcome {
            signal: Some(number),
            ..
        } => Err(Failure::signal(number)),
        Outcome {
            clean: true,
            signal: None,
        } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn shutting_down_does_not_wait_for_blocking_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        runtime.spawn_blocking(move || {
            started.send(()).unwrap();
            finished.recv()
        });
        has_started.recv().unwrap();
        // If `end` waited for the thread, the test would never finish.
        end(runtime);
        finish.send(()).unwrap();
    }
}
