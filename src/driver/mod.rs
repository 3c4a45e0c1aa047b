//! Turns the input from every source into an [`Event`](crate::reload::Event), hands it to the machine, and performs the
//! resulting [`Effect`](crate::reload::Effect)s.
//!
//! A single loop around `select!` runs on the main thread and owns the machine. Long work runs in tasks, which report
//! back with messages: functions that the loop calls. The user interface, the watch and the sockets have their own
//! threads.
//!
//! | file | what it does |
//! | --- | --- |
//! | `setup.rs`, `run.rs` | prepares the loop, runs it |
//! | `changes.rs`, `requests.rs`, `notify.rs` | handle changed files, keys and signals, notifications |
//! | `effects.rs` | performs effects: `build.rs` and `build_task.rs` build, `start.rs` starts a program, `program.rs` monitors it |
//! | `commands.rs`, `hooks.rs`, `sources.rs` | run the commands of rules, hooks and sources |
//! | `env_from.rs`, `warm_up.rs` | read variables before a start, warm a generation up after it |
//! | `share.rs`, `preview.rs` | give a generation a share of the connections, pass those to another address on to it |
//! | `memory.rs` | compares the memory that is available with what a start may need |
//! | `alive.rs` | checks that the live generation still works |
//! | `addresses.rs` | reports missing, released and closed addresses |
//! | `state.rs` | the driver's state, the messages from its tasks |
//! | `clock.rs`, `log.rs` | the machine's clock, the log of events for `--log` |
//!
//! # A change, from the save to the switch
//!
//! | stage | functions, in call order |
//! | --- | --- |
//! | detect | `WatchWorker::touched`, `Debounce::touch` and, once no more events arrive, `WatchWorker::flush` |
//! | classify | `Driver::changed`, `Driver::is_wanted` |
//! | decide | `Driver::handle`, `Machine::handle`, `Machine::advance`, `Driver::perform`; again after each stage |
//! | build | `Driver::build`, `BuildTask::run`, `BuildTask::finish`, `Driver::built` |
//! | start | `Driver::start`, `Sockets::prepare`, `Spawner::start` and, in the guardian, `guardian::main` |
//! | ready | `Driver::readiness`, `ready::wait` |
//! | switch | `Driver::switch`, `Table::switch`, `Group::steer` |

mod addresses;
mod alive;
mod build;
mod build_task;
mod changes;
mod clock;
mod commands;
mod effects;
mod env_from;
mod hooks;
mod log;
mod memory;
mod notify;
mod preview;
mod program;
mod requests;
mod run;
mod setup;
mod share;
mod sources;
mod start;
mod state;
mod warm_up;

pub use crate::process::kill_helpers;
pub use run::run;
pub use state::Outcome;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::build::runner;
use crate::process::guardian;

/// Runs a hidden mode if hotrun was started in one: as the guardian of a process tree, or as cargo's runner.
pub fn hidden_mode(args: &[OsString]) -> Option<ExitCode> {
    match args.get(1) {
        Some(mode) if mode == guardian::MODE => {
            let ended = guardian::main();
            Some(ExitCode::from(ended.map_or(2, |()| 0)))
        }
        Some(mode) if mode == runner::FLAG => Some(runner::main(args.iter().skip(2).cloned())),
        Some(_) | None => None,
    }
}
