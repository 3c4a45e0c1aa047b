//! hotrun rebuilds a server when its sources change, starts the new one beside the old one, waits until it is
//! ready, switches new connections to it in one step, and lets the old one drain.
//!
//! This page is for people who read or change the code. It tells the design in ten minutes; the README tells
//! what hotrun does for its users.
//!
//! # One page
//!
//! ```text
//! files ──> watch ──┐                                 ┌──> build   (cargo)
//! keys, signals ────┤                                 ├──> process (spawn, signal, reap)
//! processes ────────┼──> driver ──Event──> reload ────┤
//! probes, notify ───┤   (one select!)   (pure machine)├──> socket  (steer, hold, forward)
//! timers ───────────┘         <──Effect──             └──> ui      (Report stream)
//! bind, listen ─────────────────────────────────────────> socket
//! ```
//!
//! - [`reload`] is a pure state machine: [`Event`](reload::Event)s in, [`Effect`](reload::Effect)s and
//!   [`Notice`](reload::Notice)s out. It does no I/O and has no clock: time comes in as an argument, and the
//!   next deadline is asked for. **Every decision about generations is there.** To change a policy, change it
//!   there, and its tests tell within seconds which promise that breaks.
//! - [`driver`] owns the one `select!` over all sources. It turns every source into an event, hands it to the machine, and
//!   performs the effects. Long work runs in tasks that answer with an event.
//! - [`socket`] does for listening sockets what [`reload`] does for generations: a pure table decides, and one thread owns
//!   the table and all sockets. The driver sends it requests, and so does [`socket::intercept`], which replies to `bind` and
//!   `listen` of programs: a program does not wait for the driver.
//! - [`ui`] gets [`Report`](ui::Report)s, which carry the machine's notices, facts about them, and output. It
//!   holds no handle to anything but the terminal. Keys come back as [`Request`](reload::Request)s.
//! - [`os`] wraps what the kernel gives, and is the one place with `unsafe` and with differences between systems.
//!
//! # The words
//!
//! - **generation**: one build result and the process tree started from it, numbered from 1.
//! - **phases**: *building, starting, ready, live, draining, gone*. *Failed* is a way to be gone.
//! - **live**: the one generation to which new connections go. **switch**: the instant at which another one
//!   becomes live.
//! - **drain**: the old generation finishes what it has, and ends. **drain timeout**: then it is killed.
//! - **listener**: one listening socket of one generation for one address. **group**: all listeners of an address.
//! - **steer**: choose the listener that gets new connections. **hold**: nobody serves, and connections wait in a listener
//!   that the next generation takes. **adopt**: make a listener of the socket that an unmodified program opens.
//!   **forward**: accept a connection that landed in an old listener, and splice it to the live generation. **respond**:
//!   give HTTP clients a 503 with the reason while no generation serves and none is on its way.
//!
//! # A reload, step by step
//!
//! 1. [`watch`] reports that files changed; the machine asks for a build. In cargo mode [`build`] lets
//!    `cargo run` itself build, with hotrun as the `runner`: cargo then tells what it would have started, with
//!    which arguments, environment and folder.
//! 2. [`process`] starts it under a *guardian*: a small hotrun process that is the parent of the generation,
//!    adopts whatever is orphaned in it, reports how it ends, and kills all of it when hotrun is gone, however
//!    that came about. The program is passed its own listening sockets ([`socket`]), or opens them by itself
//!    and they are adopted ([`socket::intercept`]); it gets `NOTIFY_SOCKET`.
//! 3. [`ready`] finds out when it serves, without a connection ever reaching it by accident.
//! 4. The switch: every address is a group of sockets bound with `SO_REUSEPORT`, and a small filter program in
//!    the kernel says which of them gets new connections. Replacing it is one system call.
//! 5. The old generation settles (takes what is already in its queue), then gets the stop signal. If it does
//!    not handle that signal, its connections come first: it gets the signal when they are closed or idle.
//! 6. What still lands in its listeners is forwarded. After the drain timeout the tree is killed. Its listeners are
//!    closed at a moment when the kernel's renumbering of the group can't send a connection astray.
//!
//! # Threads, tasks and processes
//!
//! | what | how many | owns | talks to |
//! | --- | --- | --- | --- |
//! | main thread: [`driver`]'s loop, tokio's one worker | 1 | the machine, the generations | everything, by messages |
//! | tasks on it: probes, monitors, output, forwarded connections | as needed | one piece of work each | the driver, by events |
//! | blocking threads (at most 16): files, `/proc`, dumps of sockets | as needed | nothing | the task that waits |
//! | `sockets` | 1 | the table and every listening socket | its inbox: requests with a reply, and inputs |
//! | `forward PORT` | 1 for each listener that is drained | nothing: it accepts from one listener | `sockets`, tasks |
//! | `intercept N` | 1 for each generation that is adopted | what is known of its sockets | `sockets`, the driver |
//! | threads of [`ui`] and [`watch`] | 1 each, and one that reads keys | the terminal; the watches | the driver |
//! | guardian | 1 process for each generation | its process tree | the driver, by a pipe |
//! | cargo, build commands | 1 process tree at a time | | the driver, by their output |
//!
//! # Invariants
//!
//! Each is checked by name: 1 to 8 and 11 on every edge of the explored state space (`reload/tests`), 9 in
//! `tests/process`, 10 under load in `tests/e2e`.
//!
//! 1. At most one generation is building, one starting, one live.
//! 2. The live generation is signalled only after another is live, or on quit, or in stop-first mode (which programs that
//!    store descriptors are in), or for want of a sign of life that it owes.
//! 3. No generation is started from sources older than the last change seen.
//! 4. A broken build, a crash before ready and a readiness timeout leave the live generation untouched.
//! 5. A stale event (of a generation already gone) changes nothing.
//! 6. Draining is bounded: it ends by itself, by its connections going idle, or by the timeout, which the program may
//!    extend again and again, each time for as long as it says.
//! 7. No change is forgotten: whatever arrives while busy is acted on afterwards.
//! 8. Quit ends in exactly one finish, with no process left and the terminal as it was.
//! 9. No file descriptor of ours other than those named reaches a child.
//! 10. From the first listen to quit, no connection to a watched address is refused or reset by us.
//! 11. Crashes alone lead to two starts at most; then a change or a wish is waited for.
//!
//! # Who may import whom
//!
//! ```text
//! main -> lib -> driver, config, doctor, error, ui
//! doctor -> os
//! driver -> everything below
//! artifact -> build, reload, os
//! ui, watch, build, socket, process, ready -> reload (its vocabulary), os
//! config, cli -> the types in which the modules above take their settings
//! config -> cli               cli -> guide, error          cli, ready -> value
//! reload -> std only          os -> nothing of the crate
//! ```
//!
//! `tests/tidy` holds the code against this table.
//!
//! # Where to find things
//!
//! | to change | look at |
//! | --- | --- |
//! | when something is built, started, stopped or killed | [`reload::Machine`] |
//! | a flag, its help, its default | [`cli`], then [`config`] |
//! | what `hotrun help TOPIC` and the man page say | [`guide`] |
//! | what is printed, the JSON fields, the live terminal, what keys mean | [`ui`] |
//! | what counts as a change | [`watch`] |
//! | how cargo is called and read | [`build`] |
//! | which listener gets connections, and when one is closed | [`socket`], its `table` |
//! | how a program's `bind` and `listen` are answered | [`socket::intercept`] |
//! | the 503 response while no generation serves | [`socket::pending`] |
//! | what counts as ready | [`ready`] |
//! | what `--doctor` looks at | [`doctor`] |
//! | what a program may say to `NOTIFY_SOCKET`, what it stores | [`process::notify`], then [`driver`] and [`reload::Machine`] |
//! | how processes are started, signalled, accounted for | [`process`] |
//! | what is kept to roll back to, when a build counts as unchanged | [`artifact`] |
//! | how an effect is performed | [`driver`] |
//!
//! # Tests that are worth more time
//!
//! `.ci/run` is everything that must hold. Beside it, on Linux:
//!
//! | command | what it does |
//! | --- | --- |
//! | `SOAK=8h cargo test --test e2e -- soak:: --nocapture` | whatever a developer does, in any order, to three servers under load; CI takes 5 minutes |
//! | `RELOADS=1000 cargo test --test e2e -- reload_after_reload --nocapture` | reloads without a pause; CI makes 100 |
//! | `FUZZ_SECONDS=600 cargo test --lib fuzz_ -- --nocapture` | what others send, made up; CI takes a second for each |
//! | `FAULTS=killed cargo test --test e2e -- suite:: --nocapture` | the faults in whose rows that word is |
//! | `MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2 cargo +nightly miri test --lib -- process::wire process::notify::message os::linux::credentials::control os::linux::accepting::fdinfo os::linux::accepting::syscall ui::sanitize socket::pending:: build::progress build::inputs ready::status --skip fuzz_` | what needs no system call that miri does not know |

