use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use globset::{Glob, GlobSet};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::{IncrementalIgnore, WalkBuilder};

use super::rule::{RuleAction, action_for};
use super::spec::WatchSpec;
use crate::error::Failure;

/// The directories in which version control systems keep their data. They contain no sources.
const VERSION_CONTROL: &[&str] = &[
    ".git", ".hg", ".jj", ".svn", ".bzr", "_darcs", ".pijul", "CVS",
];

const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// Names of files that editors create beside the file that they edit, and of files that a crash leaves behind.
///
/// Editors remove most of these files before the quiet period ends. The ones that stay while a file is open (swap
/// files, locks, autosaves, backups) must not count as changes. If the files that a crash leaves behind counted, every
/// crash would trigger another start.
const TEMPORARY: &[&str] = &[
    // Vim's swap files, from `.x.swp` down to `.x.saa`, and the files that vim creates to test whether the directory is
    // writable.
    ".*.s[a-w][a-z]",
    ".*.swpx",
    "4913",
    "5036",
    // Backups made by vim and emacs, and emacs' locks and autosaves.
    "*~",
    ".#*",
    "#*#",
    // JetBrains' "safe write" renames the old file, and writes the new one under a different name.
    "*___jb_tmp___",
    "*___jb_old___",
    // Temporary files of GNOME and KDE.
    ".goutputstream-*",
    ".*.kate-swp",
    // The kernel's core dumps (`core(5)`), and crash logs of the Java virtual machine and of `npm` ("Fatal Error Log" in
    // Oracle's "Troubleshooting Guide", `npm help logging`).
    "core",
    "core.[0-9]*",
    "hs_err_pid*.log",
    "replay_pid*.log",
    "npm-debug.log*",
    // The Rust compiler's crash reports (`rustc_driver_impl`), and TypeScript's record of what it has built.
    "rustc-ice-*.txt",
    "*.tsbuildinfo",
];

/// Decides which files count, that is, whether a change to them is reported.
///
/// An ignore file is read when it is first needed, and then cached. After a change to an ignore file, make a new
/// filter.
#[derive(Debug)]
pub(super) struct Filter {
    spec: WatchSpec,
    overrides: Override,
    /// Files that count regardless of their extension.
    files: BTreeSet<PathBuf>,
    dirs: Vec<Matcher>,
    /// Directories in which only files that match a rule count, and whether the rule applies to their subdirectories.
    ruled: Vec<(PathBuf, bool)>,
    /// Ignore files above `dirs`, which also apply inside `dirs`.
    above: BTreeSet<PathBuf>,
}

/// Decides which files count in a directory.
#[derive(Debug)]
struct Matcher {
    root: PathBuf,
    ignore: IncrementalIgnore,
    ignored_dirs: Vec<PathBuf>,
}

impl Filter {
    /// Makes a filter. A root that is not a directory now is assumed to be a file.
    ///
    /// # Errors
    ///
    /// An ignore pattern is invalid.
    pub(super) fn new(spec: &WatchSpec) -> Result<Self, Failure> {
        let overrides = overrides(spec)?;
        let input_dirs = spec.inputs.iter().flat_map(|inputs| &inputs.dirs);
        let roots: BTreeSet<PathBuf> = spec.roots.iter().chain(input_dirs).cloned().collect();
        let (dirs, mut files): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
            roots.into_iter().partition(|root| root.is_dir());
        files.extend(spec.links.iter().cloned());
        let mut ruled = Vec::new();
        for rule in &spec.rules {
            match rule.root() {
                Some(root) if root.is_dir() => ruled.push((root.to_owned(), rule.is_deep())),
                Some(root) => drop(files.insert(root.to_owned())),
                None => {}
            }
        }
        let above = dirs.iter().filter(|_| !spec.no_vcs_ignore);
        let above = above.flat_map(|root| ignore_files_above(root)).collect();
        let matcher = |root| Matcher::new(root, spec, &overrides);
        Ok(Self {
            above,
            dirs: dirs.into_iter().map(matcher).collect(),
            files,
            ruled,
            overrides,
            spec: spec.clone(),
        })
    }

