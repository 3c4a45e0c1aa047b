use std::path::{Component, Path, PathBuf};
use std::{error, fmt};

use globset::{GlobBuilder, GlobMatcher};

use super::paths::normalise;

/// What to do when a matching file changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// Build, then start the new generation.
    Build,
    /// Start a new generation from the last good build.
    Restart,
    /// Send the live generation the signal with this number.
    Signal(i32),
    /// Run this shell command.
    Run(String),
    /// Nothing.
    Ignore,
}

/// Which files match, and what to do when they change.
///
/// A glob with a `/` matches paths below the base directory; `*` does not match a `/`, `**` does. A glob without one
/// matches file names in every watched directory, as does one that begins with `**/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    subject: Subject,
    action: RuleAction,
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// This file.
    File(PathBuf),
    /// Files with such a name.
    Name(Pattern),
    /// Files with such a path below this directory, which is watched for them.
    Below(PathBuf, Pattern),
    /// Files with such a path below the base directory, as far as they are watched anyway.
    Anywhere(PathBuf, Pattern),
}

#[derive(Clone, Debug)]
struct Pattern(GlobMatcher);

/// A glob with a syntax error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidGlob {
    glob: String,
    reason: String,
}

impl Rule {
    /// A relative glob is relative to `base`, which is absolute.
    ///
    /// # Errors
    ///
    /// The glob has a syntax error.
    pub fn new(base: &Path, glob: &str, action: RuleAction) -> Result<Self, InvalidGlob> {
        let (dir, rest) = split(base, glob);
        let matcher = GlobBuilder::new(&rest).literal_separator(true).build();
        let matcher = matcher.map_err(|error| InvalidGlob {
            glob: glob.to_owned(),
            reason: error.kind().to_string(),
        })?;
        let pattern = Pattern(matcher.compile_matcher());
        let subject = if !has_wildcard(&rest) {
            Subject::File(dir.join(rest))
        } else if dir == base && pattern.is_deep() {
            Subject::Anywhere(dir, pattern)
        } else if glob.contains('/') {
            Subject::Below(dir, pattern)
        } else {
            Subject::Name(pattern)
        };
        Ok(Self { subject, action })
    }

    /// Matches this file only, whatever characters its name has.
    pub const fn file(path: PathBuf, action: RuleAction) -> Self {
        let subject = Subject::File(path);
        Self { subject, action }
    }

    /// The same rule for paths as the watch reports them: a directory may be named through a symbolic link.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let subject = match self.subject.clone() {
            Subject::File(path) => Subject::File(normalise(&path)),
            Subject::Name(pattern) => Subject::Name(pattern),
            Subject::Below(dir, pattern) => Subject::Below(normalise(&dir), pattern),
            Subject::Anywhere(dir, pattern) => Subject::Anywhere(normalise(&dir), pattern),
        };
        let action = self.action.clone();
        Self { subject, action }
    }

    /// What to do when a matching file changes.
    pub const fn action(&self) -> &RuleAction {
        &self.action
    }

    /// Whether the rule matches the file at `path`.
    pub fn applies_to(&self, path: &Path) -> bool {
        match &self.subject {
            Subject::File(file) => path == file,
            Subject::Name(pattern) => path
                .file_name()
                .is_some_and(|name| pattern.matches(Path::new(name))),
            Subject::Below(dir, pattern) | Subject::Anywhere(dir, pattern) => path
                .strip_prefix(dir)
                .is_ok_and(|relative| pattern.matches(relative)),
        }
    }

    /// The file or directory that is watched for this rule, whatever else is.
    pub(super) fn root(&self) -> Option<&Path> {
        match &self.subject {
            _ if self.action == RuleAction::Ignore => None,
            Subject::File(path) | Subject::Below(path, _) => Some(path),
            Subject::Name(_) | Subject::Anywhere(..) => None,
        }
    }

    /// Whether the rule may match files in directories below its root.
    pub(super) fn is_deep(&self) -> bool {
        match &self.subject {
            Subject::File(_) | Subject::Name(_) | Subject::Anywhere(..) => false,
            Subject::Below(_, pattern) => pattern.is_deep(),
        }
    }
}

impl Pattern {
    fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }

    /// Whether it may match a path with more than one component.
    fn is_deep(&self) -> bool {
        let glob = self.0.glob().glob();
        glob.contains('/') || glob.contains("**")
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.glob() == other.0.glob()
    }
}

impl Eq for Pattern {}

/// The action for the file at `path`: the last rule that applies wins.
pub fn action_for<'a>(rules: &'a [Rule], path: &Path) -> Option<&'a RuleAction> {
    let applies = |rule: &&Rule| rule.applies_to(path);
    rules.iter().rev().find(applies).map(Rule::action)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// Splits a glob into the directory that it names without wildcards, and the rest.
fn split(base: &Path, glob: &str) -> (PathBuf, String) {
    let mut dir = base.to_owned();
    let mut components = Path::new(glob).components().peekable();
    while let Some(component) = components.peek() {
        match component {
            Component::RootDir => dir = PathBuf::from("/"),
            Component::ParentDir => {
                dir.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            Component::Normal(name) => {
                let name = name.to_string_lossy();
                let is_last = components.clone().nth(1).is_none();
                if has_wildcard(&name) || is_last {
                    break;
                }
                dir.push(&*name);
            }
        }
        components.next();
    }
    let rest: PathBuf = components.collect();
    (dir, rest.to_string_lossy().into_owned())
}

impl fmt::Display for InvalidGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid glob `{}`: {}", self.glob, self.reason)
    }
}

impl error::Error for InvalidGlob {}

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
    fn globs_match_paths_or_names() {
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
    fn a_glob_without_wildcards_matches_one_file() {
        let rule = check(".env", &["/w/app/.env"], &["/w/app/a/.env", "/w/.env"]);
        assert_eq!(rule.root(), Some(Path::new("/w/app/.env")));
        let odd = PathBuf::from("/w/[a]*");
        let rule = Rule::file(odd.clone(), RuleAction::Restart);
        assert!(rule.applies_to(&odd) && !rule.applies_to(Path::new("/w/ab")));
    }

    #[test]
    fn the_last_rule_that_applies_wins() {
        let rule = |glob, action| Rule::new(Path::new("/w"), glob, action).unwrap();
        let rules = [
            rule("*.toml", RuleAction::Restart),
            rule("a/*.toml", RuleAction::Signal(1)),
            rule("a/x.toml", RuleAction::Ignore),
        ];
        let action = |path: &str| action_for(&rules, Path::new(path));
        assert_eq!(action("/w/b.toml"), Some(&RuleAction::Restart));
        assert_eq!(action("/w/a/b.toml"), Some(&RuleAction::Signal(1)));
        assert_eq!(action("/w/a/x.toml"), Some(&RuleAction::Ignore));
        assert_eq!(action("/w/a/x.json"), None);
    }

    #[test]
    fn an_invalid_glob_is_named() {
        let error = Rule::new(Path::new("/w"), "a/{x", RuleAction::Build).unwrap_err();
        assert!(
            error.to_string().starts_with("invalid glob `a/{x`: "),
            "{error}"
        );
    }
}
