//! Errors in the command line.

use clap::error::{ContextKind, ContextValue};

use crate::error::Failure;

/// Converts a clap error, and turns clap's tips into hints.
pub fn explain(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text);
    let tips = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let hints = tips.map(str::to_owned).chain(origin(error));
    Failure::usage(message.trim_end()).hints(hints)
}

/// Names the environment variable that an invalid value comes from, because the user may have forgotten it.
fn origin(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (option, value) = (
        text(ContextKind::InvalidArg)?,
        text(ContextKind::InvalidValue)?,
    );
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
