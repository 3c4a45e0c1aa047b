//! Errors in the command line.

use std::ffi::OsString;

use clap::Arg;
use clap::error::{ContextKind, ContextValue};

use super::command;
use crate::error::Failure;

/// Converts a clap error, and turns clap's tips into hints.
pub fn explain(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text);
    let tips = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let hints = tips
        .map(str::to_owned)
        .chain(spelling(error))
        .chain(origin(error));
    Failure::usage(message.trim_end()).hints(hints)
}

/// The error's context of this kind, if it is text.
fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// Suggests a valid value that is similar to the invalid one.
fn spelling(error: &clap::Error) -> Option<String> {
    const READY: [&str; 6] = [
        "listen",
        "notify",
        "http:/",
        "log:REGEX",
        "exec:COMMAND",
        "delay:DURATION",
    ];
    let option = context(error, ContextKind::InvalidArg)?;
    let value = context(error, ContextKind::InvalidValue)?;
    let similar = match value.parse::<u64>() {
        // Timeouts are usually given in seconds, and delays in milliseconds.
        Ok(number) if option.contains("DURATION") => match number {
            ..1000 if !option.starts_with("--debounce") => format!("{number}s"),
            _ => format!("{number}ms"),
        },
        Err(_) if option.starts_with("--ready ") => {
            let similar = READY.iter().find(|word| value.get(..3) == word.get(..3))?;
            (*similar).to_owned()
        }
        Ok(_) | Err(_) => return None,
    };
    Some(format!("a similar value is `{similar}`"))
}

/// Names the environment variable that an invalid value comes from, because the user may have forgotten it.
fn origin(error: &clap::Error) -> Option<String> {
    let option = context(error, ContextKind::InvalidArg)?;
    let value = context(error, ContextKind::InvalidValue)?;
    let name = variable(option.split_whitespace().next()?.strip_prefix("--")?);
    let set = std::env::var(&name).ok()?;
    let is_it = set
        .split(['\n', ','])
        .chain([&*set])
        .any(|part| part == value);
    is_it.then(|| format!("the value comes from the environment variable `{name}`"))
}

/// The name of the environment variable for the option with this long name.
pub fn variable(long: &str) -> String {
    format!("HOTRUN_{}", long.replace('-', "_").to_uppercase())
}

/// Checks that each of these variables whose name begins with `HOTRUN_` belongs to an option. `HOTRUN_GENERATION` is
/// allowed, too: hotrun sets it for programs, which may run another hotrun.
///
/// # Errors
///
/// A variable belongs to no option.
pub fn check_variables(names: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let command = command();
    let is_known = |name: &str| {
        let mut options = command.get_arguments().filter_map(Arg::get_long);
        let is_option = options.any(|long| variable(long) == name);
        is_option || name == "HOTRUN_GENERATION"
    };
    for name in names {
        let name = name.to_string_lossy();
        let rest = name.strip_prefix("HOTRUN_").filter(|_| !is_known(&name));
        // Integration tests set variables that begin with `TEST_`.
        let Some(rest) = rest.filter(|rest| !rest.starts_with("TEST_")) else {
            continue;
        };
        let failure = Failure::usage(format!(
            "the environment variable `{name}` belongs to no option"
        ));
        let long = format!("--{}", rest.to_lowercase().replace('_', "-"));
        let error = command
            .clone()
            .try_get_matches_from(["hotrun", &long])
            .err();
        let similar = error
            .as_ref()
            .and_then(|error| context(error, ContextKind::SuggestedArg));
        return Err(
            match similar.and_then(|similar| similar.strip_prefix("--")) {
                Some(long) => failure.hint(format!("a similar one is `{}`", variable(long))),
                None => failure.hint(format!("to remove it, run `unset {name}`")),
            },
        );
    }
    Ok(())
}