    /// Whether a change to this file matters: the file counts, or it makes the filter outdated.
    pub(super) fn matters(&mut self, path: &Path) -> bool {
        self.counts(path) || self.is_outdated_by(path)
    }

    /// Whether a file at `path` counts. The file need not exist.
    pub(super) fn counts(&mut self, path: &Path) -> bool {
        if let Some(action) = action_for(&self.spec.rules, path) {
            return *action != RuleAction::Ignore && !is_temporary(path);
        }
        let Some(inputs) = &self.spec.inputs else {
            return self.would_count(path);
        };
        if self.files.contains(path) {
            true
        } else if inputs.files.contains(path) {
            // `--ignore` may match the file or a directory that contains it.
            let places = path.ancestors();
            let places = places.take_while(|place| *place != self.spec.base);
            let mut places = places.enumerate();
            let is_ignored = |(up, place)| self.overrides.matched(place, up > 0).is_ignore();
            let any_extension = inputs.any_extension.contains(path);
            (any_extension || has_extension(path, &self.spec.exts)) && !places.any(is_ignored)
        } else {
            inputs.dirs.iter().any(|dir| path.starts_with(dir)) && self.would_count(path)
        }
    }

    /// Whether a file at `path` would count if a build used it.
    pub(super) fn would_count(&mut self, path: &Path) -> bool {
        self.files.contains(path)
            || !is_temporary(path)
                && (has_extension(path, &self.spec.exts) || is_link_to_dir(path))
                && self.dirs.iter_mut().any(|dir| dir.accepts(path, false))
    }

    /// Whether to watch the directory at `path`.
    pub(super) fn covers(&mut self, path: &Path) -> bool {
        let is_ruled = self.ruled.iter().any(|(root, is_deep)| {
            let below = path.strip_prefix(root);
            path == root || *is_deep && below.is_ok_and(|below| !is_never_watched(root, below))
        });
        is_ruled || self.dirs.iter_mut().any(|dir| dir.accepts(path, true))
    }

    /// Files whose changes matter even if nothing else in their directory counts. So their directories must be watched,
    /// too.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let inputs = self.spec.inputs.iter();
        let inputs = inputs.flat_map(|inputs| &inputs.files);
        self.files.iter().chain(inputs).chain(&self.above)
    }

    /// Directories to watch, with everything in them that is not ignored.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        let ruled = self.ruled.iter().map(|(root, _)| root);
        self.dirs.iter().map(|dir| &dir.root).chain(ruled)
    }

    /// Whether a change to this file makes the filter outdated.
    pub(super) fn is_outdated_by(&self, path: &Path) -> bool {
        !self.spec.no_vcs_ignore && IGNORE_FILES.iter().any(|name| path.ends_with(name))
    }
}

impl Matcher {
    fn new(root: PathBuf, spec: &WatchSpec, overrides: &Override) -> Self {
        let on = !spec.no_vcs_ignore;
        let repository = root.ancestors().find(|dir| is_repository(dir));
        let repository = repository.filter(|_| on);
        let hidden = repository.is_some_and(|repository| is_ignored(repository, &root));
        let mut builder = WalkBuilder::new(&root);
        builder
            .hidden(false)
            .overrides(overrides.clone())
            .ignore(on)
            .git_ignore(on)
            .git_exclude(on)
            .git_global(on);
        // A `.gitignore` applies even outside a repository, for example in an unpacked archive. A `.gitignore` above
        // the root applies only inside a repository that contains the root: otherwise, a forgotten `.gitignore` with a
        // `*` in the home directory would hide everything, and so would a repository there that keeps only dotfiles.
        builder
            .require_git(false)
            .parents(repository.is_some() && !hidden);
        let ignored_dirs = spec.ignored_dirs.iter();
        let ignored_dirs = ignored_dirs.filter(|dir| !root.starts_with(dir));
        Self {
            ignore: builder.build_matchers().swap_remove(0),
            ignored_dirs: ignored_dirs.cloned().collect(),
            root,
        }
    }

