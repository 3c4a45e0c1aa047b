//! Commands and options of cargo and cargo-watch, and what to type instead.

use std::ffi::OsString;

use crate::error::Failure;

/// The error for a command of cargo or cargo-watch without `cargo`, as in `hotrun run`. `program` is the end of `args`.
///
/// After `--`, the program may have any name.
pub fn misplaced(args: &[OsString], program: &[OsString]) -> Option<Failure> {
    let own = &args[1..args.len() - program.len()];
    let command = program.first()?.to_str()?;
    let run = match command {
        _ if own.last().is_some_and(|last| last == "--") => return None,
        "run" | "build" | "check" | "test" => joined(program),
        "watch" => " run".to_owned(),
        _ => return None,
    };
    let failure = Failure::usage(format!("`{command}` is not a command of hotrun"));
    let failure = failure.hint(format!("run `hotrun{} -- cargo{run}`", joined(own)));
    Some(failure.hint(format!(
        "to run a program called `{command}`, put `--` before it"
    )))
}

/// The words, each with a space before it, and quoted for a shell if necessary.
fn joined(words: &[OsString]) -> String {
    let is_plain = |one: char| one.is_alphanumeric() || "_@%+=:,./-".contains(one);
    let word = |word: &OsString| match word.to_string_lossy() {
        word if !word.is_empty() && word.chars().all(is_plain) => format!(" {word}"),
        word => format!(" '{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(word).collect()
}

/// The hint for an option of `cargo run` or cargo-watch.
pub(super) fn instead_of(option: &str) -> Option<String> {
    Some(match option {
        "-x" | "--exec" => "instead of `-x run`, end with `-- cargo run`".to_owned(),
        "-s" | "--shell" => "instead of `-s make`, end with `-- sh -c make`".to_owned(),
        "--release"
        | "--all-features"
        | "--no-default-features"
        | "--locked"
        | "--offline"
        | "--frozen" => format!("cargo's options come last: `hotrun -- cargo run {option}`"),
        "--bin" | "--example" | "-p" | "--package" | "-F" | "--features" | "--profile"
        | "--target" | "--target-dir" | "--manifest-path" | "-j" | "--jobs" => {
            format!("cargo's options come last: `hotrun -- cargo run {option} …`")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn failure(line: &str) -> Option<Failure> {
        let args: Vec<_> = shlex::split(line).unwrap();
        let args: Vec<_> = args.into_iter().map(OsString::from).collect();
        match cli::parse(args.clone()) {
            Ok(cli) => misplaced(&args, &cli.command),
            Err(error) => Some(cli::explain(&error)),
        }
    }

    #[test]
    fn the_hint_for_a_command_of_cargo_is_a_valid_command_line() {
        for (typed, expected) in [
            ("run", "-- cargo run"),
            (
                "run --bin x -- --port 1",
                "-- cargo run --bin x -- --port 1",
            ),
            ("build", "-- cargo build"),
            ("check", "-- cargo check"),
            ("-l 3000 test -q", "-l 3000 -- cargo test -q"),
            (
                r"-i '*.tmp' run 'c d' '$x' it\'s",
                r"-i '*.tmp' -- cargo run 'c d' '$x' 'it'\''s'",
            ),
            ("watch -x run", "-- cargo run"),
        ] {
            let hint = failure(&format!("hotrun {typed}")).expect(typed);
            let hint = hint.first_hint().unwrap();
            assert_eq!(hint, format!("run `hotrun {expected}`"), "{typed}");
            assert_eq!(failure(&format!("hotrun {expected}")), None, "{typed}");
        }
    }

    #[test]
    fn the_hint_for_an_option_of_cargo_or_cargo_watch_names_the_option() {
        for option in ["-x run", "-xrun", "-s make", "--release", "--bin=x", "-p x"] {
            let failure = failure(&format!("hotrun -c {option}")).unwrap();
            let name = option
                .split([' ', '='])
                .next()
                .unwrap()
                .replace("xrun", "x");
            let expected = format!("`{name}` is not an option of hotrun");
            assert_eq!(failure.message(), expected);
            assert!(failure.to_string().matches(&name).count() > 1, "{failure}");
            let hint = instead_of(&name).unwrap().replace('…', "x");
            let line = hint.rsplit('`').nth(1).unwrap();
            let line = line.strip_prefix("hotrun ").unwrap_or(line);
            assert_eq!(self::failure(&format!("hotrun {line}")), None, "{hint}");
        }
    }

    #[test]
    fn a_program_after_two_dashes_may_have_any_name() {
        for line in [
            "-- test -e x",
            "-l 3000 -- run",
            "-- watch",
            "./run",
            "cargo run --release",
            "-- x --release",
        ] {
            assert_eq!(failure(&format!("hotrun {line}")), None, "{line}");
        }
    }
}
