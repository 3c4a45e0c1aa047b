//! What to build, and what to start from it.
//!
//! ```text
//! command line ──recognise──> Plan ──invocation──> (the driver runs it)
//!                              ▲                          │ its output, line by line
//!                              │                          ▼
//!                              └──────finish────────── Messages
//!                                        │
//!                                        ▼
//!                                     Launch: what to start, with which environment, where
//! ```
//!
//! In cargo mode it is cargo itself that says what `cargo run` would start: it is called with the user's
//! own arguments and with a *runner* that is hotrun in a hidden mode (see [`runner`]). Cargo starts the
//! runner in place of the program, with the program's arguments, environment and working directory; the
//! runner writes all of that to its standard output, which is cargo's, and ends. So whatever decides
//! which program runs and how (`-p`, `--bin`, features, profiles, `+toolchain`, aliases, `[env]`, build
//! scripts, library paths) is cargo's own doing.
//!
//! Nothing here starts the build: [`Plan::invocation`] says what to run, [`Messages`] reads what it prints.

mod arguments;
mod cargo;
mod checks;
mod command_line;
mod configuration;
mod error;
mod inputs;
mod launch;
mod message;
mod messages;
mod plan;
mod progress;
mod roots;
pub mod runner;
mod sources;
mod wire;

pub use arguments::{Flag, Piece, Pieces};
pub use cargo::{CargoPlan, RunnerForm};
pub use checks::Target;
pub use command_line::{CargoRun, Selection};
pub use configuration::Configuration;
pub use error::BuildError;
pub use inputs::Inputs;
pub use launch::{Invocation, Launch};
pub use messages::{Diagnostic, Level, Line, Messages};
pub use plan::{Asked, Plan, recognise};
pub use progress::take_progress;
pub use roots::WatchRoots;
use sources::Sources;
