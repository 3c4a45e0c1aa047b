//! The `hotrun` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hotrun::run(&std::env::args_os().collect::<Vec<_>>())
}
