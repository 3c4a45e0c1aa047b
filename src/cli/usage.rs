use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::variable;
use crate::error::Failure;
use crate::value::InvalidValue;

/// Converts an error of clap. Errors that need no wording of our own keep the text of clap.
pub fn explain(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::UnknownArgument {
        unknown_option(error)
    } else if matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    ) {
        invalid_value(error)
    } else {
        Failure::usage(clap_message(error))
    }
}

fn unknown_option(error: &clap::Error) -> Failure {
    let option = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let hint = match context(error, ContextKind::SuggestedArg) {
        Some(suggestion) => format!("did you mean `{suggestion}`?"),
        None => {
            "`hotrun --help` lists the options; put the program's options after `--`".to_owned()
        }
    };
    Failure::usage(format!("unknown option `{option}`")).hint(hint)
}

fn invalid_value(error: &clap::Error) -> Failure {
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let option = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let source = error.source();
    let suggestion = match source.and_then(|source| source.downcast_ref::<InvalidValue>()) {
        Some(invalid) => invalid.suggestion.clone(),
        None => context(error, ContextKind::SuggestedValue),
    };
    let problem = if value.is_empty() {
        format!("`{option}` needs a value")
    } else {
        format!("invalid value `{value}` for `{option}`")
    };
    let message = match allowed(error) {
        Some(allowed) => format!("{problem}: {allowed}"),
        None => problem,
    };
    let suggestion = suggestion.map(|suggestion| format!("did you mean `{suggestion}`?"));
    let hints = suggestion.into_iter().chain(origin(&option, &value));
    Failure::usage(message).hints(hints)
}

fn allowed(error: &clap::Error) -> Option<String> {
    if let Some(source) = error.source() {
        return Some(source.to_string());
    }
    let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) else {
        return None;
    };
    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    let (last, rest) = quoted.split_last()?;
    Some(match rest {
        [] => format!("use {last}"),
        [_, ..] => format!("use {} or {last}", rest.join(", ")),
    })
}

/// Names the environment variable that a value comes from, because the user may have forgotten it.
fn origin(option: &str, value: &str) -> Option<String> {
    let long = option.split_whitespace().next()?.strip_prefix("--")?;
    let name = variable(long);
    let set = std::env::var(&name).ok()?;
    (set == value || set.split(['\n', ',']).any(|part| part == value))
        .then(|| format!("the value comes from the environment variable `{name}`"))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let value = error.get(kind)?;
    if let ContextValue::String(text) = value {
        return Some(text.clone());
    }
    let ContextValue::Strings(texts) = value else {
        return None;
    };
    texts.first().cloned()
}

/// The text of clap without its label and the usage, which [`Failure`] does not need.
fn clap_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text);
    message.trim_end().to_owned()
}
