use std::fmt;

use crate::reload::Ended;

/// What became of a program. The last one is [`Report::Refused`] or [`Report::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It runs.
    Started {
        /// The process that was started.
        pid: i32,
    },
    /// It could not be started. Nothing is left of it.
    Refused {
        /// Why.
        error: Refusal,
    },
    /// The process that was started has ended.
    Exited {
        /// How.
        ended: Ended,
        /// Whether other processes of its tree still run.
        survivors: bool,
    },
    /// No process of its tree is left, the guardian included.
    Gone,
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was being done for it.
    pub step: Step,
    /// What the system said (`errno(3)`).
    pub errno: i32,
}

/// A step on the way to a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guardian itself: it ended, or could not do its part.
    Guardian,
    /// A process for the program.
    Fork,
    /// Its process group and descriptors.
    Descriptors,
    /// Its working directory.
    Workdir,
    /// The executable.
    Exec,
    /// The executable is there; the interpreter that it names in its first line, or as its dynamic
    /// loader, is not.
    Interpreter,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.step {
            Step::Guardian => "its guardian failed: ",
            Step::Fork => "no process for it: ",
            Step::Descriptors => "its descriptors could not be set up: ",
            Step::Workdir => "its working directory cannot be entered: ",
            Step::Exec => "",
            Step::Interpreter => "the interpreter or loader that it names: ",
        };
        let text = nix::errno::Errno::from_raw(self.errno).desc();
        // Messages of the system begin with a capital letter, ours do not; `I/O error` stays.
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
    fn refusals_are_said_exactly() {
        let say = |step, errno| Refusal { step, errno }.to_string();
        assert_eq!(say(Step::Exec, libc::ENOENT), "no such file or directory");
        assert_eq!(say(Step::Exec, libc::EACCES), "permission denied");
        assert_eq!(say(Step::Exec, libc::EIO), "I/O error");
        assert_eq!(
            say(Step::Workdir, libc::ENOTDIR),
            "its working directory cannot be entered: not a directory"
        );
    }
}
