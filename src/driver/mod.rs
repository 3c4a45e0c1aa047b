//! Turns the input from every source into an [`Event`](crate::reload::Event), hands it to the machine, and performs the
//! resulting [`Effect`](crate::reload::Effect)s.
//!
//! A single loop around `select!` runs on the main thread and owns the machine. Long work runs in tasks, which report
//! through the inbox. The user interface, the watch and the sockets have their own threads.

mod build;
mod builds;
mod changes;
mod clock;
mod commands;
mod effects;
mod generation;
mod inbox;
mod log;
mod monitor;
mod notify;
mod requests;
mod run;
mod setup;
mod start;
mod state;

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
        Some(mode) if mode == guardian::MODE => Some(guardian::main()),
        Some(mode) if mode == runner::FLAG => Some(runner::main(args.iter().skip(2).cloned())),
        Some(_) | None => None,
    }
}
