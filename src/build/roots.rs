use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, Package, Resolve};

use super::{BuildError, CargoPlan, Target, target};

/// What to watch by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRoots {
    /// Directories with their subdirectories.
    pub dirs: Vec<PathBuf>,
    /// Files. They need not exist, because creating one is a change.
    pub files: Vec<PathBuf>,
    /// Directories to ignore: the target directory, and workspace members that the program does not depend on.
    pub ignored: Vec<PathBuf>,
}

/// The package, its local dependencies, and the files of cargo.
pub(super) fn of(plan: &CargoPlan) -> Result<WatchRoots, BuildError> {
    let Some(target) = plan.target.as_ref() else {
        return Ok(WatchRoots::default());
    };
    let manifest = target.manifest_dir.join("Cargo.toml");
    let is_offline = plan
        .run
        .run_options
        .resolution
        .iter()
        .any(|option| option == "--offline");
    // Local packages need no network, so don't wait for it.
    let options: &[&str] = if is_offline { &[] } else { &["--offline"] };
    let with_examples = !plan.run.run_options.examples.is_empty();
    let (used, members) = match target::metadata(plan, Some(&manifest), options) {
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
        .map(target::manifest_dir)
        .collect()
}

/// The directories of the local packages in the resolved dependency graph, which reflects `[patch]`, features and local
/// dependencies of packages from a registry.
fn resolved(metadata: &Metadata, target: &Target, with_examples: bool) -> BTreeSet<PathBuf> {
    let Some(resolve) = metadata.resolve.as_ref() else {
        return BTreeSet::new();
    };
    let mut queue = vec![target.id.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if seen.insert(id.clone()) {
            queue.extend(dependencies(resolve, &id, with_examples && id == target.id));
        }
    }
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none());
    local
        .filter(|package| seen.contains(&package.id.repr))
        .map(target::manifest_dir)
        .collect()
}

/// The dependencies of a package, without its dev-dependencies unless `with_dev` is set.
fn dependencies(resolve: &Resolve, id: &str, with_dev: bool) -> Vec<String> {
    let node = resolve.nodes.iter().find(|node| node.id.repr == id);
    let dependencies = node.into_iter().flat_map(|node| &node.deps);
    dependencies
        .filter(|dependency| {
            let is_dev = dependency
                .dep_kinds
                .iter()
                .all(|kind| kind.kind == DependencyKind::Development);
            with_dev || dependency.dep_kinds.is_empty() || !is_dev
        })
        .map(|dependency| dependency.pkg.repr.clone())
        .collect()
}

/// The path dependencies that the manifests declare, recursively, for when the graph can't be resolved.
fn declared(
    plan: &CargoPlan,
    manifest: &Path,
) -> Result<(BTreeSet<PathBuf>, Vec<PathBuf>), BuildError> {
    let metadata = target::metadata(plan, Some(manifest), &["--no-deps"])?;
    let members = members(&metadata);
    let mut known: BTreeMap<PathBuf, Package> = BTreeMap::new();
    known.extend(
        metadata
            .packages
            .into_iter()
            .map(|package| (target::manifest_dir(&package), package)),
    );
    let mut queue: Vec<PathBuf> = manifest.parent().map(Path::to_owned).into_iter().collect();
    let mut used = BTreeSet::new();
    while let Some(dir) = queue.pop() {
        if !used.insert(dir.clone()) {
            continue;
        }
        if !known.contains_key(&dir)
            && let Ok(other) = target::metadata(plan, Some(&dir.join("Cargo.toml")), &["--no-deps"])
        {
            known.extend(
                other
                    .packages
                    .into_iter()
                    .map(|package| (target::manifest_dir(&package), package)),
            );
        }
        let dependencies = known
            .get(&dir)
            .into_iter()
            .flat_map(|package| &package.dependencies);
        let needed =
            dependencies.filter(|dependency| dependency.kind != DependencyKind::Development);
        queue.extend(
            needed
                .filter_map(|dependency| dependency.path.clone())
                .map(PathBuf::from),
        );
    }
    Ok((used, members))
}

/// A member that contains a used directory is not ignored.
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

/// The files of cargo outside of the packages. Those in the working directory and in the workspace root need not
/// exist; those in parent directories do.
pub(super) fn files(plan: &CargoPlan, target: &Target) -> Vec<PathBuf> {
    const NAMES: [&str; 4] = [
        ".cargo/config.toml",
        ".cargo/config",
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    let root = &target.workspace_root;
    let mut files = BTreeSet::from([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    let directory = plan.directory();
    for place in directory.ancestors() {
        let is_near = place == directory || place == root;
        let named = NAMES.iter().map(|name| place.join(name));
        files.extend(named.filter(|file| is_near && !is_old_name(file) || file.exists()));
    }
    files.into_iter().collect()
}

/// Whether the name has no `.toml`. Cargo still accepts such files, but no tool creates them.
fn is_old_name(file: &Path) -> bool {
    file.extension().is_none()
}
