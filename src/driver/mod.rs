//! Turns every source into an [`Event`](crate::reload::Event), hands it to the machine, and performs the
//! [`Effect`](crate::reload::Effect)s.
//!
//! The one `select!` is here, in the thread that decides about generations. Long work runs in tasks that report through
//! the inbox; no task touches the machine or the build plan. The user interface, the watch and the sockets have threads
//! of their own.
//!
//! [`Effect`]: crate::reload::Effect

mod build;
mod builds;
mod changes;
mod clock;
mod commands;
mod effects;
mod generation;
mod inbox;
mod inputs;
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

/// If hotrun started itself in a hidden mode, as the guardian of a process tree or as cargo's runner, runs that mode.
pub fn hidden_mode(args: &[OsString]) -> Option<ExitCode> {
    match args.get(1) {
        Some(mode) if mode == guardian::MODE => Some(guardian::main()),
        Some(mode) if mode == runner::FLAG => Some(runner::main(args.iter().skip(2).cloned())),
        Some(_) | None => None,
    }
}