pub mod artifact;
pub mod build;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod driver;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod guide;
pub mod os;
pub mod process;
pub mod ready;
pub mod reload;
pub mod socket;
pub mod ui;
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

/// Runs hotrun with these arguments, of which the first is its own name, and returns the exit code.
pub fn run(args: Vec<OsString>) -> ExitCode {
    if let Some(code) = driver::hidden_mode(&args) {
        return code;
    }
    match request(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let colour = console::colors_enabled_stderr();
            ui::print_error(&failure.render(colour));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn request(args: Vec<OsString>) -> Result<(), Failure> {
    match config::read(args)? {
        Task::Print(text) => {
            ui::print(&text);
            Ok(())
        }
        Task::Run(config) => outcome(drive(*config)?),
        Task::Doctor(workdir) => check_system(&workdir),
    }
}

fn check_system(workdir: &Path) -> Result<(), Failure> {
    let findings = doctor::check(workdir);
    ui::print(doctor::report(&findings, console::colors_enabled()).as_bytes());
    match doctor::failures(&findings) {
        0 => Ok(()),
        1 => Err(Failure::environment("1 check failed")),
        count => Err(Failure::environment(format!("{count} checks failed"))),
    }
}

/// How many threads read files and query the kernel, which would block the main thread.
const MAX_BLOCKING_THREADS: usize = 16;

/// Everything runs in the main thread: the parent of the guardians must live as long as hotrun (see
/// [`process::guardian`]).
fn drive(config: Config) -> Result<Outcome, Failure> {
    // If the limit cannot be raised, hotrun runs with what it has.
    let _ = os::fd_limit::raise();
    let _ = os::fd_limit::grow_table();
    // One blocking thread is kept forever: it does all the work if the system allows no further thread.
    const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(FOREVER)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    let runtime =
        runtime.map_err(|error| Failure::environment(format!("starting the runtime: {error}")))?;
    runtime.spawn_blocking(|| ());
    let ui = Ui::standard(config.ui.clone());
    let outcome = runtime.block_on(driver::run(config, ui));
    // The user interface's thread may be blocked by a terminal that accepts no output.
    ui::restore_permanently();
    driver::kill_helpers();
    end(runtime);
    Ok(outcome?)
}

/// Does not wait for the blocking threads.
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
    fn the_end_does_not_wait_for_blocking_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        runtime.spawn_blocking(move || {
            started.send(()).unwrap();
            finished.recv()
        });
        has_started.recv().unwrap();
        // This would block forever if it waited.
        end(runtime);
        finish.send(()).unwrap();
    }
}
