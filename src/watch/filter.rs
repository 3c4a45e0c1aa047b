use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{IncrementalIgnore, WalkBuilder};

use super::temporary::is_temporary;
use super::{RuleAction, StartError, WatchSpec, rule};

/// Directories of version control: what changes in them is not what is worked on.
const VERSION_CONTROL: &[&str] = &[
    ".git", ".hg", ".jj", ".svn", ".bzr", "_darcs", ".pijul", "CVS",
];

const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// Says which paths count.
///
/// The ignore files are read when they are first needed and then kept: after a change of one of them
/// make a new filter.
#[derive(Debug)]
pub struct Filter {
    spec: WatchSpec,
    overrides: Override,
    files: BTreeSet<PathBuf>,
    dirs: Vec<Matcher>,
    /// Directories of which only the files count that rules are about, and whether those further below do.
    ruled: Vec<(PathBuf, bool)>,
    /// Ignore files that are in none of the directories, and apply in them.
    above: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Matcher {
    root: PathBuf,
    ignore: IncrementalIgnore,
    ignored_dirs: Vec<PathBuf>,
}

impl Filter {
    /// Reads nothing yet, except what each root is: what is no directory now is taken for a file.
    ///
    /// # Errors
    ///
    /// A pattern to ignore is not one.
    pub fn new(spec: &WatchSpec) -> Result<Self, StartError> {
        let overrides = overrides(spec)?;
        let exact = spec.exact.iter().flat_map(|exact| &exact.dirs);
        let roots: BTreeSet<PathBuf> = spec.roots.iter().chain(exact).cloned().collect();
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

    /// Whether a file at `path` counts, be it there or not.
    pub fn file(&mut self, path: &Path) -> bool {
        match rule::last(&self.spec.rules, path) {
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
        match &self.spec.exact {
            None => self.passes(path),
            Some(_) if self.files.contains(path) => true,
            Some(exact) if exact.files.contains(path) => {
                let counts = has_extension(path, &self.spec.exts);
                (counts || exact.any_extension.contains(path)) && !self.is_ignored_by_user(path)
            }
            Some(exact) => exact.covers(path) && self.passes(path),
        }
    }

    /// Whether a file at `path` could count, if a build used it.
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

    /// Whether a directory is to be watched with what is in it.
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
                        .is_ok_and(|relative| !is_set_apart(root, relative))
        })
    }

    /// Files that count though nothing else in their directory may: it has to be watched for them.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let exact = self.spec.exact.iter().flat_map(|exact| &exact.files);
        let files = self.files.iter().chain(exact).chain(&self.above);
        files.map(PathBuf::as_path)
    }

    /// Directories that are watched with what is in them, as far as it is not ignored.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        let ruled = self.ruled.iter().map(|(root, _)| root.as_path());
        let dirs = self.dirs.iter().map(|matcher| matcher.root.as_path());
        dirs.chain(ruled)
    }

    /// Whether a change of this file makes the filter outdated.
    pub fn is_outdated_by(&self, path: &Path) -> bool {
        let is_one = |name| IGNORE_FILES.iter().any(|known| name == *known);
        let ignore_file = path.file_name().is_some_and(is_one);
        self.spec.vcs_ignore && ignore_file
    }

    /// By `--ignore`, the file itself or a directory in which it is.
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
            && !is_set_apart(&self.root, relative)
            && !self.ignore.matched(relative, is_dir).is_ignore()
    }
}

/// Version control, and what cargo builds, also where no ignore file says so: a `target` beside a `Cargo.toml`.
fn is_set_apart(root: &Path, relative: &Path) -> bool {
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
    // A `.gitignore` counts without git too (an unpacked archive). Those above the root only within
    // a repository: a stray one in the home directory, with a `*` in it, would hide everything.
    builder
        .require_git(false)
        .parents(on && is_in_repository(root));
    builder.build_matchers().swap_remove(0)
}

fn is_in_repository(root: &Path) -> bool {
    root.ancestors().any(is_repository)
}

fn is_repository(dir: &Path) -> bool {
    dir.join(".git").exists() || dir.join(".jj").exists()
}

/// Up to the repository in which `root` is. They need not exist.
fn ignore_files_above(root: &Path) -> Vec<PathBuf> {
    let depth = root.ancestors().position(is_repository).unwrap_or(0);
    let above = root.ancestors().skip(1).take(depth);
    above
        .flat_map(|dir| IGNORE_FILES.map(|name| dir.join(name)))
        .collect()
}

/// An override that begins with `!` is a pattern to ignore, and it wins over what the ignore files say.
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
