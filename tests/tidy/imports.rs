//! Finds which file imports which, from the `use` declarations and the paths in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::files::Source;

pub(crate) type Path = Vec<String>;

/// The files of the crate by module, and the names that each module re-exports.
pub(crate) struct Crate {
    modules: BTreeMap<Path, String>,
    reexports: BTreeMap<(Path, String), Path>,
}

impl Crate {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let mut all = Self {
            modules: BTreeMap::new(),
            reexports: BTreeMap::new(),
        };
        for source in sources {
            all.modules.insert(source.module_path(), source.name());
        }
        for source in sources {
            let at = source.module_path();
            for (name, path) in uses(&source.code(), true) {
                if let Some(path) = all.absolute(&at, &path) {
                    all.reexports.insert((at.clone(), name), path);
                }
            }
        }
        all
    }

    /// The other modules whose items this file names.
    pub(crate) fn imports(&self, source: &Source) -> BTreeSet<Path> {
        let (code, at) = (source.code(), source.module_path());
        let used = uses(&code, false).into_iter().map(|(_, path)| path);
        let named = paths(&code);
        let all = used.chain(named);
        let mut found: BTreeSet<Path> = all
            .filter_map(|path| self.absolute(&at, &path))
            .filter_map(|path| self.home(&path, 0))
            .collect();
        found.remove(&at);
        found
    }

    pub(crate) fn file(&self, module: &Path) -> &str {
        &self.modules[module]
    }

    /// The path from the crate's root, without `crate`, or `None` if it leads to another crate.
    fn absolute(&self, at: &Path, path: &Path) -> Option<Path> {
        let mut base = at.clone();
        let mut rest = path.as_slice();
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                base.push(child.to_owned());
                if !self.modules.contains_key(&base) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The module that defines the item at this path, after following re-exports.
    fn home(&self, path: &Path, depth: usize) -> Option<Path> {
        let end = (0..=path.len())
            .rev()
            .find(|end| self.modules.contains_key(&path[..*end]))?;
        let module = path[..end].to_vec();
        let Some(name) = path.get(end) else {
            return Some(module);
        };
        match self.reexports.get(&(module.clone(), name.clone())) {
            Some(target) if depth < 8 => {
                let mut target = target.clone();
                target.extend_from_slice(&path[end + 1..]);
                self.home(&target, depth + 1)
            }
            Some(_) | None => Some(module),
        }
    }
}

/// The names that the `use` declarations bring into scope, with their paths: those of re-exports if `public`, otherwise
/// those of imports.
pub(crate) fn uses(code: &str, public: bool) -> Vec<(String, Path)> {
    static DECLARED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").unwrap());
    let mut found = Vec::new();
    for one in DECLARED.captures_iter(code) {
        if one.get(1).is_some() == public {
            let tree: String = one[2].split_whitespace().collect::<Vec<_>>().join(" ");
            expand(&[], &tree, &mut found);
        }
    }
    found
}

/// Expands a `use` tree: `a::{b, c::d as e}` means `a::b` and `a::c::d`.
fn expand(before: &[String], tree: &str, found: &mut Vec<(String, Path)>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head = head.trim().trim_end_matches("::");
        let mut path = before.to_vec();
        path.extend(
            head.split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
        for part in split(group.trim_end().trim_end_matches('}')) {
            expand(&path, part, found);
        }
        return;
    }
    let (target, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path = before.to_vec();
    path.extend(target.trim().split("::").map(str::to_owned));
    if path.len() > 1
        && path
            .last()
            .is_some_and(|last| last == "self" || last == "*")
    {
        path.pop();
    }
    let last = path.last().cloned().unwrap_or_default();
    let name = if name.is_empty() {
        last
    } else {
        name.trim().to_owned()
    };
    if !path.iter().all(String::is_empty) {
        found.push((name, path));
    }
}

/// Splits a group at the commas outside nested braces.
fn split(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, one) in group.char_indices() {
        depth += i32::from(one == '{') - i32::from(one == '}');
        if one == ',' && depth == 0 {
            parts.push(&group[from..at]);
            from = at + 1;
        }
    }
    parts.push(&group[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The paths in the code itself, such as `super::lock(…)` or `spec::parse(…)`.
pub(crate) fn paths(code: &str) -> Vec<Path> {
    static NOT_A_PATH: LazyLock<Regex> = LazyLock::new(|| {
        let declared = r"(?m:^)\s*(pub(?:\([^)]*\))?\s+)?use\s+[^;]+;";
        Regex::new(&format!(r"{declared}|pub\(in [^)]*\)")).unwrap()
    });
    static NAMED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:^|[^:\w])([a-z_]\w*(?:::\w+)+)").unwrap());
    let code = NOT_A_PATH.replace_all(code, "");
    let found = NAMED.captures_iter(&code);
    found
        .map(|one| one[1].split("::").map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_use_tree_is_expanded() {
    let code = "use super::{a::{B, C as D}, e};\npub use x::Y;\n  use crate::f::*;\n";
    let names = |public| {
        let found = uses(code, public).into_iter();
        found
            .map(|(name, path)| format!("{name}={}", path.join("::")))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(false),
        ["B=super::a::B", "D=super::a::C", "e=super::e", "f=crate::f"]
    );
    assert_eq!(names(true), ["Y=x::Y"]);
}

#[test]
fn a_path_in_the_code_is_an_import() {
    let code = "use a::b;\nfn c() { super::d(); let e = f::g::<H>(); }\npub(in crate::x) fn i() {}";
    let found: Vec<_> = paths(code).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["super::d", "f::g"]);
}
