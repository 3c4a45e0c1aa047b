use std::path::{Component, Path, PathBuf};
use std::{error, fmt};

use globset::{GlobBuilder, GlobMatcher};

use super::spec;

/// What a rule does when a file changes that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Build, then start the new generation.
    Build,
    /// Start a new generation from the last good build.
    Restart,
    /// Send the live generation the signal with this number.
    Signal(i32),
    /// Run this shell line.
    Run(String),
    /// Nothing.
    Ignore,
}

/// Which files, and what their changes do.
///
/// A glob with a `/` in it is about the paths below the base; `*` stops at a `/`, `**` does not. One
/// without is about names, wherever they are watched, as is one that begins with `**/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    subject: Subject,
    action: RuleAction,
}

/// What a rule is about.
#[derive(Clone, Debug)]
enum Subject {
    /// This file.
    File(PathBuf),
    /// Files with such a name.
    Name(GlobMatcher),
    /// Files with such a path below this directory, which is named in full.
    Below(PathBuf, GlobMatcher),
    /// Files with such a path below the base, in whatever directories: no more is watched for it than for a name.
    Anywhere(PathBuf, GlobMatcher),
}

/// A glob that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongGlob {
    glob: String,
    reason: String,
}

impl Rule {
    /// `base` is absolute: what a relative glob is relative to.
    ///
    /// # Errors
    ///
    /// It is not a glob.
    pub fn new(base: &Path, glob: &str, action: RuleAction) -> Result<Self, WrongGlob> {
        let wrong = |error: globset::Error| WrongGlob {
            glob: glob.to_owned(),
            reason: error.kind().to_string(),
        };
        let (place, rest) = divide(base, glob);
        let matcher = GlobBuilder::new(&rest).literal_separator(true).build();
        let matcher = matcher.map_err(wrong)?.compile_matcher();
        let subject = if !has_magic(&rest) {
            Subject::File(place.join(rest))
        } else if place == base && is_deep(&matcher) {
            Subject::Anywhere(place, matcher)
        } else if glob.contains('/') {
            Subject::Below(place, matcher)
        } else {
            Subject::Name(matcher)
        };
        Ok(Self { subject, action })
    }

    /// For this very file.
    pub const fn file(path: PathBuf, action: RuleAction) -> Self {
        let subject = Subject::File(path);
        Self { subject, action }
    }

    /// The same under the paths that the watch tells: a directory may be named through a symbolic link.
    #[must_use]
    pub fn resolved(&self) -> Self {
        self.normalised(spec::normalised)
    }

    /// What it does.
    pub const fn action(&self) -> &RuleAction {
        &self.action
    }

    /// Whether it is about the file at `path`.
    pub fn applies_to(&self, path: &Path) -> bool {
        match &self.subject {
            Subject::File(file) => path == file,
            Subject::Name(matcher) => path
                .file_name()
                .is_some_and(|name| matcher.is_match(Path::new(name))),
            Subject::Below(place, matcher) | Subject::Anywhere(place, matcher) => path
                .strip_prefix(place)
                .is_ok_and(|relative| matcher.is_match(relative)),
        }
    }

    /// What has to be watched for it, whatever else is: a file, or a directory.
    pub(super) fn root(&self) -> Option<&Path> {
        match &self.subject {
            _ if self.action == RuleAction::Ignore => None,
            Subject::File(path) | Subject::Below(path, _) => Some(path),
            Subject::Name(_) | Subject::Anywhere(..) => None,
        }
    }

    /// Whether it may be about files deeper below its root.
    pub(super) fn is_deep(&self) -> bool {
        match &self.subject {
            Subject::File(_) | Subject::Name(_) | Subject::Anywhere(..) => false,
            Subject::Below(_, matcher) => is_deep(matcher),
        }
    }

    /// With paths that can be compared with those that events tell.
    pub(super) fn normalised(&self, normalise: impl Fn(&Path) -> PathBuf) -> Self {
        let subject = match &self.subject {
            Subject::File(path) => Subject::File(normalise(path)),
            Subject::Name(matcher) => Subject::Name(matcher.clone()),
            Subject::Below(place, matcher) => Subject::Below(normalise(place), matcher.clone()),
            Subject::Anywhere(place, matcher) => {
                Subject::Anywhere(normalise(place), matcher.clone())
            }
        };
        Self {
            subject,
            action: self.action.clone(),
        }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Name(one), Self::Name(other)) => one.glob() == other.glob(),
            (Self::Below(place, one), Self::Below(other_place, other))
            | (Self::Anywhere(place, one), Self::Anywhere(other_place, other)) => {
                place == other_place && one.glob() == other.glob()
            }
            (Self::File(_) | Self::Name(_) | Self::Below(..) | Self::Anywhere(..), _) => false,
        }
    }
}

impl Eq for Subject {}

