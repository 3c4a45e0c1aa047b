use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{CompilerMessage, Message, TargetKind};
use regex::Regex;
use serde::Deserialize;

use super::runner::{self, RunnerMessage};

/// What to start after a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments. The program's path may be relative to `workdir`, as with `cargo run`, because the
    /// program sees this path as its own name.
    pub argv: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub workdir: PathBuf,
    /// The absolute path of the executable that cargo built. `None` without cargo.
    pub executable: Option<PathBuf>,
}

/// A line of a build's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputLine {
    /// A compiler message.
    Diagnostic {
        /// The severity of the message.
        level: DiagnosticLevel,
        /// The text that cargo would show, with line endings.
        rendered: String,
    },
    /// Cargo is waiting for a lock that another cargo process holds, for example on the build directory. The line
    /// should be shown.
    Blocked(Vec<u8>),
    /// Any other output, such as cargo's progress. The line should be shown.
    Text(Vec<u8>),
    /// A message that should not be shown.
    Nothing,
}

/// Parses the output of one build, line by line. A line that is not a known message counts as text.
#[derive(Clone, Debug, Default)]
pub struct BuildOutput {
    /// The runner that the user has configured, which may be empty. `None` without cargo.
    runner: Option<Vec<OsString>>,
    pub(super) launch: Option<Launch>,
    /// Whether cargo has reported that everything is compiled.
    compiled: bool,
    /// The directory of each local package, by package ID.
    pub(super) package_dirs: BTreeMap<String, PathBuf>,
    /// The output directory of each local package's build script, by package ID.
    pub(super) script_dirs: BTreeMap<String, PathBuf>,
    /// Shared libraries that local packages produced.
    libraries: Vec<PathBuf>,
    /// Whether an executable was linked.
    pub(super) linked: bool,
    /// The files that errors name.
    pub(super) named: BTreeSet<PathBuf>,
}

/// A line of JSON on standard output.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonLine {
    Cargo(Box<Message>),
    Runner(RunnerMessage),
    /// A message that can't be parsed, probably because it is from a later version of cargo.
    Unknown {
        reason: String,
    },
}

impl BuildOutput {
    pub(super) fn of_cargo(runner: Vec<OsString>) -> Self {
        Self {
            runner: Some(runner),
            ..Self::default()
        }
    }

    /// Whether the build succeeded. `success` tells whether the build's process exited with status 0. Cargo exits with
    /// the runner's status, so a build whose runner could not be started has still succeeded.
    pub const fn succeeded(&self, success: bool) -> bool {
        success || self.compiled
    }

    /// Whether everything is compiled and the launch is known, so that there is no need to wait until the build's
    /// process exits.
    pub const fn is_complete(&self) -> bool {
        self.compiled && self.launch.is_some()
    }

    /// The local packages' files and directories that the program may use at run time: shared libraries, and the output
    /// directories of build scripts.
    pub fn runtime_files(&self) -> Vec<PathBuf> {
        let libraries = self.libraries.iter();
        libraries
            .chain(self.script_dirs.values())
            .cloned()
            .collect()
    }

    /// Handles a line of standard output, without its line ending.
    pub fn stdout(&mut self, line: &[u8]) -> OutputLine {
        if self.runner.is_none() || !line.starts_with(b"{") {
            return OutputLine::Text(line.to_vec());
        }
        match serde_json::from_slice(line) {
            Ok(JsonLine::Cargo(message)) => return self.message(*message),
            // The last launch counts: a build script that runs cargo may have printed an earlier one.
            Ok(JsonLine::Runner(RunnerMessage::Launch { argv, env, workdir })) => {
                let workdir = PathBuf::from(workdir);
                self.launch = argv.first().cloned().map(|program| Launch {
                    argv: self.runner.iter().flatten().cloned().chain(argv).collect(),
                    env,
                    executable: Some(workdir.join(program)),
                    workdir,
                });
            }
            Ok(JsonLine::Unknown { reason }) if reason != "compiler-message" => {}
            // A compiler message that can't be parsed is shown as text, which is better than hiding it.
            Ok(JsonLine::Unknown { .. }) | Err(_) => return OutputLine::Text(line.to_vec()),
        }
        OutputLine::Nothing
    }

    /// Handles a line of standard error, without its line ending.
    pub fn stderr(&mut self, line: &[u8]) -> OutputLine {
        let text = String::from_utf8_lossy(line);
        self.named.extend(named_in(&text));
        let plain = console::strip_ansi_codes(&text);
        let plain = plain.trim();
        let starts_runner =
            plain.starts_with("Running `") && plain.contains(&format!(" {} -- ", runner::FLAG));
        match self.runner {
            Some(_) if starts_runner => OutputLine::Nothing,
            Some(_) if plain.starts_with("Blocking waiting for file lock on ") => {
                OutputLine::Blocked(line.to_vec())
            }
            Some(_) | None => OutputLine::Text(line.to_vec()),
        }
    }

