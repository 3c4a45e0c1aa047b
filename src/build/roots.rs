use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, Package, Resolve};

use super::{BuildError, CargoPlan, Target, checks};

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRoots {
    /// Directories, with all that is in them.
    pub dirs: Vec<PathBuf>,
    /// Single files. They need not exist: one that appears is a change.
    pub files: Vec<PathBuf>,
    /// Directories in which nothing is of interest: what cargo builds, and members of the workspace that
    /// the program does not depend on.
    pub ignored: Vec<PathBuf>,
}

/// The package, the local packages that it is built from, and cargo's own files.
pub(super) fn of(plan: &CargoPlan) -> Result<WatchRoots, BuildError> {
    let Some(target) = plan.target.as_ref() else {
        return Ok(WatchRoots::default());
    };
    let manifest = target.manifest_dir.join("Cargo.toml");
    let offline = plan
        .run
        .selection
        .resolution
        .iter()
        .any(|option| option == "--offline");
    // Without the network, and so without the wait for it; what is not there yet is not local anyway.
    let options: &[&str] = if offline { &[] } else { &["--offline"] };
    let with_examples = !plan.run.selection.examples.is_empty();
    let (used, members) = match checks::metadata(plan, Some(&manifest), options) {
        Ok(metadata) => (
            resolved(&metadata, target, with_examples),
            members(&metadata),
        ),
        Err(_) => declared(plan, &manifest)?,
    };
    let mut dirs: Vec<PathBuf> = vec![target.manifest_dir.clone()];
    dirs.extend(used.into_iter().filter(|dir| *dir != target.manifest_dir));
    Ok(WatchRoots {
        ignored: ignored(target, &dirs, members),
        files: files(plan, target),
        dirs,
    })
}

fn members(metadata: &Metadata) -> Vec<PathBuf> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(checks::manifest_dir)
        .collect()
}

/// By the resolved graph: it also knows `[patch]`, features, and what hangs on a package of a registry.
fn resolved(metadata: &Metadata, target: &Target, with_examples: bool) -> BTreeSet<PathBuf> {
    let Some(resolve) = metadata.resolve.as_ref() else {
        return BTreeSet::new();
    };
    let mut waiting = vec![target.id.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id.clone()) {
            waiting.extend(needs(resolve, &id, with_examples && id == target.id));
        }
    }
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none());
    local
        .filter(|package| seen.contains(&package.id.repr))
        .map(checks::manifest_dir)
        .collect()
}

/// What the package `id` is built from; what only its tests and examples need is left out unless asked for.
fn needs(resolve: &Resolve, id: &str, with_examples: bool) -> Vec<String> {
    let node = resolve.nodes.iter().find(|node| node.id.repr == id);
    let dependencies = node.into_iter().flat_map(|node| &node.deps);
    dependencies
        .filter(|dependency| {
            let only_tests = dependency
                .dep_kinds
                .iter()
                .all(|kind| kind.kind == DependencyKind::Development);
            with_examples || dependency.dep_kinds.is_empty() || !only_tests
        })
        .map(|dependency| dependency.pkg.repr.clone())
        .collect()
}

/// By what the manifests say, where the graph can't be had: each path that is named, and so on from there.
fn declared(
    plan: &CargoPlan,
    manifest: &Path,
) -> Result<(BTreeSet<PathBuf>, Vec<PathBuf>), BuildError> {
    let metadata = checks::metadata(plan, Some(manifest), &["--no-deps"])?;
    let members = members(&metadata);
    let mut known: BTreeMap<PathBuf, Package> = BTreeMap::new();
    known.extend(
        metadata
            .packages
            .into_iter()
            .map(|package| (checks::manifest_dir(&package), package)),
    );
    let mut waiting: Vec<PathBuf> = manifest.parent().map(Path::to_owned).into_iter().collect();
    let mut used = BTreeSet::new();
    while let Some(dir) = waiting.pop() {
        if !used.insert(dir.clone()) {
            continue;
        }
        if !known.contains_key(&dir)
            && let Ok(other) = checks::metadata(plan, Some(&dir.join("Cargo.toml")), &["--no-deps"])
        {
            known.extend(
                other
                    .packages
                    .into_iter()
                    .map(|package| (checks::manifest_dir(&package), package)),
            );
        }
        let dependencies = known
            .get(&dir)
            .into_iter()
            .flat_map(|package| &package.dependencies);
        let needed =
            dependencies.filter(|dependency| dependency.kind != DependencyKind::Development);
        waiting.extend(
            needed
                .filter_map(|dependency| dependency.path.clone())
                .map(PathBuf::from),
        );
    }
    Ok((used, members))
}

/// A member in the way of a directory that is used stays visible.
fn ignored(target: &Target, dirs: &[PathBuf], members: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut ignored = vec![target.target_dir.clone()];
    ignored.extend(
        target
            .build_dir
            .clone()
            .filter(|dir| *dir != target.target_dir),
    );
    ignored.extend(
        members
            .into_iter()
            .filter(|member| !dirs.iter().any(|dir| dir.starts_with(member))),
    );
    ignored
}

/// Cargo's files that lie outside of the packages. Those of the working directory and of the workspace are
/// named whether they exist or not, those further up only if they do.
pub(super) fn files(plan: &CargoPlan, target: &Target) -> Vec<PathBuf> {
    const EVERYWHERE: [&str; 4] = [
        ".cargo/config.toml",
        ".cargo/config",
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    let root = &target.workspace_root;
    let mut files = BTreeSet::from([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    let directory = plan.directory();
    for place in directory.ancestors() {
        let near = place == directory || place == root;
        let named = EVERYWHERE.iter().map(|name| place.join(name));
        files.extend(named.filter(|file| near && !is_old_name(file) || file.exists()));
    }
    files.into_iter().collect()
}

/// The names without `.toml` are accepted and no longer written.
fn is_old_name(file: &Path) -> bool {
    file.extension().is_none()
}
