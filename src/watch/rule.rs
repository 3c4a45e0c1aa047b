use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::paths::{links_to, normalise};
use crate::error::Failure;

/// What to do when a matching file changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// Build, then start a new generation.
    Build,
    /// Start a new generation from the last good build.
    Restart,
    /// Send the live generation the signal with this number.
    Signal(i32),
    /// Run this shell command.
    Run(String),
    /// Do nothing.
    Ignore,
}

/// A rule: which files match, and what to do when they change.
///
/// A glob is relative to the base directory, unless it is absolute. `*` does not match a `/`, but `**` does. A glob
/// with wildcards, but without `/` and `**`, matches file names in every watched directory.
#[derive(Clone, Debug)]
pub struct ChangeRule {
    /// `place` before symbolic links were resolved.
    given: PathBuf,
    /// The file that matches or, with a glob, the directory below which it matches.
    place: PathBuf,
    /// The symbolic links on the way to `place`. A change to one of them may replace everything below it.
    links: BTreeSet<PathBuf>,
    glob: Option<GlobMatcher>,
    /// Whether `place` is watched for this rule. Otherwise, the rule matches only files that are watched anyway.
    is_root: bool,
    action: RuleAction,
}

impl ChangeRule {
    /// Makes a rule from a glob. `base` is the base directory, and must be absolute.
    ///
    /// # Errors
    ///
    /// The glob has a syntax error.
    pub fn new(base: &Path, glob: &str, action: RuleAction) -> Result<Self, Failure> {
        let (dir, mut rest) = split(base, glob);
        if !has_wildcard(&rest) {
            return Ok(Self::file(dir.join(rest), action));
        }
        let is_name = !glob.contains('/') && !glob.contains("**");
        if is_name {
            rest = format!("**/{rest}");
        }
        let built = GlobBuilder::new(&rest).literal_separator(true).build();
        let built = built.map_err(|error| {
            Failure::usage(format!("`--on`: invalid glob `{glob}`: {}", error.kind()))
        })?;
        let mut rule = Self {
            is_root: dir != base,
            glob: Some(built.compile_matcher()),
            ..Self::file(if is_name { "/".into() } else { dir }, action)
        };
        rule.is_root |= !rule.is_deep();
        Ok(rule)
    }

    /// Makes a rule that matches only this file, even if its name contains wildcard characters.
    pub fn file(path: PathBuf, action: RuleAction) -> Self {
        Self {
            given: path.clone(),
            place: path,
            links: BTreeSet::new(),
            glob: None,
            is_root: true,
            action,
        }
    }

    /// Makes a rule for a source, see [`source_path`](super::source_path).
    pub fn source(name: &str, action: RuleAction) -> Self {
        Self {
            is_root: false,
            ..Self::file(source_path(name), action)
        }
    }

    /// Returns the same rule with its paths as they currently appear in events, because its directory may be a symbolic
    /// link.
    #[must_use]
    pub fn normalised(&self) -> Self {
        Self {
            place: normalise(&self.given),
            links: links_to(&self.given),
            ..self.clone()
        }
    }

    /// The file or directory that is watched for this rule, if any.
    pub(super) fn root(&self) -> Option<&Path> {
        let is_root = self.is_root && self.action != RuleAction::Ignore;
        is_root.then_some(&self.place)
    }

    /// The symbolic links that are watched for this rule.
    pub(super) fn links(&self) -> impl Iterator<Item = &PathBuf> {
        self.links.iter().filter(|_| self.root().is_some())
    }

    /// Whether the rule may match files in directories below its root.
    pub(super) fn is_deep(&self) -> bool {
        let glob = self.glob.as_ref().map_or("", |glob| glob.glob().glob());
        glob.contains('/') || glob.contains("**")
    }
}

/// The path that stands for a source (`--source`) among changed files: `@NAME`. All other paths are absolute.
pub fn source_path(name: &str) -> PathBuf {
    format!("@{name}").into()
}

/// Whether this path stands for a source.
pub fn is_source(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(b"@")
}

/// The action for the file at `path`: the last rule that applies wins.
pub fn action_for<'a>(rules: &'a [ChangeRule], path: &Path) -> Option<&'a RuleAction> {
    let applies = |rule: &&ChangeRule| match &rule.glob {
        _ if rule.root().is_some() && rule.links.contains(path) => true,
        None => path == rule.place,
        Some(glob) => {
            let below = path.strip_prefix(&rule.place);
            below.is_ok_and(|below| glob.is_match(below))
        }
    };
    let rule = rules.iter().rev().find(applies);
    rule.map(|rule| &rule.action)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// Splits a glob into its directory, up to the first component with a wildcard, and the rest.
fn split(base: &Path, glob: &str) -> (PathBuf, String) {
    let mut dir = base.to_owned();
    let mut rest = Path::new(glob).components();
    let mut next = rest.clone();
    while let Some(component) = next.next() {
        let is_last = next.as_path() == Path::new("");
        if is_last || has_wildcard(&component.as_os_str().to_string_lossy()) {
            break;
        }
        if component == Component::ParentDir {
            dir.pop();
        } else {
            dir.push(component);
        }
        rest = next.clone();
    }
    (dir, rest.as_path().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applies(rule: &ChangeRule, path: &str) -> bool {
        action_for(std::slice::from_ref(rule), Path::new(path)).is_some()
    }

    #[track_caller]
    fn check(glob: &str, yes: &[&str], no: &[&str]) -> ChangeRule {
        let rule = ChangeRule::new(Path::new("/w/app"), glob, RuleAction::Restart).unwrap();
        for path in yes {
            assert!(applies(&rule, path), "`{glob}` must match {path}");
        }
        for path in no {
            assert!(!applies(&rule, path), "`{glob}` must not match {path}");
        }
        rule
    }

    #[test]
    fn a_glob_matches_either_paths_or_names() {
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
        let rule = ChangeRule::file("/w/[a]*".into(), RuleAction::Restart);
        assert!(applies(&rule, "/w/[a]*") && !applies(&rule, "/w/ab"));
    }

    #[test]
    fn a_rule_for_a_source_watches_nothing() {
        let rule = ChangeRule::source("cfg", RuleAction::Restart).normalised();
        assert!(applies(&rule, "@cfg") && !applies(&rule, "@cfg2") && !applies(&rule, "/@cfg"));
        assert_eq!(rule.root(), None);
    }

    #[test]
    fn the_last_rule_that_applies_wins() {
        let rule = |glob, action| ChangeRule::new(Path::new("/w"), glob, action).unwrap();
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
    fn the_error_for_an_invalid_glob_quotes_the_glob() {
        let error = ChangeRule::new(Path::new("/w"), "a/{x", RuleAction::Build).unwrap_err();
        let expected = "`--on`: invalid glob `a/{x`: ";
        assert!(error.message().starts_with(expected), "{error}");
    }
}
