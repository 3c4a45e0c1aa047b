use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use super::wire::EndedDef;
use crate::reload::Ended;

/// What happened to a program. The last report is [`Report::Refused`] or [`Report::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It runs.
    Started {
        /// The pid of its first process.
        pid: i32,
    },
    /// It could not be started. Nothing is left of it.
    Refused {
        /// Why.
        error: Refusal,
    },
    /// Its first process, or its main process, has ended.
    Exited {
        /// How.
        #[serde(with = "EndedDef")]
        ended: Ended,
        /// Whether other processes of its tree still run.
        survivors: bool,
    },
    /// No process of its tree is left, the guardian included.
    Gone,
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The step that failed.
    pub step: Step,
    /// The error (`errno(3)`).
    pub errno: i32,
}

/// A step on the way to a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The guardian ended or could not do its part.
    Guardian,
    /// Creating a process for the program.
    Fork,
    /// Its process group and descriptors.
    Descriptors,
    /// Its working directory.
    Workdir,
    /// The executable.
    Exec,
    /// The executable exists, but not the interpreter named in its first line, or its dynamic loader.
    Interpreter,
}

impl Refusal {
    pub(super) fn new(step: Step, error: impl Into<io::Error>) -> Self {
        let errno = error.into().raw_os_error().unwrap_or(0);
        Self { step, errno }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.step {
            Step::Guardian => "its guardian failed: ",
            Step::Fork => "cannot create its process: ",
            Step::Descriptors => "cannot set up its descriptors: ",
            Step::Workdir => "cannot enter its working directory: ",
            Step::Exec => "",
            Step::Interpreter => "the interpreter or loader that it names: ",
        };
        let text = nix::errno::Errno::from_raw(self.errno).desc();
        // System messages begin with a capital letter and ours do not; `I/O error` stays.
        let lower = text.chars().nth(1).is_some_and(char::is_lowercase);
        let (first, rest) = text.split_at(1);
        match lower {
            true => write!(f, "{before}{}{rest}", first.to_ascii_lowercase()),
            false => write!(f, "{before}{text}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_displayed() {
        let text = |step, errno| Refusal { step, errno }.to_string();
        assert_eq!(text(Step::Exec, libc::ENOENT), "no such file or directory");
        assert_eq!(text(Step::Exec, libc::EACCES), "permission denied");
        assert_eq!(text(Step::Exec, libc::EIO), "I/O error");
        assert_eq!(
            text(Step::Workdir, libc::ENOTDIR),
            "cannot enter its working directory: not a directory"
        );
    }
}
