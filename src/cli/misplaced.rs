//! Finds commands and options of cargo and cargo-watch, and suggests the command line to use instead.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command;
use crate::error::Failure;

/// Commands of cargo. `watch` is followed by options of cargo-watch.
const COMMANDS: &str = "run build check test watch";
/// Options of `cargo run` that take no value.
const FLAGS: &str = "--release --all-features --no-default-features --locked --offline --frozen";
/// Options of `cargo run` that take a value.
const SETTINGS: &str = "--bin --example -p --package -F --features --profile --target \
                        --target-dir --manifest-path -j --jobs";
/// Options of cargo-watch that take a cargo command or a shell command.
const RUNNERS: &str = "-x --exec -s --shell";

fn is_one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// The error for a command line that contains a command or an option of cargo or cargo-watch. Its hint is a command
/// line that hotrun accepts. Returns `None` if there is no such word, or if something else is wrong too.
///
/// After `--`, every word is the program's.
pub fn misplaced(args: &[OsString]) -> Option<Failure> {
    let mut rest = args.to_vec();
    let (mut first, mut options, mut runner) = (None, Vec::new(), None);
    let matches = loop {
        let error = match command().try_get_matches_from(&rest) {
            Ok(matches) => break matches,
            Err(error) => error,
        };
        let name = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(name)) if error.kind() == ErrorKind::UnknownArgument => name,
            _ => return None,
        };
        let taken = take(&mut rest, name)?;
        match is_one_of(RUNNERS, name) {
            true => runner = Some(run(name, taken.last()?)),
            false => options.extend(taken.iter().map(|word| quoted(word))),
        }
        first.get_or_insert_with(|| format!("`{name}` is not an option of hotrun"));
    };
    let program = matches.get_many::<OsString>("command");
    let program: Vec<OsString> = program.into_iter().flatten().cloned().collect();
    let mut own = rest.split_off(1);
    own.truncate(own.len() - program.len());
    let is_separated = own.pop_if(|word| word == "--").is_some();
    let own: String = own.iter().map(|word| quoted(word) + " ").collect();
    let words = || program.iter().map(|word| quoted(word));
    let word = program.first().and_then(|word| word.to_str()).unwrap_or("");
    let named = is_one_of(COMMANDS, word) && !is_separated;
    if first.is_none() && !named {
        return None;
    }
    if named && word == "watch" {
        let args: Vec<OsString> = args.iter().filter(|arg| *arg != "watch").cloned().collect();
        let line = format!("run `hotrun {own}-- cargo run`");
        let hint = misplaced(&args).and_then(|failure| failure.first_hint());
        return Some(Failure::usage(unknown(word)).hint(hint.unwrap_or(line)));
    }
    let mut line: Vec<String> = match (runner, word) {
        (Some(runner), "") => vec![runner],
        (None, "") => vec!["cargo".into(), "run".into()],
        (None, "cargo") => words().collect(),
        (None, _) if named => ["cargo".into()].into_iter().chain(words()).collect(),
        _ => return None,
    };
    line.splice(line.len().min(2)..line.len().min(2), options);
    let failure = Failure::usage(first.unwrap_or_else(|| unknown(word)));
    let failure = failure.hint(format!("run `hotrun {own}-- {}`", line.join(" ")));
    Some(match named {
        true => failure.hint(format!(
            "to run a program called `{word}`, put `--` before it"
        )),
        false => failure,
    })
}

fn unknown(word: &str) -> String {
    format!("`{word}` is not a command of hotrun")
}

/// Removes the option with this name, and its value, from the command line, and returns both. Returns `None` if the
/// option is unknown or its value is missing.
fn take(args: &mut Vec<OsString>, name: &str) -> Option<Vec<OsString>> {
    let has_value = is_one_of(SETTINGS, name) || is_one_of(RUNNERS, name);
    if !has_value && !is_one_of(FLAGS, name) {
        return None;
    }
    let is_it = |arg: &OsString| {
        let rest = arg.to_str().and_then(|arg| arg.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || name.len() == 2)
    };
    let at = args.iter().position(is_it)?;
    let count = if has_value && args[at] == name { 2 } else { 1 };
    (at + count <= args.len()).then(|| args.drain(at..at + count).collect())
}

/// The command that an option of cargo-watch runs.
fn run(name: &str, value: &OsStr) -> String {
    let value = value.to_string_lossy();
    let value = value
        .strip_prefix(name)
        .unwrap_or(&value)
        .trim_start_matches('=');
    match name {
        "-x" | "--exec" => format!("cargo {value}"),
        _ => format!("sh -c {}", quoted(OsStr::new(value))),
    }
}

/// Quotes a word for a shell, if necessary.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |one: char| one.is_alphanumeric() || "_@%+=:,./-".contains(one);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn hint(line: &str) -> Option<String> {
        let args: Vec<OsString> = shlex::split(line)
            .unwrap()
            .into_iter()
            .map(OsString::from)
            .collect();
        let failure = misplaced(&args)?;
        let hint = failure.first_hint().unwrap();
        let line = hint
            .strip_prefix("run `")
            .unwrap()
            .strip_suffix('`')
            .unwrap();
        Some(line.to_owned())
    }

    #[test]
    fn the_hint_for_a_misplaced_word_is_a_valid_command_line() {
        for (typed, expected) in [
            ("run", "-- cargo run"),
            (
                "run --bin x -- --port 1",
                "-- cargo run --bin x -- --port 1",
            ),
            ("build", "-- cargo build"),
            ("check", "-- cargo check"),
            ("-l 3000 test -q", "-l 3000 -- cargo test -q"),
            ("watch", "-- cargo run"),
            ("watch -x run", "-- cargo run"),
            (
                "watch -c -w src -x 'run -- --port 1'",
                "-c -w src -- cargo run -- --port 1",
            ),
            ("-x run", "-- cargo run"),
            ("-x=run", "-- cargo run"),
            ("-xrun", "-- cargo run"),
            ("-c -s make", "-c -- sh -c make"),
            ("-s 'make serve'", "-- sh -c 'make serve'"),
            ("--release", "-- cargo run --release"),
            ("--bin x", "-- cargo run --bin x"),
            (
                "--bin=x --release -l 3000",
                "-l 3000 -- cargo run --bin=x --release",
            ),
            ("-p api -- cargo run -q", "-- cargo run -p api -q"),
            ("--release run", "-- cargo run --release"),
        ] {
            let line = hint(&format!("hotrun {typed}")).expect(typed);
            assert_eq!(line, format!("hotrun {expected}"), "{typed}");
            let args: Vec<OsString> = shlex::split(&line)
                .unwrap()
                .into_iter()
                .map(OsString::from)
                .collect();
            assert!(misplaced(&args).is_none(), "{line}");
            assert!(cli::parse(args).is_ok(), "{line}");
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
            assert_eq!(hint(&format!("hotrun {line}")), None, "{line}");
        }
    }

    #[test]
    fn other_mistakes_are_left_to_the_parser() {
        for line in [
            "--stop-timout 3s -- x",
            "--relase",
            "-x",
            "--release -- ./app",
            "-h",
            "-x run -- ./app",
        ] {
            assert_eq!(hint(&format!("hotrun {line}")), None, "{line}");
        }
    }
}
