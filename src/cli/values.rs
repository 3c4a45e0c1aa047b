//! The values of options and their parsers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::Signal;

use crate::ready::{AliveSpec, ReadySpec, WarmUp};
use crate::source::etcd::EtcdUrl;
use crate::value::parse_duration;
use crate::watch::{Poll, RuleAction};

/// The values of `--adopt` and `--keep-alive`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenPossible {
    /// If the system allows it
    Auto,
    /// Never
    Never,
}

/// The values of `--when-busy`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusyArg {
    /// Cancel the build and build the new sources
    Cancel,
    /// Let the build finish, then build again
    Queue,
}

/// The values of `--fresh`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreshArg {
    /// If the new version fails, connect them to the old one
    #[value(aliases = ["1", "true", "t", "yes", "y"])]
    On,
    /// If the new version fails, answer 503
    Strict,
    /// Do not let them wait
    #[value(aliases = ["0", "false", "f", "no", "n"])]
    Off,
}

/// The values of `--listen-pid`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenPid {
    /// Unless COMMAND is a known wrapper
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The values of `--stdin`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// To hotrun, as keys; the program has no input
    Hotrun,
    /// To the newest generation; hotrun handles Ctrl-C and Ctrl-Z
    Program,
}

/// The values of `--ui`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiKind {
    /// `live` on a terminal, `plain` otherwise
    Auto,
    /// A status footer below the output, plus keyboard shortcuts
    Live,
    /// One line per event
    Plain,
    /// One JSON object per line
    Json,
    /// Only the program's output
    Off,
}

/// A value of `--on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRule {
    /// Matches the files that the rule applies to.
    pub glob: String,
    /// What to do when one of the files changes.
    pub action: RuleAction,
}

/// Parses `GLOB=ACTION`. Both parts may contain an `=`, so the separator is the first `=` that an action follows.
pub(super) fn rule(text: &str) -> Result<OnRule, String> {
    let mut problem =
        "a rule must be a glob, an `=` and an action, as in `config/*.toml=signal:HUP`".to_owned();
    for (at, _) in text.match_indices('=').filter(|(at, _)| *at > 0) {
        match action(&text[at + 1..]) {
            Ok(action) => {
                let glob = text[..at].to_owned();
                return Ok(OnRule { glob, action });
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn action(text: &str) -> Result<RuleAction, String> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("build", "") => RuleAction::Build,
        ("restart", "") => RuleAction::Restart,
        ("ignore", "") => RuleAction::Ignore,
        ("signal", name) => RuleAction::Signal(signal(name)? as i32),
        ("run", line) if !line.trim().is_empty() => RuleAction::Run(line.to_owned()),
        _ => {
            return Err(
                "use the action `build`, `restart`, `signal:HUP`, `run:COMMAND` or `ignore`".into(),
            );
        }
    })
}

/// A value of `--hook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When to run the command.
    pub event: HookEvent,
    /// The shell command.
    pub command: String,
}

/// The events that have hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// A generation is about to be started.
    BeforeStart,
    /// A generation is ready.
    Ready,
    /// A generation has become live.
    Live,
    /// The live generation begins to drain.
    Drain,
    /// A generation has no processes left.
    Gone,
    /// A generation has failed.
    Failed,
    /// A generation has become live, or has been live for a multiple of this period.
    Every(Duration),
}

impl HookEvent {
    /// The period of [`HookEvent::Every`].
    pub fn period(self) -> Option<Duration> {
        match self {
            Self::Every(period) => Some(period),
            Self::BeforeStart
            | Self::Ready
            | Self::Live
            | Self::Drain
            | Self::Gone
            | Self::Failed => None,
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeStart => "before-start",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Drain => "drain",
            Self::Gone => "gone",
            Self::Failed => "failed",
            Self::Every(period) => return write!(f, "every:{period:?}"),
        })
    }
}

/// Parses `EVENT=COMMAND`.
pub(super) fn hook(text: &str) -> Result<Hook, String> {
    let (event, command) = text.split_once('=').unwrap_or((text, ""));
    if command.trim().is_empty() {
        return Err(
            "a hook must be an event, an `=` and a command, as in `live=./notify.sh`".into(),
        );
    }
    let command = command.to_owned();
    let event = match event.split_once(':').unwrap_or((event, "")) {
        ("before-start", "") => HookEvent::BeforeStart,
        ("ready", "") => HookEvent::Ready,
        ("live", "") => HookEvent::Live,
        ("drain", "") => HookEvent::Drain,
        ("gone", "") => HookEvent::Gone,
        ("failed", "") => HookEvent::Failed,
        ("every", period) => match parse_duration(period)? {
            period if period < Duration::from_millis(100) => {
                return Err("the period must be at least `100ms`".into());
            }
            period => HookEvent::Every(period),
        },
        _ => {
            return Err(
                "use the event `before-start`, `ready`, `live`, `drain`, `gone`, `failed` or `every:DURATION`".into(),
            );
        }
    };
    Ok(Hook { event, command })
}