    fn message(&mut self, message: Message) -> OutputLine {
        match message {
            Message::CompilerMessage(CompilerMessage {
                message,
                package_id,
                ..
            }) => {
                if message.level == DiagnosticLevel::Error {
                    let named = named_in(message.rendered.as_deref().unwrap_or_default());
                    // A package outside the workspace is compiled in its own directory.
                    let dir = package_id.repr.split("file://").nth(1);
                    let dir = dir.and_then(|dir| dir.split(['#', ')']).next());
                    let within = |path| Some(Path::new(dir?).join(path));
                    self.named.extend(named.iter().filter_map(within));
                    self.named.extend(named);
                }
                // Rustc's closing summary is left out, because cargo prints its own on standard error.
                let is_summary = message.message.starts_with("aborting due to ")
                    || message.message.ends_with(" warning emitted")
                    || message.message.ends_with(" warnings emitted");
                let rendered = message.rendered.filter(|_| !is_summary);
                return rendered.map_or(OutputLine::Nothing, |rendered| OutputLine::Diagnostic {
                    level: message.level,
                    rendered,
                });
            }
            Message::CompilerArtifact(artifact) if is_local(&artifact.package_id.repr) => {
                self.linked |= artifact.executable.is_some() && !artifact.fresh;
                if let Some(dir) = artifact.manifest_path.parent() {
                    let id = artifact.package_id.repr;
                    self.package_dirs.insert(id, dir.into());
                }
                let is_macro = artifact.target.kind.contains(&TargetKind::ProcMacro);
                let libraries = artifact
                    .filenames
                    .into_iter()
                    .filter(|path| !is_macro && matches!(path.extension(), Some("so" | "dylib")));
                self.libraries.extend(libraries.map(PathBuf::from));
            }
            Message::BuildScriptExecuted(script) if is_local(&script.package_id.repr) => {
                let (id, dir) = (script.package_id.repr, script.out_dir);
                self.script_dirs.insert(id, dir.into());
            }
            Message::BuildFinished(finished) => self.compiled = finished.success,
            // Messages about packages that are not local, and messages that only a later version of cargo sends.
            Message::CompilerArtifact(_)
            | Message::BuildScriptExecuted(_)
            | Message::TextLine(_)
            | _ => {}
        }
        OutputLine::Nothing
    }
}

/// The paths in a message: those in quotes, and the places after an arrow, as in ` --> src/main.rs:3:5`.
fn named_in(text: &str) -> BTreeSet<PathBuf> {
    let plain = console::strip_ansi_codes(text);
    let in_line = |line: &str| {
        let place = line.trim().strip_prefix("--> ");
        let place = place.and_then(|place| place.split(':').next());
        let quoted = |quote: char| line.split(quote).skip(1).step_by(2);
        let names = quoted('`').chain(quoted('"'));
        let paths = names.filter(|name| name.contains('/')).chain(place);
        paths.map(PathBuf::from).collect::<Vec<_>>()
    };
    plain.lines().flat_map(in_line).collect()
}

/// Whether a package is local: its ID is `path+file:///p#0.1.0`, or `name 0.1.0 (path+file:///p)` before cargo 1.77.
fn is_local(package_id: &str) -> bool {
    package_id.starts_with("path+file://") || package_id.contains("(path+file://")
}

/// A progress bar of cargo's, with the numbers of crates in the one that counts them. The others show downloads.
static PROGRESS_BAR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let bar = r"^\s*(?:Building \[[^\]]*\] +(\d+)/(\d+)|Fetch \[|Updating \[|Downloading )";
    Regex::new(bar).ok()
});

/// Removes progress bars from the start of a line of cargo's standard error. Returns the numbers of the last bar that
/// counts crates: how many are built, and how many there are.
///
/// If progress bars are enabled (`term.progress.when` in "Configuration" in the Cargo book), cargo writes them before
/// the next line, each followed by a carriage return: `    Building [=====>     ] 12/57: syn, serde`.
pub fn take_progress(line: &mut Vec<u8>) -> Option<(usize, usize)> {
    let mut found = None;
    while let Some(end) = line.iter().position(|byte| *byte == b'\r') {
        let text = String::from_utf8_lossy(&line[..end]);
        let text = console::strip_ansi_codes(&text);
        let Some(bar) = PROGRESS_BAR.as_ref()?.captures(&text) else {
            break;
        };
        let number = |group| bar.get(group)?.as_str().parse().ok();
        found = number(1).zip(number(2)).or(found);
        line.drain(..=end);
    }
    found
}

#[cfg(test)]
mod tests;
