//! The hidden mode in which cargo starts hotrun in place of the program.
//!
//! Cargo replaces itself by the runner (`exec`, so the pid stays cargo's) and gives it the program's path
//! and arguments after the runner's own. What cargo prints on its standard output is read by the hotrun that
//! started it, so that is where the answer goes: one line of JSON.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::wire::{LaunchLine, REASON, Text};

/// The first argument of the hidden mode. It stands in nobody's help.
pub const FLAG: &str = "--runner";

/// Reports what cargo would have run. `arguments` are those after [`FLAG`].
///
/// Ends with status 0, or 1 when the answer could not be written: then the waiting hotrun is gone.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let argv: Vec<OsString> = arguments.skip_while(|argument| argument == "--").collect();
    match report(&argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails too.
            let _ = writeln!(io::stderr(), "hotrun: cannot report what to run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(argv: &[OsString]) -> io::Result<()> {
    let line = LaunchLine {
        reason: REASON.to_owned(),
        argv: argv
            .iter()
            .map(|argument| Text::from(argument.as_os_str()))
            .collect(),
        env: env::vars_os()
            .map(|(name, value)| (Text::from(&*name), Text::from(&*value)))
            .collect(),
        workdir: Text::from(env::current_dir()?.as_os_str()),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&bytes)?;
    stdout.flush()
}

/// The path by which cargo can start this very program.
///
/// That is its own path as long as it is there. Once it has been replaced (an update, or hotrun at work on
/// hotrun) the kernel still has it under `/proc/PID/exe`, see `proc_pid_exe(5)`; that path also has no
/// blank and is UTF-8, which `plain` asks for: cargo splits a runner given as a string at blanks.
pub(super) fn executable(plain: bool) -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let usable =
        path.exists() && is_text(path.as_os_str()) && !(plain && has_blank(path.as_os_str()));
    if usable || !cfg!(target_os = "linux") {
        return Ok(path);
    }
    Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())))
}

fn is_text(path: &OsStr) -> bool {
    path.to_str().is_some()
}

fn has_blank(path: &OsStr) -> bool {
    path.to_str()
        .is_some_and(|path| path.contains(char::is_whitespace))
}
