use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{InputSet, Poll, Rule, WatchUpdate};

/// What to watch, and what of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Directories, with all that is in them, or single files. Absolute. What does not exist is waited for.
    /// What is named here counts even where it is ignored by what is around it.
    pub roots: Vec<PathBuf>,
    /// What `ignores` with a `/` in them are relative to. Absolute.
    pub base: PathBuf,
    /// Patterns as in a `.gitignore`. Empty: none.
    pub ignores: Vec<String>,
    /// Only files with one of these extensions count (without the dot). Empty: all. Files among `roots`
    /// count whatever they are called.
    pub exts: Vec<String>,
    /// Whether `.gitignore`, `.ignore`, `.git/info/exclude` and git's global excludes are respected.
    pub vcs_ignore: bool,
    /// Directories in which nothing counts, cargo's target directory first of all. Absolute.
    pub ignored_dirs: Vec<PathBuf>,
    /// What the user says of some files; the last rule that applies wins. What rules name counts even where
    /// it is ignored, unless a rule says so.
    pub rules: Vec<Rule>,
    /// Only this counts, and what rules are about; `None`: all that is not ignored.
    pub exact: Option<InputSet>,
    /// Whether to look for changes instead of being told of them.
    pub poll: Poll,
    /// How long it has to be quiet before a change is told.
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
            exact: None,
            poll: Poll::default(),
            debounce: Duration::from_millis(20),
        }
    }
}

impl WatchSpec {
    /// With paths that can be compared with each other and with what events tell: the directory in which a
    /// root is may be named through `..` or a symbolic link. The root's own name stays, so that it is seen
    /// when another file takes its place.
    pub(super) fn normalised(&self) -> Self {
        Self {
            roots: self.roots.iter().map(|root| normalised(root)).collect(),
            base: normalised(&self.base),
            ignored_dirs: self
                .ignored_dirs
                .iter()
                .map(|dir| normalised(dir))
                .collect(),
            rules: self
                .rules
                .iter()
                .map(|rule| rule.normalised(normalised))
                .collect(),
            exact: self
                .exact
                .as_ref()
                .map(|exact| exact.normalised(normalised)),
            ..self.clone()
        }
    }
}

impl WatchSpec {
    /// What it is after a build.
    pub(super) fn updated(&self, revision: WatchUpdate) -> Self {
        let revised = Self {
            roots: revision.roots,
            ignored_dirs: revision.ignored_dirs,
            exact: revision.exact,
            ..self.clone()
        };
        revised.normalised()
    }

    /// Whether the last good build names this very file.
    pub(super) fn names(&self, path: &Path) -> bool {
        let exact = self.exact.as_ref();
        exact.is_some_and(|exact| exact.files.contains(path))
    }

    /// All that is watched for itself: directories, and files whose directory may be of no other interest.
    pub(super) fn places(&self) -> impl Iterator<Item = &Path> {
        let exact = self.exact.iter();
        let exact = exact.flat_map(|exact| exact.dirs.iter().chain(&exact.files));
        let rules = self.rules.iter().filter_map(Rule::root);
        self.roots
            .iter()
            .chain(exact)
            .map(PathBuf::as_path)
            .chain(rules)
    }
}

pub(super) fn normalised(path: &Path) -> PathBuf {
    let within = path.file_name().zip(path.parent());
    let found = match within {
        Some((name, parent)) => parent.canonicalize().map(|parent| parent.join(name)),
        None => path.canonicalize(),
    };
    found.unwrap_or_else(|_| path.components().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn detours_are_taken_out_and_names_stay() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a", root.join("link")).unwrap();
        for (given, expected) in [
            ("a/../a/b", "a/b"),
            ("link/b", "a/b"),
            ("link", "link"),
            ("a/b/", "a/b"),
            ("a/b/..", "a"),
            ("missing/x", "missing/x"),
        ] {
            assert_eq!(
                normalised(&root.join(given)),
                root.join(expected),
                "{given}"
            );
        }
    }
}
