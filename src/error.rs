//! How hotrun fails: the kind decides the exit code, the message says what is wrong, hints say what to do next.

use std::fmt::{self, Write as _};

use console::Style;

/// Whose fault it is, and so the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or what it names is wrong: exit code 2.
    Usage,
    /// Something around hotrun, or hotrun itself, did not work: exit code 1.
    Environment,
    /// hotrun was ended by the signal with this number: exit code 128 and the number.
    Signal(i32),
}

/// Why hotrun ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// The command line or what it names is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something around hotrun, or hotrun itself, did not work.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, message)
    }

    /// hotrun was ended by this signal. There is nothing to say: whoever sent it knows.
    pub fn signal(number: i32) -> Self {
        Self::new(Kind::Signal(number), "")
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds several hints.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wrong, in one sentence without a hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code of hotrun.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Environment => 1,
            Kind::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }

    /// The lines to show: `error: …`, then a `hint: …` each. Empty if there is nothing to say.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        if !self.message.is_empty() {
            line(
                &mut text,
                &Style::new().red().bold().force_styling(colour),
                "error",
                &self.message,
            );
        }
        for hint in &self.hints {
            line(
                &mut text,
                &Style::new().cyan().force_styling(colour),
                "hint",
                hint,
            );
        }
        text
    }
}

fn line(text: &mut String, style: &Style, label: &str, body: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} {body}", style.apply_to(format_args!("{label}:")));
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Failure {}

/// A [`Failure`] anywhere in the chain keeps its kind and hints; the context around it goes in front.
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
    fn the_kind_decides_the_exit_code() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
        assert_eq!(Failure::environment("x").exit_code(), 1);
        assert_eq!(Failure::signal(15).exit_code(), 143);
    }

    #[test]
    fn message_and_hints_are_lines_of_their_own() {
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
    fn colours_only_when_asked() {
        assert!(Failure::usage("x").render(true).contains("\u{1b}["));
        assert!(!Failure::usage("x").render(false).contains('\u{1b}'));
    }

    #[test]
    fn a_signal_says_nothing() {
        assert_eq!(Failure::signal(2).render(false), "");
    }

    #[test]
    fn a_chain_is_joined() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "not there");
        let error = anyhow::Error::new(io)
            .context("reading `a`")
            .context("starting");
        let failure = Failure::from(error);
        assert_eq!(failure.message(), "starting: reading `a`: not there");
        assert_eq!(failure.kind(), Kind::Environment);
    }

    #[test]
    fn a_failure_in_a_chain_keeps_its_kind_and_hints() {
        let inner: anyhow::Result<()> = Err(Failure::usage("bad").hint("do better").into());
        let failure = Failure::from(inner.context("while starting").unwrap_err());
        assert_eq!(
            failure,
            Failure::usage("while starting: bad").hint("do better")
        );
    }
}
