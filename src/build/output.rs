use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::cargo_message::{Message, MessageArtifact, MessageDiagnostic};
use super::launch_message::{LaunchMessage, REASON};
use super::{Launch, LocalPackages, runner};

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The build fails.
    Error,
    /// The build does not fail.
    Warning,
    /// A note or help.
    Note,
}

/// A message of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its severity.
    pub level: Level,
    /// The text that cargo would show, with line ends.
    pub rendered: String,
}

/// A line of a build's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputLine {
    /// A diagnostic.
    Diagnostic(Diagnostic),
    /// A target is compiled.
    Artifact {
        /// Whether it was up to date before this build.
        fresh: bool,
    },
    /// Compilation has ended.
    Finished {
        /// Whether everything was compiled.
        success: bool,
    },
    /// Cargo waits for another cargo that locks the build directory. Show the line.
    Blocked(Vec<u8>),
    /// Any other output, such as cargo's progress. Show the line.
    Text(Vec<u8>),
    /// A message that is not shown.
    Nothing,
}

/// Reads the output of one build, line by line. A line that is not a known message is text.
#[derive(Clone, Debug, Default)]
pub struct BuildOutput {
    is_cargo: bool,
    /// The runner that the user has configured.
    runner: Vec<OsString>,
    launch: Option<Launch>,
    compiled: Option<bool>,
    errors: usize,
    warnings: usize,
    packages: LocalPackages,
}

impl BuildOutput {
    pub(super) fn of_cargo(runner: Vec<OsString>) -> Self {
        Self {
            is_cargo: true,
            runner,
            ..Self::default()
        }
    }

    /// Whether everything was compiled. `None` until cargo reports it.
    pub const fn compiled(&self) -> Option<bool> {
        self.compiled
    }

    /// The number of errors.
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// The number of warnings.
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    /// Files and directories of local packages that the program may use when it runs: shared libraries, and the output
    /// directories of build scripts.
    pub fn runtime_files(&self) -> Vec<PathBuf> {
        let libraries = self.packages.libraries.iter();
        let generated = self.packages.out_dirs();
        libraries.chain(generated).cloned().collect()
    }

    pub(super) const fn packages(&self) -> &LocalPackages {
        &self.packages
    }

    /// Whether everything was compiled and the runner was started.
    pub(super) fn has_launch(&self) -> bool {
        self.compiled == Some(true) && self.launch.is_some()
    }

    pub(super) fn take_launch(&mut self) -> Option<Launch> {
        self.launch.take()
    }

    /// Reads a line of standard output, without its line end.
    pub fn stdout(&mut self, line: &[u8]) -> OutputLine {
        if !self.is_cargo || !line.starts_with(b"{") {
            return OutputLine::Text(line.to_vec());
        }
        match serde_json::from_slice::<Message>(line) {
            Ok(Message::Other) => self.launch_message(line),
            Ok(message) => self.message(message),
            Err(_) => OutputLine::Text(line.to_vec()),
        }
    }

    /// Reads a line of standard error, without its line end.
    pub fn stderr(&mut self, line: &[u8]) -> OutputLine {
        let text = String::from_utf8_lossy(line);
        let plain = console::strip_ansi_codes(&text);
        let plain = plain.trim();
        let starts_runner =
            plain.starts_with("Running `") && plain.contains(&format!(" {} -- ", runner::FLAG));
        if self.is_cargo && starts_runner {
            return OutputLine::Nothing;
        }
        if self.is_cargo && plain.starts_with("Blocking waiting for file lock on ") {
            return OutputLine::Blocked(line.to_vec());
        }
        OutputLine::Text(line.to_vec())
    }

    fn message(&mut self, message: Message) -> OutputLine {
        match message {
            Message::Diagnostic { of, message } => {
                self.packages.add(of);
                self.diagnostic(message)
            }
            Message::Artifact(artifact) => self.artifact(artifact),
            Message::BuildScriptExecuted { of, out_dir } => {
                self.packages.add_script(of, out_dir);
                OutputLine::Nothing
            }
            Message::BuildFinished { success } => {
                self.compiled = Some(success);
                OutputLine::Finished { success }
            }
            Message::Other => OutputLine::Nothing,
        }
    }

    fn diagnostic(&mut self, message: MessageDiagnostic) -> OutputLine {
        let Some(rendered) = message.rendered.filter(|_| !is_summary(&message.message)) else {
            return OutputLine::Nothing;
        };
        let level = level(&message.level);
        match level {
            Level::Error => self.errors += 1,
            Level::Warning => self.warnings += 1,
            Level::Note => {}
        }
        OutputLine::Diagnostic(Diagnostic { level, rendered })
    }

    fn artifact(&mut self, artifact: MessageArtifact) -> OutputLine {
        let is_local = self.packages.add(artifact.of);
        let is_proc_macro = artifact.target.kind.iter().any(|kind| kind == "proc-macro");
        if is_local && !is_proc_macro {
            let files = artifact.filenames.into_iter();
            self.packages
                .libraries
                .extend(files.filter(|path| is_shared_library(path)));
        }
        OutputLine::Artifact {
            fresh: artifact.fresh,
        }
    }

    /// The last message counts, because a build script that runs cargo itself may print an earlier one.
    fn launch_message(&mut self, line: &[u8]) -> OutputLine {
        if let Ok(message) = serde_json::from_slice::<LaunchMessage>(line)
            && message.reason == REASON
        {
            self.launch = launch(self.runner.clone(), message);
        }
        OutputLine::Nothing
    }
}

fn launch(runner: Vec<OsString>, message: LaunchMessage) -> Option<Launch> {
    let workdir = PathBuf::from(OsString::from(message.workdir));
    let program: Vec<OsString> = message.argv.into_iter().map(OsString::from).collect();
    let executable = workdir.join(program.first()?);
    let env = message.env.into_iter();
    Some(Launch {
        argv: runner.into_iter().chain(program).collect(),
        env: env
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        workdir,
        executable: Some(executable),
    })
}

fn is_shared_library(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("so" | "dylib"))
}

/// Whether this is a closing line of rustc. Cargo omits it and prints its own on standard error.
fn is_summary(message: &str) -> bool {
    message.starts_with("aborting due to ")
        || message.ends_with(" warning emitted")
        || message.ends_with(" warnings emitted")
}

fn level(name: &str) -> Level {
    match name {
        "warning" => Level::Warning,
        "note" | "help" | "failure-note" => Level::Note,
        // `error`, `error: internal compiler error`, and levels that do not exist yet.
        _ => Level::Error,
    }
}

#[cfg(test)]
mod tests;
