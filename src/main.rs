//! The `hotrun` command.

use std::process::ExitCode;

use hotrun::process::guardian;

fn main() -> ExitCode {
    // The modes in which hotrun starts itself come first, before anything that costs time.
    match std::env::args_os().nth(1) {
        Some(mode) if mode == guardian::MODE => guardian::main(),
        Some(_) | None => ExitCode::SUCCESS,
    }
}
