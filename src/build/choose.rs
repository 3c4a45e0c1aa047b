//! Chooses the program's package as `cargo run` does.

use cargo_metadata::{Metadata, Package, TargetKind};

use super::command_line::CargoRun;
use crate::error::Failure;

/// The program's package, according to the rules of `cargo run` (`src/cargo/ops/cargo_run.rs` and
/// `src/bin/cargo/commands/run.rs` in cargo's sources).
pub(super) fn choose<'a>(run: &CargoRun, metadata: &'a Metadata) -> Result<&'a Package, Failure> {
    let packages = packages(run, metadata)?;
    let (flag, name, kind, noun) = match &run.example {
        Some(name) => ("--example", Some(name), TargetKind::Example, "example"),
        None => ("--bin", run.bin.as_ref(), TargetKind::Bin, "binary"),
    };
    let all = targets(&packages, &kind);
    if let Some(name) = name {
        let found = all.iter().find(|(_, known)| known == name);
        return found.map(|(package, _)| *package).ok_or_else(|| {
            let hint = available(flag, name, all.iter().map(|(_, known)| *known));
            Failure::usage(format!("no {noun} named `{name}`")).hints(hint)
        });
    }
    let mut defaults = packages
        .iter()
        .filter(|package| package.default_run.is_some());
    match (defaults.next(), defaults.next(), &all[..]) {
        (Some(package), None, _) | (_, _, [(package, _)]) => Ok(package),
        (_, _, []) => {
            let names = quoted(packages.iter().map(|package| package.name.as_str()));
            Err(Failure::usage(format!("no binary in {names}")).hint(
                "add a `src/main.rs`, or choose a package with `-p` or an example with `--example`",
            ))
        }
        (_, _, binaries) => {
            let names = quoted(binaries.iter().map(|(_, name)| *name));
            let count = binaries.len();
            let text = format!("{count} binaries; choose one with `-p` or `--bin`");
            Err(Failure::usage(text).hint(format!(
                "use `hotrun -- cargo run --bin NAME` ({names}), or set `default-run` in `Cargo.toml`"
            )))
        }
    }
}

/// The packages that `-p` selects, or the default members of the workspace.
fn packages<'a>(run: &CargoRun, metadata: &'a Metadata) -> Result<Vec<&'a Package>, Failure> {
    let members = metadata.workspace_packages();
    let Some(spec) = &run.package else {
        // Cargo has reported the default members since 1.71.
        return Ok(match metadata.workspace_default_members.is_available() {
            true => metadata.workspace_default_packages(),
            false => members,
        });
    };
    let found = members.iter().filter(|package| selects(spec, package));
    let found: Vec<_> = found.copied().collect();
    let in_name = |character: char| character.is_alphanumeric() || "-_".contains(character);
    match found.is_empty() {
        false => Ok(found),
        true if spec.chars().all(in_name) => {
            let known = members.iter().map(|package| package.name.as_str());
            let failure = Failure::usage(format!("no package `{spec}` in the workspace"));
            Err(failure.hints(available("-p", spec, known)))
        }
        // A pattern is left to cargo.
        true => Ok(members),
    }
}

/// Whether a package ID specification selects this package: `NAME`, `NAME@VERSION`, or a URL. A URL may be followed by
/// `#` and `NAME`, `NAME@VERSION` or `VERSION` (see "Package ID Specifications" in the Cargo book). The names of a
/// workspace's members are unique, so the version is left to cargo.
fn selects(spec: &str, package: &Package) -> bool {
    let (url, rest) = match spec.contains("://") {
        true => spec.split_once('#').unwrap_or((spec, "")),
        false => ("", spec),
    };
    // Up to cargo 1.76, an ID is `NAME VERSION (URL)`.
    let id = package.id.repr.split(['#', ')']).next().unwrap_or_default();
    let name = rest.split(['@', ':']).next().unwrap_or_default();
    let is_version = name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit());
    id.ends_with(url) && (package.name.as_str() == name || !url.is_empty() && is_version)
}

/// The packages' targets of this kind, with their names.
fn targets<'a>(packages: &[&'a Package], kind: &TargetKind) -> Vec<(&'a Package, &'a str)> {
    let all = packages
        .iter()
        .flat_map(|package| package.targets.iter().map(|target| (*package, target)));
    all.filter(|(_, target)| target.kind.contains(kind))
        .map(|(package, target)| (package, target.name.as_str()))
        .collect()
}

/// How many names a message lists at most.
const LISTED: usize = 5;

/// Lists the known names, the ones most like `typed` first.
fn available<'a>(flag: &str, typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<_> = known.collect();
    let unlikeness = |name: &&str| 1.0 - strsim::jaro_winkler(typed, name);
    known.sort_by(|one, other| unlikeness(one).total_cmp(&unlikeness(other)));
    match known[..] {
        [] => None,
        [only] => Some(format!("there is only one: `{flag} {only}`")),
        [_, ..] => Some(format!("available: {}", quoted(known.into_iter()))),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(LISTED) {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names[..LISTED].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_id_specification_selects_the_same_packages_as_in_cargo() {
        let package = |id: &str| {
            let package = serde_json::json!({
                "name": "app", "version": "0.1.2", "id": id, "manifest_path": "/w/app/Cargo.toml",
                "dependencies": [], "targets": [], "features": {},
            });
            serde_json::from_value::<Package>(package).unwrap()
        };
        let now = package("path+file:///w/app#0.1.2");
        let before = package("app 0.1.2 (path+file:///w/app)");
        for (spec, expected) in [
            ("app", true),
            ("app@0.1", true),
            ("app:0.1.2", true),
            ("other", false),
            ("0.1.2", false),
            ("path+file:///w/app", true),
            ("file:///w/app", true),
            ("path+file:///w/app#app", true),
            ("path+file:///w/app#0.1.2", true),
            ("path+file:///w/app#app@0.1.2", true),
            ("path+file:///w/app#other", false),
            ("path+file:///w/other#app", false),
        ] {
            assert_eq!(selects(spec, &now), expected, "{spec}");
            assert_eq!(selects(spec, &before), expected, "{spec}");
        }
    }

    #[test]
    fn the_names_most_like_the_typed_one_are_listed_first() {
        let names: Vec<_> = (0..50).map(|number| format!("package-{number}")).collect();
        let known = names.iter().map(String::as_str).chain(["example-hello"]);
        let hint = available("-p", "exmple-hello", known).unwrap();
        assert!(hint.starts_with("available: `example-hello`, `"), "{hint}");
        assert!(hint.ends_with(", and 46 more"), "{hint}");
        let only = available("-p", "x", ["one"].into_iter());
        assert_eq!(only.unwrap(), "there is only one: `-p one`");
        assert_eq!(available("-p", "x", [].into_iter()), None);
    }
}
