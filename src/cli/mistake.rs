//! Says what is wrong with a command line, in the same form as every other error.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Wrong, variable};

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong: the option, the value, what is allowed.
    pub message: String,
    /// The nearest right spelling, and where a value came from.
    pub hints: Vec<String>,
}

/// Puts clap's error into our words. What has no words of ours keeps clap's.
pub fn explain(error: &clap::Error) -> Mistake {
    let mut hints = Vec::new();
    let message = if error.kind() == ErrorKind::UnknownArgument {
        unknown_option(error, &mut hints)
    } else if matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    ) {
        wrong_value(error, &mut hints)
    } else {
        plain(error)
    };
    Mistake { message, hints }
}

fn unknown_option(error: &clap::Error, hints: &mut Vec<String>) -> String {
    let option = text(error, ContextKind::InvalidArg);
    match first(error, ContextKind::SuggestedArg) {
        Some(near) => hints.push(format!("did you mean `{near}`?")),
        None => hints.push(
            "`hotrun --help` lists the options; those of the program go after `--`".to_owned(),
        ),
    }
    format!("unknown option `{option}`")
}

fn wrong_value(error: &clap::Error, hints: &mut Vec<String>) -> String {
    let value = text(error, ContextKind::InvalidValue);
    let option = text(error, ContextKind::InvalidArg);
    let wrong = error
        .source()
        .and_then(|source| source.downcast_ref::<Wrong>());
    let near = match wrong {
        Some(wrong) => wrong.nearest.clone(),
        None => first(error, ContextKind::SuggestedValue),
    };
    hints.extend(near.map(|near| format!("did you mean `{near}`?")));
    hints.extend(origin(&option, &value));
    let lead = if value.is_empty() {
        format!("`{option}` needs a value")
    } else {
        format!("invalid value `{value}` for `{option}`")
    };
    match allowed(error) {
        Some(allowed) => format!("{lead}: {allowed}"),
        None => lead,
    }
}

fn allowed(error: &clap::Error) -> Option<String> {
    if let Some(source) = error.source() {
        return Some(source.to_string());
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            Some(format!("use {}", one_of(&quoted)))
        }
        _ => None,
    }
}

/// `a`, `b` or `c`.
fn one_of(values: &[String]) -> String {
    match values.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A value that nobody typed just now is hard to find without this.
fn origin(option: &str, value: &str) -> Option<String> {
    let long = option.split_whitespace().next()?.strip_prefix("--")?;
    let name = variable(long);
    let set = std::env::var(&name).ok()?;
    let separators = ['\n', ','];
    (set == value || set.split(separators).any(|part| part == value))
        .then(|| format!("the value comes from the environment variable `{name}`"))
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    first(error, kind).unwrap_or_default()
}

fn first(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let value = error.get(kind)?;
    if let ContextValue::String(text) = value {
        return Some(text.clone());
    }
    let ContextValue::Strings(texts) = value else {
        return None;
    };
    texts.first().cloned()
}

/// clap's own text without what we write ourselves: the word `error:` and the usage.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\n")
        .next()
        .unwrap_or(text)
        .trim_end()
        .to_owned()
}
