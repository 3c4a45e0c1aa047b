//! Errors in the command line and in the `HOTRUN_…` variables.

use std::ffi::OsString;

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command;
use super::misplaced::instead_of;
use crate::error::Failure;

/// Converts a clap error, and turns clap's tips into hints.
pub fn explain(error: &clap::Error) -> Failure {
    let option = context(error, ContextKind::InvalidArg);
    if let (ErrorKind::UnknownArgument, Some(option)) = (error.kind(), option)
        && let Some(hint) = instead_of(option)
    {
        return Failure::usage(format!("`{option}` is not an option of hotrun")).hint(hint);
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text);
    let tips = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let hints = tips.map(str::to_owned).chain(origin(error));
    Failure::usage(message.trim_end()).hints(hints)
}

/// The error's context of this kind, if it is text.
fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// Names the environment variable that an invalid value comes from, because the user may have forgotten it.
fn origin(error: &clap::Error) -> Option<String> {
    let option = context(error, ContextKind::InvalidArg)?;
    let value = context(error, ContextKind::InvalidValue)?;
    let name = variable(option.split_whitespace().next()?.strip_prefix("--")?);
    let set = std::env::var(&name).ok()?;
    let mut parts = set.split(['\n', ',']).chain([&*set]);
    parts
        .any(|part| part == value)
        .then(|| format!("the value comes from the environment variable `{name}`"))
}

/// The name of the environment variable for the option with this long name.
pub fn variable(long: &str) -> String {
    format!("HOTRUN_{}", long.replace('-', "_").to_uppercase())
}

/// Checks that each of these variables whose name begins with `HOTRUN_` belongs to an option. `HOTRUN_GENERATION`
/// and `HOTRUN_INSTANCE` are allowed, too: hotrun sets them for programs, which may run another hotrun. So are the variables that
/// integration tests set.
///
/// # Errors
///
/// A variable belongs to no option. The hint names the most similar one that does.
pub fn check_variables(names: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let command = command();
    let options = command.get_arguments().filter_map(Arg::get_long);
    let known: Vec<_> = options.map(variable).collect();
    for name in names {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix("HOTRUN_") else {
            continue;
        };
        if ["GENERATION", "INSTANCE"].contains(&rest)
            || rest.starts_with("TEST_")
            || known.iter().any(|it| *it == name)
        {
            continue;
        }
        let likeness = |known: &&String| strsim::jaro_winkler(&name, known);
        let similar = known
            .iter()
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let text = format!("the environment variable `{name}` belongs to no option");
        let hint =
            |similar| format!("a similar one is `{similar}`; `unset {name}` removes this one");
        return Err(Failure::usage(text).hints(similar.map(hint)));
    }
    Ok(())
}
