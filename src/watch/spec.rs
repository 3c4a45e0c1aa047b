use std::path::{Path, PathBuf};
use std::time::Duration;

use super::paths::{normalise, normalise_all};
use super::{InputSet, Poll, Rule, WatchUpdate};

/// What to watch, and which files count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Directories, with everything in them, or single files. Absolute. They need not exist yet. Roots count even where
    /// an ignore file around them says otherwise.
    pub roots: Vec<PathBuf>,
    /// The directory to which `ignores` with a `/` are relative. Absolute.
    pub base: PathBuf,
    /// Patterns as in a `.gitignore`.
    pub ignores: Vec<String>,
    /// Only files with one of these extensions count (without the dot). Empty: all. Files among `roots` count whatever
    /// their extension is.
    pub exts: Vec<String>,
    /// Whether to respect `.gitignore`, `.ignore`, `.git/info/exclude` and git's global excludes.
    pub vcs_ignore: bool,
    /// Directories in which nothing counts, such as cargo's target directory. Absolute.
    pub ignored_dirs: Vec<PathBuf>,
    /// The user's rules for some files; the last rule that applies wins. Files that a rule names count even where they
    /// are ignored, unless a rule ignores them.
    pub rules: Vec<Rule>,
    /// Only these files count, and those that rules name; `None`: all that are not ignored.
    pub inputs: Option<InputSet>,
    /// Whether to poll instead of relying on file events.
    pub poll: Poll,
    /// How long to wait for further events before a change is reported.
    pub debounce: Duration,
}

impl Default for WatchSpec {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            base: PathBuf::from("/"),
            ignores: Vec::new(),
            exts: Vec::new(),
            vcs_ignore: true,
            ignored_dirs: Vec::new(),
            rules: Vec::new(),
            inputs: None,
            poll: Poll::default(),
            debounce: Duration::from_millis(20),
        }
    }
}

impl WatchSpec {
    /// With paths as they appear in events.
    pub(super) fn normalised(&self) -> Self {
        Self {
            roots: normalise_all(&self.roots),
            base: normalise(&self.base),
            ignored_dirs: normalise_all(&self.ignored_dirs),
            rules: self.rules.iter().map(Rule::normalised).collect(),
            inputs: self.inputs.as_ref().map(InputSet::normalised),
            ..self.clone()
        }
    }

    pub(super) fn updated(&self, update: WatchUpdate) -> Self {
        let updated = Self {
            roots: update.roots,
            ignored_dirs: update.ignored_dirs,
            inputs: update.inputs,
            ..self.clone()
        };
        updated.normalised()
    }

    /// Whether the last good build names this file.
    pub(super) fn names(&self, path: &Path) -> bool {
        let inputs = self.inputs.as_ref();
        inputs.is_some_and(|inputs| inputs.files.contains(path))
    }

    /// All files and directories that are watched because they are named.
    pub(super) fn named_paths(&self) -> impl Iterator<Item = &Path> {
        let inputs = self.inputs.iter();
        let inputs = inputs.flat_map(|inputs| inputs.dirs.iter().chain(&inputs.files));
        let rules = self.rules.iter().filter_map(Rule::root);
        let roots = self.roots.iter().chain(inputs);
        roots.map(PathBuf::as_path).chain(rules)
    }
}
