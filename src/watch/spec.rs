use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::paths::{links_to, normalise, resolve_dir};
use super::rule::ChangeRule;

/// What to watch, and which files count.
#[derive(Clone, Debug, Default)]
pub struct WatchSpec {
    /// Absolute paths of directories, with everything in them, or of single files. They need not exist yet. Roots count
    /// even if an ignore file above them ignores them.
    pub roots: Vec<PathBuf>,
    /// The symbolic links in the paths of what is watched. If one of them changes, that counts as a change, and its new
    /// target is watched. The watch itself finds these links.
    pub links: BTreeSet<PathBuf>,
    /// The absolute path of the directory to which patterns in `ignores` that contain a `/` are relative.
    pub base: PathBuf,
    /// Ignore patterns, as in a `.gitignore`.
    pub ignores: Vec<String>,
    /// Only files with one of these extensions count, or all files if this is empty. A leading dot is ignored. Files in
    /// `roots` count regardless of their extension.
    pub exts: Vec<String>,
    /// Whether to disregard `.gitignore`, `.ignore`, `.git/info/exclude` and git's global excludes.
    pub no_vcs_ignore: bool,
    /// Absolute paths of directories in which nothing counts, such as cargo's target directory.
    pub ignored_dirs: Vec<PathBuf>,
    /// The user's rules for certain files. The last rule that applies wins. Files that match a rule count even if they
    /// are otherwise ignored, unless the rule itself ignores them.
    pub rules: Vec<ChangeRule>,
    /// Only these files and those that match a rule count. `None` if all files count except ignored ones.
    pub inputs: Option<InputSet>,
    /// Whether to poll instead of relying on file events.
    pub poll: Poll,
    /// Whether to report which files are touched before it is known whether they have changed.
    pub reports_touched: bool,
    /// How long to wait for further events before a change is reported.
    pub debounce: Duration,
}

/// The exact inputs of a program, as reported by its last good build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSet {
    /// Absolute paths of files, which need not exist.
    pub files: BTreeSet<PathBuf>,
    /// Those of the `files` that count regardless of their extension.
    pub any_extension: BTreeSet<PathBuf>,
    /// Directories in which everything that is not ignored counts.
    pub dirs: BTreeSet<PathBuf>,
}

/// Whether to poll for changes instead of relying on file events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Poll only where the system sends no file events.
    #[default]
    IfNeeded,
    /// Poll everywhere, as often as is possible at low cost.
    Always,
    /// Poll everywhere, and pause for this long between two scans.
    Every(Duration),
}

impl WatchSpec {
    /// Returns the same spec, with paths as they currently appear in events.
    pub(super) fn normalised(&self) -> Self {
        let rules: Vec<_> = self.rules.iter().map(ChangeRule::normalised).collect();
        let roots = self.roots.iter().flat_map(|root| links_to(root));
        // Most inputs are in the same few directories.
        let inputs = self.inputs.iter().flat_map(|inputs| &inputs.files);
        let dirs: BTreeSet<&Path> = inputs.filter_map(|file| file.parent()).collect();
        let dirs = dirs.into_iter().flat_map(links_to);
        Self {
            links: roots
                .chain(dirs)
                .chain(rules.iter().flat_map(ChangeRule::links).cloned())
                .collect(),
            roots: self.roots.iter().map(|path| resolve_dir(path)).collect(),
            base: normalise(&self.base),
            ignored_dirs: self.ignored_dirs.iter().map(|dir| normalise(dir)).collect(),
            rules,
            inputs: self.inputs.as_ref().map(InputSet::normalised),
            ..self.clone()
        }
    }

    /// All files and directories that are named by the roots, a rule or a build.
    pub(super) fn named_paths(&self) -> impl Iterator<Item = &Path> {
        let inputs = self.inputs.iter();
        let inputs = inputs.flat_map(|inputs| inputs.dirs.iter().chain(&inputs.files));
        let rules = self.rules.iter().filter_map(ChangeRule::root);
        let roots = self.roots.iter().chain(inputs);
        roots.map(PathBuf::as_path).chain(rules)
    }
}

impl InputSet {
    /// Returns the same inputs with paths as they appear in events, and adds the targets of symbolic links.
    fn normalised(&self) -> Self {
        let normalised = |files: &BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
            files.iter().map(|file| normalise(file)).collect()
        };
        let mut files = normalised(&self.files);
        let links = files.iter().filter(|path| path.is_symlink());
        let targets: Vec<_> = links.filter_map(|path| path.canonicalize().ok()).collect();
        files.extend(targets);
        Self {
            files,
            any_extension: normalised(&self.any_extension),
            dirs: self.dirs.iter().map(|path| resolve_dir(path)).collect(),
        }
    }
}

/// A change to what is watched, sent after a build.
#[derive(Clone, Debug)]
pub struct WatchUpdate {
    /// Replaces [`WatchSpec::roots`].
    pub roots: Vec<PathBuf>,
    /// Replaces [`WatchSpec::ignored_dirs`].
    pub ignored_dirs: Vec<PathBuf>,
    /// Replaces [`WatchSpec::inputs`].
    pub inputs: Option<InputSet>,
    /// When the build began. A file that counts only from now on is reported as changed if it has changed since then.
    pub since: SystemTime,
}

/// A file that was created or removed, or whose contents have changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The path of the file or of a source (see [`source_path`](super::source_path)).
    pub path: PathBuf,
    /// Whether the file was not known before.
    pub is_new: bool,
    /// The pid of hotrun's child whose process tree was seen making the change, if it was one.
    pub writer: Option<i32>,
}

/// A message from the watch.
#[derive(Debug)]
pub enum WatchMessage {
    /// The watch is set up. No change is missed from now on.
    Watching {
        /// The number of watched directories.
        dirs: usize,
    },
    /// A file was touched that may lead to a build or a restart. Sent only if [`WatchSpec::reports_touched`] is set. May be
    /// repeated.
    Touched,
    /// The files that were touched have been examined, and their changes reported.
    Settled,
    /// Files have changed.
    Changed {
        /// The changes, sorted by path. Never empty.
        changes: Vec<Change>,
        /// When the first event for these files arrived.
        seen: Instant,
    },
    /// A file was saved without any effect.
    NoEffect {
        /// The file.
        path: PathBuf,
        /// Whether the file counts, but its contents are the same. Otherwise, the last build has not read the file.
        is_input: bool,
        /// When the first event for this file arrived.
        seen: Instant,
    },
    /// Something cannot be watched as intended, but everything else is watched.
    Trouble {
        /// The message for the user.
        text: String,
        /// What the user can do about it.
        hint: &'static str,
    },
}

impl WatchMessage {
    /// Reports that the system does not send file events, or has stopped sending them, so hotrun polls.
    pub(super) fn no_events(reason: &str) -> Self {
        Self::Trouble {
            text: format!("the system sends no file events ({reason}); polling instead"),
            hint: "changes are noticed a little later; if there are too many watchers, `sudo sysctl fs.inotify.max_user_instances=1024` allows more",
        }
    }
}