    fn accepts(&mut self, path: &Path, is_dir: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else {
            return false;
        };
        !self.ignored_dirs.iter().any(|dir| path.starts_with(dir))
            && !is_never_watched(&self.root, below)
            && !self.ignore.matched(below, is_dir).is_ignore()
    }
}

/// Whether the ignore files of a repository ignore this directory in it, or every file in the directory.
fn is_ignored(repository: &Path, dir: &Path) -> bool {
    let Ok(below) = dir.strip_prefix(repository) else {
        return false;
    };
    let mut builder = WalkBuilder::new(repository);
    builder.hidden(false).require_git(false).parents(false);
    let mut ignore = builder.build_matchers().swap_remove(0);
    let mut dirs = below.ancestors().filter(|dir| *dir != Path::new(""));
    // A name that no ignore file mentions.
    let file = below.join("hotrun-probe.hotrun");
    dirs.any(|dir| ignore.matched(dir, true).is_ignore()) || ignore.matched(file, false).is_ignore()
}

/// Whether the path `below` a root is in a version control directory, among Python's compiled modules or in cargo's
/// output (a `target` beside a `Cargo.toml`). These are ignored even without an ignore file.
fn is_never_watched(root: &Path, below: &Path) -> bool {
    let mut place = root.to_owned();
    below.components().any(|component| {
        let name = component.as_os_str();
        let is_output = name == "target" && place.join("Cargo.toml").is_file();
        place.push(name);
        is_output || name == "__pycache__" || VERSION_CONTROL.iter().any(|known| name == *known)
    })
}

fn is_temporary(path: &Path) -> bool {
    static GLOBS: LazyLock<GlobSet> = LazyLock::new(|| {
        // No glob is dropped here, because all of them are valid.
        let globs = TEMPORARY.iter().filter_map(|glob| Glob::new(glob).ok());
        GlobSet::new(globs).unwrap_or_default()
    });
    path.file_name().is_some_and(|name| GLOBS.is_match(name))
}

fn is_repository(dir: &Path) -> bool {
    dir.join(".git").exists() || dir.join(".jj").exists()
}

/// The paths of possible ignore files above `root`, up to the root of its repository.
fn ignore_files_above(root: &Path) -> Vec<PathBuf> {
    let depth = root.ancestors().position(is_repository).unwrap_or(0);
    let above = root.ancestors().skip(1).take(depth);
    above
        .flat_map(|dir| IGNORE_FILES.map(|name| dir.join(name)))
        .collect()
}

/// Builds an override from the ignore patterns. In an override, `!` marks a pattern to ignore, which takes precedence
/// over ignore files.
fn overrides(spec: &WatchSpec) -> Result<Override, Failure> {
    let invalid = |patterns: &str, error: ignore::Error| {
        Failure::environment(format!("invalid ignore pattern `{patterns}`: {error}"))
            .hint("patterns have the same syntax as in a `.gitignore`")
    };
    let mut builder = OverrideBuilder::new(&spec.base);
    for pattern in &spec.ignores {
        let added = builder.add(&format!("!{pattern}"));
        added.map_err(|error| invalid(pattern, error))?;
    }
    let built = builder.build();
    built.map_err(|error| invalid(&spec.ignores.join(", "), error))
}

/// Whether the path is a symbolic link to a directory, in which files may have any extension.
fn is_link_to_dir(path: &Path) -> bool {
    path.is_symlink() && path.is_dir()
}

fn has_extension(path: &Path, extensions: &[String]) -> bool {
    let is = |wanted: &String| path.extension() == Some(OsStr::new(wanted.trim_start_matches('.')));
    extensions.is_empty() || extensions.iter().any(is)
}

#[cfg(test)]
mod tests;
