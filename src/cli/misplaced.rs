//! Commands and options of cargo and cargo-watch, and what to type instead.

use std::borrow::Cow;
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

/// The hint for an option of `cargo run` or cargo-watch. `args`: the command line.
pub(super) fn instead_of(option: &str, args: &[OsString]) -> Option<String> {
    let value = |default: &str| value_of(option, args).unwrap_or_else(|| default.into());
    Some(match option {
        "-x" | "--exec" => {
            let run = value("run");
            let typed = joined(&[run.clone().into()]);
            format!("instead of `{option}{typed}`, end with `-- cargo {run}`")
        }
        "-s" | "--shell" => {
            let typed = joined(&[value("make").into()]);
            format!("instead of `{option}{typed}`, end with `-- sh -c{typed}`")
        }
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

/// The value of this option: the rest of its word, or else the next word.
fn value_of(option: &str, args: &[OsString]) -> Option<String> {
    let mut words = args.iter().map(|word| word.to_string_lossy());
    let rest = words.find_map(|word| word.strip_prefix(option).map(str::to_owned))?;
    match rest.trim_start_matches('=') {
        "" => words.next().map(Cow::into_owned),
        rest => Some(rest.to_owned()),
    }
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
            Err(error) => Some(cli::explain(&error, &args)),
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
        }
    }

    #[test]
    fn the_hint_for_an_option_of_cargo_watch_keeps_its_value() {
        for (typed, expected) in [
            ("-x run", "cargo run"),
            ("-x 'run --release'", "cargo run --release"),
            ("'-xrun -p a'", "cargo run -p a"),
            ("--exec='run -- --port 1'", "cargo run -- --port 1"),
            ("-x", "cargo run"),
            ("-s 'make all'", "sh -c 'make all'"),
        ] {
            let hint = failure(&format!("hotrun -c {typed}")).expect(typed);
            let hint = hint.first_hint().unwrap();
            assert!(
                hint.ends_with(&format!("end with `-- {expected}`")),
                "{hint}"
            );
            assert_eq!(
                failure(&format!("hotrun -c -- {expected}")),
                None,
                "{typed}"
            );
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
