use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::paths::{normalise, normalise_all};
use super::rule::Rule;

/// What to watch, and which files count.
#[derive(Clone, Debug)]
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

/// The exact inputs of a program, as its last good build named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSet {
    /// Files. Absolute. They need not exist.
    pub files: BTreeSet<PathBuf>,
    /// Those of the files that count whatever their extension is.
    pub any_extension: BTreeSet<PathBuf>,
    /// Directories in which everything counts that is not ignored there.
    pub dirs: BTreeSet<PathBuf>,
}

/// Whether to poll for changes instead of relying on file events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Where the system sends no file events.
    #[default]
    IfNeeded,
    /// Everywhere, as often as is cheap.
    Always,
    /// Everywhere, with a pause of this length between two scans.
    Every(Duration),
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
    pub(super) fn normalised(self) -> Self {
        Self {
            roots: normalise_all(&self.roots),
            base: normalise(&self.base),
            ignored_dirs: normalise_all(&self.ignored_dirs),
            rules: self.rules.iter().map(Rule::normalised).collect(),
            inputs: self.inputs.as_ref().map(InputSet::normalised),
            ..self
        }
    }

    /// All files and directories that the roots, a rule or a build name.
    pub(super) fn named_paths(&self) -> impl Iterator<Item = &Path> {
        let inputs = self.inputs.iter();
        let inputs = inputs.flat_map(|inputs| inputs.dirs.iter().chain(&inputs.files));
        let rules = self.rules.iter().filter_map(Rule::root);
        let roots = self.roots.iter().chain(inputs);
        roots.map(PathBuf::as_path).chain(rules)
    }
}

impl InputSet {
    /// With paths as they appear in events, and with the targets of files that are symbolic links.
    fn normalised(&self) -> Self {
        let mut files: BTreeSet<PathBuf> = normalise_all(&self.files);
        let links = files.iter().filter(|path| path.is_symlink());
        let targets: Vec<_> = links.filter_map(|path| path.canonicalize().ok()).collect();
        files.extend(targets);
        Self {
            files,
            any_extension: normalise_all(&self.any_extension),
            dirs: normalise_all(&self.dirs),
        }
    }
}
