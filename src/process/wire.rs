//! The messages that hotrun and a guardian exchange after the start request: one JSON value per line.

use std::fmt;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::reload::Ended;

/// An order from hotrun to a guardian. Signals are given as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Send this signal to the tree.
    Signal(i32),
    /// Send this signal only to the processes that catch it, because it would kill the others.
    ReloadConfig(i32),
    /// Like `Signal`, but also send the signal to processes that are orphaned later, and never twice to the same
    /// process.
    Stop(i32),
    /// Treat this process, which must be in the tree, as the main process: report its exit as well.
    SetMain(i32),
    /// Kill the whole tree.
    Kill,
}

/// What happened to a program. The last event is [`ProgramEvent::Refused`] or [`ProgramEvent::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramEvent {
    /// The program is running.
    Started {
        /// The pid of the program's first process.
        pid: i32,
    },
    /// The program could not be started. No process is left behind.
    Refused {
        /// The reason.
        error: Refusal,
    },
    /// The program's first process, or its main process, has ended.
    Exited {
        /// How the process ended.
        #[serde(with = "EndedDef")]
        ended: Ended,
        /// Whether other processes of the tree are still running.
        survivors: bool,
    },
    /// The program was stopped because it uses the terminal from the background. Once its process group is in the
    /// foreground and gets `SIGCONT`, it continues. The guardian gives the terminal back to hotrun when the program has
    /// ended.
    NeedsTerminal {
        /// The stopped process's group.
        group: i32,
    },
    /// The whole process tree is gone, including the guardian.
    Gone,
}

/// The serde form of [`Ended`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Ended")]
enum EndedDef {
    Code(i32),
    Signal(i32),
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The step that failed.
    pub step: StartStep,
    /// The error (`errno(3)`).
    pub errno: i32,
}

/// A step in starting a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartStep {
    /// Starting the guardian, or preparing the start inside it.
    Guardian,
    /// Creating a process for the program, and setting up its process group and descriptors.
    Setup,
    /// Entering the working directory.
    Workdir,
    /// Executing the program's file.
    Exec,
    /// Finding the interpreter that the file's first line names, or the dynamic loader. The file itself exists.
    Interpreter,
}

impl Refusal {
    pub(super) fn new(step: StartStep, error: impl Into<io::Error>) -> Self {
        let errno = error.into().raw_os_error().unwrap_or(0);
        Self { step, errno }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.step {
            StartStep::Guardian => "its guardian failed: ",
            StartStep::Setup => "cannot set up its process: ",
            StartStep::Workdir => "cannot enter its working directory: ",
            StartStep::Exec => "",
            StartStep::Interpreter => "cannot run its interpreter or loader: ",
        };
        let text = nix::errno::Errno::from_raw(self.errno).desc();
        // System messages begin with a capital letter, hotrun's with a lowercase one. `I/O error` is left unchanged.
        let lower = text.chars().nth(1).is_some_and(char::is_lowercase);
        let (first, rest) = text.split_at(1);
        match lower {
            true => write!(f, "{before}{}{rest}", first.to_ascii_lowercase()),
            false => write!(f, "{before}{text}"),
        }
    }
}

impl std::error::Error for Refusal {}

pub(super) fn to_line(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

pub(super) fn from_line<T: DeserializeOwned>(line: &str) -> Option<T> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_a_round_trip() {
        for order in [
            Order::Signal(1),
            Order::ReloadConfig(10),
            Order::Stop(15),
            Order::SetMain(42),
            Order::Kill,
        ] {
            assert_eq!(from_line(&to_line(&order)), Some(order));
        }
    }

    #[test]
    fn events_survive_a_round_trip() {
        let exited = |ended, survivors| ProgramEvent::Exited { ended, survivors };
        let error = Refusal {
            step: StartStep::Interpreter,
            errno: 13,
        };
        for event in [
            ProgramEvent::Started { pid: 42 },
            ProgramEvent::Refused { error },
            exited(Ended::Code(3), false),
            exited(Ended::Signal(9), true),
            ProgramEvent::NeedsTerminal { group: 42 },
            ProgramEvent::Gone,
        ] {
            let line = to_line(&event);
            assert_eq!(line.find('\n'), Some(line.len() - 1));
            assert_eq!(from_line(&line), Some(event));
        }
    }

    #[test]
    fn an_invalid_line_is_rejected() {
        for line in ["", "Gone", "{\"Started\":{}}", "\"Gone\" 1"] {
            assert_eq!(from_line::<ProgramEvent>(line), None, "{line}");
        }
    }

    #[test]
    fn refusals_name_the_step_and_the_error() {
        let text = |step, errno| Refusal { step, errno }.to_string();
        assert_eq!(
            text(StartStep::Exec, libc::ENOENT),
            "no such file or directory"
        );
        assert_eq!(text(StartStep::Exec, libc::EACCES), "permission denied");
        assert_eq!(text(StartStep::Exec, libc::EIO), "I/O error");
        assert_eq!(
            text(StartStep::Workdir, libc::ENOTDIR),
            "cannot enter its working directory: not a directory"
        );
    }
}
