use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{IncrementalIgnore, WalkBuilder};

use super::temporary::is_temporary;
use super::{RuleAction, StartError, WatchSpec, action_for};

/// Directories of version control systems. They hold no sources.
const VERSION_CONTROL: &[&str] = &[
    ".git", ".hg", ".jj", ".svn", ".bzr", "_darcs", ".pijul", "CVS",
];

const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// Decides which paths count.
///
/// Ignore files are read when they are first needed, and then kept. After a change of one of them, make a new filter.
#[derive(Debug)]
pub struct Filter {
    spec: WatchSpec,
    overrides: Override,
    files: BTreeSet<PathBuf>,
    dirs: Vec<Matcher>,
    /// Directories in which only files that match a rule count, and whether files further below do.
    ruled: Vec<(PathBuf, bool)>,
    /// Ignore files above the directories, which apply in them.
    above: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Matcher {
    root: PathBuf,
    ignore: IncrementalIgnore,
    ignored_dirs: Vec<PathBuf>,
}

impl Filter {
    /// Only checks which roots are directories. Any other root counts as a file.
    ///
    /// # Errors
    ///
    /// A pattern to ignore is invalid.
    pub fn new(spec: &WatchSpec) -> Result<Self, StartError> {
        let overrides = overrides(spec)?;
        let input_dirs = spec.inputs.iter().flat_map(|inputs| &inputs.dirs);
        let roots: BTreeSet<PathBuf> = spec.roots.iter().chain(input_dirs).cloned().collect();
        let (dirs, mut files): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
            roots.into_iter().partition(|root| root.is_dir());
        let mut ruled = Vec::new();
        for rule in &spec.rules {
            match rule.root() {
                Some(root) if root.is_dir() => ruled.push((root.to_owned(), rule.is_deep())),
                Some(root) => drop(files.insert(root.to_owned())),
                None => {}
            }
        }
        let above = dirs.iter().filter(|_| spec.vcs_ignore);
        let above = above.flat_map(|root| ignore_files_above(root)).collect();
        Ok(Self {
            above,
            dirs: dirs
                .into_iter()
                .map(|root| Matcher::new(root, spec, &overrides))
                .collect(),
            files,
            ruled,
            overrides,
            spec: spec.clone(),
        })
    }

    /// Whether a file at `path` counts. It need not exist.
    pub fn file(&mut self, path: &Path) -> bool {
        match action_for(&self.spec.rules, path) {
            Some(RuleAction::Ignore) => return false,
            Some(
                RuleAction::Build
                | RuleAction::Restart
                | RuleAction::Signal(_)
                | RuleAction::Run(_),
            ) => {
                return !is_temporary(path);
            }
            None => {}
        }
        match &self.spec.inputs {
            None => self.passes(path),
            Some(_) if self.files.contains(path) => true,
            Some(inputs) if inputs.files.contains(path) => {
                let counts = has_extension(path, &self.spec.exts);
                (counts || inputs.any_extension.contains(path)) && !self.is_ignored_by_user(path)
            }
            Some(inputs) => inputs.covers(path) && self.passes(path),
        }
    }

    /// Whether a file at `path` would count if a build used it.
    pub fn passes(&mut self, path: &Path) -> bool {
        if self.files.contains(path) {
            return true;
        }
        path.file_name().is_some()
            && !is_temporary(path)
            && has_extension(path, &self.spec.exts)
            && self
                .dirs
                .iter_mut()
                .any(|matcher| matcher.accepts(path, false))
    }

    /// Whether to watch a directory and everything in it.
    pub fn dir(&mut self, path: &Path) -> bool {
        self.is_ruled(path)
            || self
                .dirs
                .iter_mut()
                .any(|matcher| matcher.accepts(path, true))
    }

    fn is_ruled(&self, path: &Path) -> bool {
        self.ruled.iter().any(|(root, deep)| {
            path == root
                || *deep
                    && path
                        .strip_prefix(root)
                        .is_ok_and(|relative| !is_never_watched(root, relative))
        })
    }

    /// Files that count even if nothing else in their directory does. That directory has to be watched for them.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let inputs = self.spec.inputs.iter();
        let inputs = inputs.flat_map(|inputs| &inputs.files);
        let files = self.files.iter().chain(inputs).chain(&self.above);
        files.map(PathBuf::as_path)
    }

