use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{IncrementalIgnore, WalkBuilder};

use super::temporary::is_temporary;
use super::{StartError, WatchSpec};

/// Directories of version control: what changes in them is not what is worked on.
const VERSION_CONTROL: &[&str] = &[
    ".git", ".hg", ".jj", ".svn", ".bzr", "_darcs", ".pijul", "CVS",
];

/// Says which paths count.
///
/// The ignore files are read when they are first needed and then kept: after a change of one of them
/// make a new filter.
#[derive(Debug)]
pub struct Filter {
    spec: WatchSpec,
    files: BTreeSet<PathBuf>,
    dirs: Vec<Matcher>,
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
        let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) =
            spec.roots.iter().cloned().partition(|root| root.is_dir());
        Ok(Self {
            dirs: dirs
                .into_iter()
                .map(|root| Matcher::new(root, spec, &overrides))
                .collect(),
            files: files.into_iter().collect(),
            spec: spec.clone(),
        })
    }

    /// Whether a file at `path` counts, be it there or not.
    pub fn file(&mut self, path: &Path) -> bool {
        if self.files.contains(path) {
            return true;
        }
        let Some(name) = path.file_name() else {
            return false;
        };
        !is_temporary(name)
            && has_extension(path, &self.spec.exts)
            && self
                .dirs
                .iter_mut()
                .any(|matcher| matcher.accepts(path, false))
    }

    /// Whether a directory is to be watched with what is in it.
    pub fn dir(&mut self, path: &Path) -> bool {
        self.dirs
            .iter_mut()
            .any(|matcher| matcher.accepts(path, true))
    }

    /// The roots that are single files, or are not there.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The roots that are directories.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|matcher| matcher.root.as_path())
    }

    /// Whether a change of this file makes the filter outdated.
    pub fn is_outdated_by(&self, path: &Path) -> bool {
        let ignore_file = path
            .file_name()
            .is_some_and(|name| name == ".gitignore" || name == ".ignore");
        self.spec.vcs_ignore && ignore_file
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
    root.ancestors()
        .any(|dir| dir.join(".git").exists() || dir.join(".jj").exists())
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
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn spec(root: &TempDir) -> WatchSpec {
        WatchSpec {
            roots: vec![root.path().to_owned()],
            base: root.path().to_owned(),
            ..WatchSpec::default()
        }
    }

    #[track_caller]
    fn check(root: &TempDir, spec: &WatchSpec, counts: &[&str], ignored: &[&str]) {
        let mut filter = Filter::new(spec).unwrap();
        for name in counts {
            assert!(filter.file(&root.path().join(name)), "{name} counts");
        }
        for name in ignored {
            assert!(!filter.file(&root.path().join(name)), "{name} is ignored");
        }
    }

    #[test]
    fn ignore_files_are_respected_where_they_are() {
        let root = tree(&[
            (".gitignore", "*.log\n/out/\n"),
            ("a/.gitignore", "!keep.log\nlocal\n"),
            (".ignore", "secret\n"),
            ("a/b/x", ""),
        ]);
        let counts = [
            "src/main.rs",
            "a/keep.log",
            "b/local",
            ".env",
            "a/b/new/deep",
            "b/out/x",
        ];
        let ignored = [
            "x.log",
            "a/x.log",
            "out/x",
            "out/a/b",
            "a/local",
            "a/b/local",
            "secret",
            "a/secret",
        ];
        check(&root, &spec(&root), &counts, &ignored);
        let all = WatchSpec {
            vcs_ignore: false,
            ..spec(&root)
        };
        check(&root, &all, &ignored, &[]);
    }

    #[test]
    fn the_repositorys_ignore_files_count_below_it() {
        let root = tree(&[
            (".git/info/exclude", "mine\n"),
            (".gitignore", "*.log\n"),
            ("sub/x", ""),
        ]);
        let sub = WatchSpec {
            roots: vec![root.path().join("sub")],
            ..spec(&root)
        };
        check(&root, &sub, &["sub/a"], &["sub/x.log", "other"]);
        check(&root, &spec(&root), &["sub/a"], &["mine"]);
    }

    #[test]
    fn an_ignore_file_above_that_is_in_no_repository_is_not_read() {
        let root = tree(&[(".gitignore", "*\n"), ("project/x", "")]);
        let sub = WatchSpec {
            roots: vec![root.path().join("project")],
            ..spec(&root)
        };
        check(&root, &sub, &["project/x"], &[]);
    }

    #[test]
    fn version_control_and_targets_never_count() {
        let root = tree(&[("Cargo.toml", ""), ("plain/target/x", "")]);
        let none = WatchSpec {
            vcs_ignore: false,
            ..spec(&root)
        };
        check(
            &root,
            &none,
            &["plain/target/x", ".github/x", "src/target"],
            &["target/x", "target", ".git/x", "a/.git", ".jj/a/b"],
        );
        let mut filter = Filter::new(&none).unwrap();
        assert!(!filter.dir(&root.path().join("target")));
        assert!(!filter.dir(&root.path().join(".git")));
        assert!(filter.dir(&root.path().join("plain/target")));
    }

    #[test]
    fn patterns_and_extensions_narrow_it() {
        let root = tree(&[(".gitignore", "!a.gen.rs\n")]);
        let narrow = WatchSpec {
            ignores: vec!["*.gen.rs".to_owned(), "/docs/".to_owned()],
            exts: vec!["rs".to_owned(), ".toml".to_owned()],
            ..spec(&root)
        };
        check(
            &root,
            &narrow,
            &["a.rs", "Cargo.toml", "sub/docs/x.rs"],
            &["a.gen.rs", "docs/x.rs", "x.html", "rs"],
        );
        let bad = WatchSpec {
            ignores: vec!["a{".to_owned()],
            ..spec(&root)
        };
        assert!(matches!(Filter::new(&bad), Err(StartError::Pattern { .. })));
    }

    #[test]
    fn what_is_named_counts_even_where_it_is_ignored() {
        let root = tree(&[
            (".gitignore", "build\n.env\n"),
            ("build/x", ""),
            (".env", ""),
        ]);
        let named = WatchSpec {
            roots: vec![root.path().join("build"), root.path().join(".env")],
            exts: vec!["rs".to_owned()],
            ..spec(&root)
        };
        check(
            &root,
            &named,
            &["build/x.rs", ".env"],
            &["main.rs", "build/x"],
        );
        let inside = WatchSpec {
            ignored_dirs: vec![root.path().join("build")],
            ..named
        };
        check(&root, &inside, &["build/x.rs"], &[]);
    }

    #[test]
    fn ignored_directories_are_ignored_whole() {
        let root = tree(&[]);
        let narrow = WatchSpec {
            ignored_dirs: vec![root.path().join("out")],
            ..spec(&root)
        };
        check(&root, &narrow, &["outer/x"], &["out", "out/x", "out/a/b"]);
    }
}
