//! The `hotrun` command.

use std::process::ExitCode;

use hotrun::build::runner;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == runner::FLAG => runner::main(arguments),
        Some(_) | None => ExitCode::SUCCESS,
    }
}
