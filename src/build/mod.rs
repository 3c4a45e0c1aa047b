//! How to build the program, and how to start it afterwards.
//!
//! ```text
//! options ──> Plan ──command──> (the driver runs it)
//!              ▲                        │ its output, line by line
//!              │                        ▼
//!              └──────launch──────── BuildOutput
//!                       │
//!                       ▼
//!                    Launch: what to start, with which environment, where
//! ```
//!
//! In cargo mode, cargo itself reports what `cargo run` would start. hotrun calls cargo with the user's arguments and
//! sets itself, in a hidden mode, as the *runner* (see [`runner`]). Cargo starts the runner instead of the program,
//! with the program's arguments, environment and working directory. The runner prints these on its standard output,
//! which is also cargo's, and exits. So everything that decides what runs and how (`-p`, `--bin`, features, profiles,
//! `+toolchain`, aliases, `[env]`, build scripts, library paths) is left to cargo.
//!
//! This module does not run the build: [`Plan::build_command`] returns the command, and [`BuildOutput`] parses its
//! output.

mod cargo;
mod choose;
mod command_line;
mod config;
mod inputs;
mod output;
mod plan;
mod reloader;
pub mod runner;
mod target;
mod wrapped;

pub use cargo::CargoPlan;
pub use inputs::BuildInputs;
pub use output::{BuildOutput, Launch, OutputLine, take_progress};
pub use plan::{BuildCommand, Plan, PlanOptions};
pub use reloader::without_reloader;
pub use target::WatchRoots;
pub use wrapped::unwrapped;