pub(super) fn env_from(text: &str) -> Result<EtcdUrl, String> {
    let url = EtcdUrl::parse(text);
    url.unwrap_or_else(|| Err("use a URL, as in `etcd://127.0.0.1:2379/app/`".into()))
}

pub(super) fn alive(text: &str) -> Result<Arc<AliveSpec>, String> {
    text.parse().map(Arc::new)
}

pub(super) fn ready(text: &str) -> Result<Arc<ReadySpec>, String> {
    text.parse().map(Arc::new)
}

pub(super) fn warm_up(text: &str) -> Result<WarmUp, String> {
    text.parse()
}

/// Parses an interval, or one of the words for yes and no that clap accepts in the variables of boolean options.
pub(super) fn poll(text: &str) -> Result<Poll, String> {
    match text.to_lowercase().as_str() {
        "on" | "1" | "true" | "t" | "yes" | "y" => return Ok(Poll::Always),
        "off" | "0" | "false" | "f" | "no" | "n" => return Ok(Poll::IfNeeded),
        _ => {}
    }
    match parse_duration(text)? {
        interval if interval < Duration::from_millis(10) => {
            Err("the interval must be at least `10ms`".into())
        }
        interval => Ok(Poll::Every(interval)),
    }
}

/// Parses `TERM`, `SIGTERM` (both in upper or lower case) or `15`.
pub(super) fn signal(text: &str) -> Result<Signal, String> {
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let signal = match text.parse::<i32>() {
        Ok(number) => Signal::try_from(number),
        Err(_) => format!("SIG{name}").parse(),
    };
    signal
        .map_err(|_| "a signal must be a name or a number, as in `TERM`, `SIGTERM` or `15`".into())
}

/// Checks the syntax of a glob.
pub(super) fn glob(text: &str) -> Result<String, String> {
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("invalid glob: {}", error.kind())),
    }
}

/// Parses `rs`, `.rs` or `*.rs`.
pub(super) fn extension(text: &str) -> Result<String, String> {
    let bare = text.trim().trim_start_matches("*.").trim_start_matches('.');
    if bare.is_empty() || bare.contains(['/', '*', '?', ' ']) {
        return Err("write extensions as in `rs,toml`".into());
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_glob_and_an_action() {
        for (text, glob, action) in [
            ("*.sql=build", "*.sql", RuleAction::Build),
            ("a=b/*=restart", "a=b/*", RuleAction::Restart),
            (
                "config/*.toml=signal:hup",
                "config/*.toml",
                RuleAction::Signal(libc::SIGHUP),
            ),
            ("x=signal:10", "x", RuleAction::Signal(10)),
            (
                "*.css=run:make A=build",
                "*.css",
                RuleAction::Run("make A=build".into()),
            ),
            ("docs/**=ignore", "docs/**", RuleAction::Ignore),
        ] {
            let glob = glob.to_owned();
            assert_eq!(rule(text).expect(text), OnRule { glob, action });
        }
        for text in [
            "",
            "x",
            "=build",
            "x=",
            "x=signal:",
            "x=signal:NO",
            "x=run: ",
            "x=restart:y",
            "x=restrat",
        ] {
            rule(text).expect_err(text);
        }
    }

    #[test]
    fn a_hook_has_an_event_and_a_command() {
        for (text, event, command) in [
            ("live=a=b", HookEvent::Live, "a=b"),
            ("before-start= x", HookEvent::BeforeStart, " x"),
            (
                "every:1m30s=x",
                HookEvent::Every(Duration::from_secs(90)),
                "x",
            ),
        ] {
            let command = command.to_owned();
            assert_eq!(hook(text).expect(text), Hook { event, command });
        }
        for text in [
            "",
            "x",
            "live",
            "live= ",
            "Live=x",
            "live:x=y",
            "every=x",
            "every:=x",
            "every:5=x",
            "every:1ms=x",
        ] {
            hook(text).expect_err(text);
        }
    }

    #[test]
    fn a_signal_is_a_number_or_a_name_in_upper_or_lower_case() {
        for text in ["TERM", "SIGTERM", "15", "term", "SigTerm"] {
            assert_eq!(signal(text), Ok(Signal::SIGTERM), "{text}");
        }
        for text in ["banana", "99", "0", "TREM"] {
            signal(text).expect_err(text);
        }
    }

    #[test]
    fn an_extension_may_start_with_a_dot() {
        for text in ["rs", ".rs", "*.rs"] {
            assert_eq!(extension(text), Ok("rs".into()));
        }
        for text in ["a/b", "", "*"] {
            extension(text).expect_err(text);
        }
    }

    #[test]
    fn glob_syntax_is_checked() {
        assert!(glob("**/*.{log,tmp}").is_ok());
        assert!(glob("a[").unwrap_err().starts_with("invalid glob: "));
    }
}
