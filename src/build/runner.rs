//! The hidden mode in which cargo starts hotrun instead of the program.
//!
//! Cargo replaces itself with the runner (`exec`, so the pid stays the same) and appends the program's path and
//! arguments to the runner's own. The hotrun that started cargo reads cargo's standard output, so the runner prints its
//! message there, as one line of JSON.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The first argument of the hidden mode.
pub const FLAG: &str = "--runner";

/// What the runner prints. The `reason` distinguishes it from cargo's messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reason")]
pub(super) enum RunnerMessage {
    /// How cargo would start the program.
    #[serde(rename = "hotrun-launch")]
    Launch {
        argv: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        workdir: OsString,
    },
}

/// Prints what cargo would have started. `arguments` are those after [`FLAG`].
///
/// Returns status 1 if the message can't be written, for example because the hotrun that is waiting for it has exited.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let print = || -> io::Result<()> {
        let message = RunnerMessage::Launch {
            argv: arguments.skip_while(|argument| argument == "--").collect(),
            env: env::vars_os().collect(),
            workdir: env::current_dir()?.into(),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&message)?)?;
        stdout.flush()
    };
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hotrun: cannot report what to run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The path that cargo can use to start hotrun.
///
/// This is the path of hotrun's executable while it exists. If the file was replaced (by an update, or because hotrun
/// is used to develop hotrun), the original is still available as `/proc/PID/exe`, see `proc_pid_exe(5)`. That path is
/// also used if the executable's own path is not UTF-8 or, with `no_whitespace`, contains whitespace: cargo splits a
/// runner that is a string at whitespace.
pub(super) fn executable(no_whitespace: bool) -> PathBuf {
    let path = env::current_exe().unwrap_or_default();
    let is_usable =
        |text: &str| path.exists() && !(no_whitespace && text.contains(char::is_whitespace));
    if path.to_str().is_some_and(is_usable) || !cfg!(target_os = "linux") {
        return path;
    }
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}