    /// Directories to watch with everything in them that is not ignored.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        let ruled = self.ruled.iter().map(|(root, _)| root.as_path());
        let dirs = self.dirs.iter().map(|matcher| matcher.root.as_path());
        dirs.chain(ruled)
    }

    /// Whether a change of this file makes the filter out of date.
    pub fn is_outdated_by(&self, path: &Path) -> bool {
        let is_one = |name| IGNORE_FILES.iter().any(|known| name == *known);
        let ignore_file = path.file_name().is_some_and(is_one);
        self.spec.vcs_ignore && ignore_file
    }

    /// Whether `--ignore` names the file or a directory around it.
    fn is_ignored_by_user(&self, path: &Path) -> bool {
        let places = path
            .ancestors()
            .take_while(|place| *place != self.spec.base);
        let mut places = places.enumerate();
        places.any(|(up, place)| self.overrides.matched(place, up > 0).is_ignore())
    }
}

impl Matcher {
    fn new(root: PathBuf, spec: &WatchSpec, overrides: &Override) -> Self {
        let ignored_dirs = spec
            .ignored_dirs
            .iter()
            .filter(|dir| !root.starts_with(dir))
            .cloned();
        Self {
            ignore: ignore(&root, spec, overrides),
            ignored_dirs: ignored_dirs.collect(),
            root,
        }
    }

    fn accepts(&mut self, path: &Path, is_dir: bool) -> bool {
        let Ok(relative) = path.strip_prefix(&self.root) else {
            return false;
        };
        !self.ignored_dirs.iter().any(|dir| path.starts_with(dir))
            && !is_never_watched(&self.root, relative)
            && !self.ignore.matched(relative, is_dir).is_ignore()
    }
}

/// Whether the path is in a directory of version control or of cargo's output (a `target` beside a `Cargo.toml`). These
/// are ignored even if no ignore file says so.
fn is_never_watched(root: &Path, relative: &Path) -> bool {
    let mut place = root.to_owned();
    for component in relative.components() {
        let name = component.as_os_str();
        if VERSION_CONTROL.iter().any(|known| name == *known) {
            return true;
        }
        if name == "target" && place.join("Cargo.toml").is_file() {
            return true;
        }
        place.push(name);
    }
    false
}

fn ignore(root: &Path, spec: &WatchSpec, overrides: &Override) -> IncrementalIgnore {
    let on = spec.vcs_ignore;
    let mut builder = WalkBuilder::new(root);
    builder
        .hidden(false)
        .overrides(overrides.clone())
        .ignore(on)
        .git_ignore(on)
        .git_exclude(on)
        .git_global(on);
    // A `.gitignore` counts even outside of a repository (in an unpacked archive). Those above the root count only
    // within one: a stray `.gitignore` in the home directory, with a `*` in it, would hide everything.
    builder
        .require_git(false)
        .parents(on && root.ancestors().any(is_repository));
    builder.build_matchers().swap_remove(0)
}

fn is_repository(dir: &Path) -> bool {
    dir.join(".git").exists() || dir.join(".jj").exists()
}

/// Where ignore files may be above `root`, up to the root of its repository.
fn ignore_files_above(root: &Path) -> Vec<PathBuf> {
    let depth = root.ancestors().position(is_repository).unwrap_or(0);
    let above = root.ancestors().skip(1).take(depth);
    above
        .flat_map(|dir| IGNORE_FILES.map(|name| dir.join(name)))
        .collect()
}

/// In an override, `!` marks a pattern to ignore, which takes precedence over ignore files.
fn overrides(spec: &WatchSpec) -> Result<Override, StartError> {
    let mut builder = OverrideBuilder::new(&spec.base);
    for pattern in &spec.ignores {
        let refused = |error: ignore::Error| StartError::Pattern {
            pattern: pattern.clone(),
            reason: error.to_string(),
        };
        builder.add(&format!("!{pattern}")).map_err(refused)?;
    }
    builder.build().map_err(|error| StartError::Pattern {
        pattern: spec.ignores.join(", "),
        reason: error.to_string(),
    })
}

fn has_extension(path: &Path, extensions: &[String]) -> bool {
    let is = |wanted: &String| path.extension() == Some(OsStr::new(wanted.trim_start_matches('.')));
    extensions.is_empty() || extensions.iter().any(is)
}

#[cfg(test)]
mod tests;
