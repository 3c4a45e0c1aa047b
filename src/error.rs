//! Errors that make hotrun exit: the message says what is wrong, and hints say what to do.

use std::fmt::{self, Write as _};

use console::Style;

/// Why hotrun exits with a failure status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit_code: u8,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// The command line, or something that it names, is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// The system or hotrun itself failed.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// hotrun exits because of a signal. There is no message, because hotrun was asked to exit.
    pub fn signal(number: i32) -> Self {
        Self::new(u8::try_from(128 + number).unwrap_or(u8::MAX), "")
    }

    fn new(exit_code: u8, message: impl Into<String>) -> Self {
        let (message, hints) = (message.into(), Vec::new());
        Self {
            exit_code,
            message,
            hints,
        }
    }

    /// Adds a hint: what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hints([hint.into()])
    }

    /// Adds several hints.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// The message without the hints.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The first hint, if any.
    pub fn first_hint(&self) -> Option<String> {
        self.hints.first().cloned()
    }

    /// hotrun's exit status.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The lines to print: `error: …`, then one `hint: …` for each hint. Empty for a signal.
    pub fn render(&self, color: bool) -> String {
        let error = Style::new().red().bold().force_styling(color);
        let hint = Style::new().cyan().force_styling(color);
        let mut text = String::new();
        // Writing to a String cannot fail.
        if !self.message.is_empty() {
            let _ = writeln!(text, "{} {}", error.apply_to("error:"), self.message);
        }
        for line in &self.hints {
            let _ = writeln!(text, "{} {line}", hint.apply_to("hint:"));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Failure {}

/// Keeps the exit status and hints of a [`Failure`] in the chain, and puts the context before the failure's message.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let mut parts = Vec::new();
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Self>() {
                parts.push(failure.message.clone());
                return Self {
                    message: parts.join(": "),
                    ..failure.clone()
                };
            }
            parts.push(cause.to_string());
        }
        Self::environment(parts.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_exit_status_depends_on_the_cause() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
        assert_eq!(Failure::environment("x").exit_code(), 1);
        assert_eq!(Failure::signal(15).exit_code(), 143);
    }

    #[test]
    fn the_message_and_each_hint_have_their_own_line() {
        let failure = Failure::usage("no `Cargo.toml`")
            .hint("give a COMMAND")
            .hint("or `-C DIR`");
        assert_eq!(
            failure.render(false),
            "error: no `Cargo.toml`\nhint: give a COMMAND\nhint: or `-C DIR`\n"
        );
        assert_eq!(failure.to_string(), failure.render(false).trim_end());
    }

    #[test]
    fn colors_are_optional() {
        assert!(Failure::usage("x").render(true).contains("\u{1b}["));
        assert!(!Failure::usage("x").render(false).contains('\u{1b}'));
    }

    #[test]
    fn an_exit_caused_by_a_signal_has_no_message() {
        assert_eq!(Failure::signal(2).render(false), "");
    }

    #[test]
    fn the_messages_in_a_chain_are_joined() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "not there");
        let error = anyhow::Error::new(io)
            .context("reading `a`")
            .context("starting");
        let failure = Failure::from(error);
        assert_eq!(failure.message(), "starting: reading `a`: not there");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_failure_in_a_chain_keeps_its_exit_status_and_hints() {
        let inner: anyhow::Result<()> = Err(Failure::usage("bad").hint("do better").into());
        let failure = Failure::from(inner.context("while starting").unwrap_err());
        assert_eq!(
            failure,
            Failure::usage("while starting: bad").hint("do better")
        );
    }
}