/// What the rules say of a path: the last that applies wins.
pub fn last<'a>(rules: &'a [Rule], path: &Path) -> Option<&'a RuleAction> {
    let applies = |rule: &&Rule| rule.applies_to(path);
    rules.iter().rev().find(applies).map(Rule::action)
}

/// Whether it may be about files in directories below its place.
fn is_deep(matcher: &GlobMatcher) -> bool {
    let glob = matcher.glob().glob();
    glob.contains('/') || glob.contains("**")
}

fn has_magic(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// The directories that are named in full, and what remains to be matched below them.
fn divide(base: &Path, glob: &str) -> (PathBuf, String) {
    let mut place = base.to_owned();
    let mut components = Path::new(glob).components().peekable();
    while let Some(component) = components.peek() {
        match component {
            Component::RootDir => place = PathBuf::from("/"),
            Component::ParentDir => {
                place.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            Component::Normal(name) => {
                let name = name.to_string_lossy();
                let mut following = components.clone();
                following.next();
                if has_magic(&name) || following.peek().is_none() {
                    break;
                }
                place.push(&*name);
            }
        }
        components.next();
    }
    let rest: PathBuf = components.collect();
    (place, rest.to_string_lossy().into_owned())
}

impl fmt::Display for WrongGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a glob: {}", self.glob, self.reason)
    }
}

impl error::Error for WrongGlob {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, yes: &[&str], no: &[&str]) -> Rule {
        let rule = Rule::new(Path::new("/w/app"), glob, RuleAction::Restart).unwrap();
        for path in yes {
            assert!(rule.applies_to(Path::new(path)), "{path} by {glob}");
        }
        for path in no {
            assert!(!rule.applies_to(Path::new(path)), "{path} not by {glob}");
        }
        rule
    }

    #[test]
    fn globs_are_about_paths_or_about_names() {
        let rule = check(
            "config/*.toml",
            &["/w/app/config/a.toml"],
            &["/w/app/config/b/a.toml", "/w/app/a.toml", "/config/a.toml"],
        );
        assert_eq!(rule.root(), Some(Path::new("/w/app/config")));
        assert!(!rule.is_deep());
        let rule = check(
            "./data/**/*.{bin,dat}",
            &["/w/app/data/x.bin", "/w/app/data/a/b/x.dat"],
            &["/w/app/x.bin"],
        );
        assert_eq!(rule.root(), Some(Path::new("/w/app/data")));
        assert!(rule.is_deep());
        let rule = check(
            "data/**",
            &["/w/app/data/x", "/w/app/data/a/b/x"],
            &["/w/app/x"],
        );
        assert_eq!(rule.root(), Some(Path::new("/w/app/data")));
        assert!(rule.is_deep());
        let rule = check("*.sql", &["/w/app/x.sql", "/w/app/a/x.sql"], &["/w/x.sq"]);
        assert_eq!(rule.root(), None);
        let rule = check(
            "**/*.sql",
            &["/w/app/x.sql", "/w/app/a/b/x.sql"],
            &["/w/x.sql"],
        );
        assert_eq!(rule.root(), None);
        check("../shared/*", &["/w/shared/x"], &["/w/app/shared/x"]);
        check("/etc/my[app]/*", &["/etc/mya/x"], &["/w/app/etc/mya/x"]);
    }

    #[test]
    fn a_name_without_magic_is_one_file() {
        let rule = check(".env", &["/w/app/.env"], &["/w/app/a/.env", "/w/.env"]);
        assert_eq!(rule.root(), Some(Path::new("/w/app/.env")));
        let odd = PathBuf::from("/w/[a]*");
        let rule = Rule::file(odd.clone(), RuleAction::Restart);
        assert!(rule.applies_to(&odd) && !rule.applies_to(Path::new("/w/ab")));
    }

    #[test]
    fn the_last_that_applies_wins() {
        let rule = |glob, action| Rule::new(Path::new("/w"), glob, action).unwrap();
        let rules = [
            rule("*.toml", RuleAction::Restart),
            rule("a/*.toml", RuleAction::Signal(1)),
            rule("a/x.toml", RuleAction::Ignore),
        ];
        let said = |path: &str| last(&rules, Path::new(path));
        assert_eq!(said("/w/b.toml"), Some(&RuleAction::Restart));
        assert_eq!(said("/w/a/b.toml"), Some(&RuleAction::Signal(1)));
        assert_eq!(said("/w/a/x.toml"), Some(&RuleAction::Ignore));
        assert_eq!(said("/w/a/x.json"), None);
    }

    #[test]
    fn what_is_no_glob_is_named() {
        let error = Rule::new(Path::new("/w"), "a/{x", RuleAction::Build).unwrap_err();
        assert!(
            error.to_string().starts_with("`a/{x` is not a glob: "),
            "{error}"
        );
    }
}
