use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::message::{Message, MessageArtifact, MessageDiagnostic};
use super::runner;
use super::wire::{LaunchLine, REASON};
use super::{Launch, Sources};

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The build fails because of it.
    Error,
    /// It does not.
    Warning,
    /// Notes and help.
    Note,
}

/// What the compiler has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub level: Level,
    /// As cargo would show it, with its line ends.
    pub rendered: String,
}

/// What a line of a build's output means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A diagnostic, to be shown as it is rendered.
    Diagnostic(Diagnostic),
    /// A target is compiled.
    Artifact {
        /// Whether it was up to date before this build.
        fresh: bool,
    },
    /// Everything was compiled, or something failed.
    Finished {
        /// Which of the two.
        success: bool,
    },
    /// Another cargo works in the same place, and this one waits for it. To be shown.
    Blocked(Vec<u8>),
    /// To be shown as it is: cargo's own progress, or what a build script's tools printed.
    Text(Vec<u8>),
    /// Nothing for a person.
    Nothing,
}

/// Reads the output of one build, line by line.
///
/// Whatever is in the lines, reading them does not fail: what can't be understood is text.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    cargo: bool,
    /// What the user has configured to run programs with.
    prefix: Vec<OsString>,
    launch: Option<Launch>,
    compiled: Option<bool>,
    errors: usize,
    warnings: usize,
    sources: Sources,
}

impl Messages {
    pub(super) fn new(prefix: Vec<OsString>) -> Self {
        Self {
            cargo: true,
            prefix,
            ..Self::default()
        }
    }

    pub(super) fn of_any_program() -> Self {
        Self::default()
    }

    /// Whether everything was compiled; `None` as long as that is not known.
    pub const fn compiled(&self) -> Option<bool> {
        self.compiled
    }

    /// How many errors there were.
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there were.
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    /// What was built of local packages beside the executable, and may matter to it when it runs: shared libraries,
    /// and the directories that build scripts write to.
    pub fn made(&self) -> Vec<PathBuf> {
        let generated = self.sources.generated();
        self.sources
            .libraries
            .iter()
            .chain(generated)
            .cloned()
            .collect()
    }

    pub(super) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether the runner was called, after everything was compiled.
    pub(super) fn has_launch(&self) -> bool {
        self.compiled == Some(true) && self.launch.is_some()
    }

    pub(super) fn take_launch(&mut self) -> Option<Launch> {
        self.launch.take()
    }

    /// Reads a line of the standard output, given without its line end.
    pub fn stdout(&mut self, line: &[u8]) -> Line {
        if !self.cargo || !line.starts_with(b"{") {
            return Line::Text(line.to_vec());
        }
        match serde_json::from_slice::<Message>(line) {
            Ok(Message::Other) => self.launch_line(line),
            Ok(message) => self.message(message),
            Err(_) => Line::Text(line.to_vec()),
        }
    }

    /// Reads a line of the standard error, given without its line end.
    pub fn stderr(&mut self, line: &[u8]) -> Line {
        let text = String::from_utf8_lossy(line);
        let plain = console::strip_ansi_codes(&text);
        let plain = plain.trim();
        if self.cargo
            && plain.starts_with("Running `")
            && plain.contains(&format!(" {} -- ", runner::FLAG))
        {
            return Line::Nothing;
        }
        if self.cargo && plain.starts_with("Blocking waiting for file lock on ") {
            return Line::Blocked(line.to_vec());
        }
        Line::Text(line.to_vec())
    }

    fn message(&mut self, message: Message) -> Line {
        match message {
            Message::Diagnostic { of, message } => {
                self.sources.mention(of);
                self.diagnostic(message)
            }
            Message::Artifact(artifact) => self.artifact(artifact),
            Message::BuildScriptExecuted { of, out_dir } => {
                self.sources.script(of, out_dir);
                Line::Nothing
            }
            Message::BuildFinished { success } => {
                self.compiled = Some(success);
                Line::Finished { success }
            }
            Message::Other => Line::Nothing,
        }
    }

    fn diagnostic(&mut self, message: MessageDiagnostic) -> Line {
        let Some(rendered) = message.rendered.filter(|_| !is_summary(&message.message)) else {
            return Line::Nothing;
        };
        let level = level(&message.level);
        match level {
            Level::Error => self.errors += 1,
            Level::Warning => self.warnings += 1,
            Level::Note => {}
        }
        Line::Diagnostic(Diagnostic { level, rendered })
    }

    fn artifact(&mut self, artifact: MessageArtifact) -> Line {
        let is_local = self.sources.mention(artifact.of);
        let in_compiler = artifact.target.kind.iter().any(|kind| kind == "proc-macro");
        if is_local && !in_compiler {
            let libraries = artifact
                .filenames
                .into_iter()
                .filter(|path| is_shared(path));
            self.sources.libraries.extend(libraries);
        }
        Line::Artifact {
            fresh: artifact.fresh,
        }
    }

    /// The last one counts: a build script that itself runs cargo could at most come before.
    fn launch_line(&mut self, line: &[u8]) -> Line {
        if let Ok(said) = serde_json::from_slice::<LaunchLine>(line)
            && said.reason == REASON
        {
            self.launch = launch(self.prefix.clone(), said);
        }
        Line::Nothing
    }
}

fn launch(prefix: Vec<OsString>, said: LaunchLine) -> Option<Launch> {
    let workdir = PathBuf::from(OsString::from(said.workdir));
    let program: Vec<OsString> = said.argv.into_iter().map(OsString::from).collect();
    let executable = workdir.join(program.first()?);
    Some(Launch {
        argv: prefix.into_iter().chain(program).collect(),
        env: said
            .env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        workdir,
        executable: Some(executable),
    })
}

fn is_shared(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("so" | "dylib"))
}

/// rustc's closing lines. Cargo leaves them out and has its own on the standard error.
fn is_summary(message: &str) -> bool {
    message.starts_with("aborting due to ")
        || message.ends_with(" warning emitted")
        || message.ends_with(" warnings emitted")
}

fn level(name: &str) -> Level {
    match name {
        "warning" => Level::Warning,
        "note" | "help" | "failure-note" => Level::Note,
        // `error`, `error: internal compiler error`, and whatever else there may be one day.
        _ => Level::Error,
    }
}

#[cfg(test)]
mod tests;
