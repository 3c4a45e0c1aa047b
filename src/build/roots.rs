use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, Node};

use super::command_line::CargoRun;
use super::target::{CargoTarget, manifest_dir, metadata};
use crate::error::Failure;

/// The files that configure cargo or select the toolchain.
const CONFIGURATION: [&str; 4] = [
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];

/// What to watch by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRoots {
    /// Directories, each with its subdirectories.
    pub dirs: Vec<PathBuf>,
    /// Files. They need not exist, because creating one is a change.
    pub files: Vec<PathBuf>,
    /// Directories to ignore: the target directory, and workspace members that the program does not depend on.
    pub ignored: Vec<PathBuf>,
}

/// What to watch by default: the package, its local dependencies, and cargo's own files.
pub(super) fn of(run: &CargoRun, target: &CargoTarget) -> Result<WatchRoots, Failure> {
    let manifest = target.manifest_dir.join("Cargo.toml");
    let is_offline = run.resolution.iter().any(|option| option == "--offline");
    // Reading local packages needs no network, so don't wait for it.
    let options: &[&str] = if is_offline { &[] } else { &["--offline"] };
    let (metadata, used) = match metadata(run, Some(&manifest), options) {
        Ok(metadata) => {
            let used = resolved(&metadata, target, run.example.is_some());
            (metadata, used)
        }
        Err(_) => {
            let metadata = metadata(run, Some(&manifest), &["--no-deps"])?;
            let used = declared(&metadata);
            (metadata, used)
        }
    };
    let mut dirs = vec![target.manifest_dir.clone()];
    dirs.extend(used.into_iter().filter(|dir| *dir != target.manifest_dir));
    let members = metadata.workspace_packages().into_iter().map(manifest_dir);
    // A member that contains a used directory is not ignored.
    let unused = members.filter(|member| !dirs.iter().any(|dir| dir.starts_with(member)));
    let outputs = [Some(&target.target_dir), target.build_dir.as_ref()];
    let outputs: BTreeSet<PathBuf> = outputs.into_iter().flatten().cloned().collect();
    Ok(WatchRoots {
        ignored: outputs.into_iter().chain(unused).collect(),
        files: files(run, target),
        dirs,
    })
}

/// The directories of the local packages in the resolved dependency graph, which reflects `[patch]`, features, and
/// local dependencies of registry packages. Dev-dependencies are left out, unless the target is an example.
fn resolved(metadata: &Metadata, target: &CargoTarget, is_example: bool) -> BTreeSet<PathBuf> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let nodes: Vec<&Node> = nodes.collect();
    let mut queue = vec![&*target.package_id];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.iter().filter(|node| node.id.repr == id);
        let needed = node.flat_map(|node| &node.deps).filter(|dependency| {
            let kinds = &dependency.dep_kinds;
            let is_dev = |kind: DependencyKind| kind == DependencyKind::Development;
            is_example && id == target.package_id
                || kinds.is_empty()
                || kinds.iter().any(|kind| !is_dev(kind.kind))
        });
        queue.extend(needed.map(|dependency| &*dependency.pkg.repr));
    }
    let packages = metadata.packages.iter();
    packages
        .filter(|package| package.source.is_none() && seen.contains(&*package.id.repr))
        .map(manifest_dir)
        .collect()
}

/// The workspace members and the path dependencies that they declare, for use when the graph can't be resolved.
fn declared(metadata: &Metadata) -> BTreeSet<PathBuf> {
    let members = metadata.packages.iter();
    let declared = members.clone().flat_map(|package| &package.dependencies);
    let paths = declared.filter_map(|dependency| dependency.path.clone());
    members
        .map(manifest_dir)
        .chain(paths.map(PathBuf::from))
        .collect()
}

/// Cargo's own files outside the packages. Files in the working directory and in the workspace root are listed even if
/// they do not exist, files in other parent directories only if they exist.
pub(super) fn files(run: &CargoRun, target: &CargoTarget) -> Vec<PathBuf> {
    // Cargo still accepts names without `.toml`, but no tool creates such files anymore.
    let is_old_name = |file: &Path| file.extension().is_none();
    let root = &target.workspace_root;
    let mut files = BTreeSet::from([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    let directory = run.directory();
    for place in directory.ancestors() {
        let is_near = place == directory || place == root;
        let named = CONFIGURATION.iter().map(|name| place.join(name));
        files.extend(named.filter(|file| is_near && !is_old_name(file) || file.exists()));
    }
    files.into_iter().collect()
}

/// Whether a change to this file requires a new plan.
pub(super) fn configures_cargo(path: &Path) -> bool {
    CONFIGURATION.iter().any(|name| path.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_configure_cargo_are_recognized() {
        for (path, expected) in [
            ("/w/.cargo/config.toml", true),
            ("/w/.cargo/config", true),
            ("/w/rust-toolchain", true),
            ("/w/rust-toolchain.toml", true),
            ("/w/config.toml", false),
            ("/w/src/main.rs", false),
            ("/", false),
        ] {
            assert_eq!(configures_cargo(Path::new(path)), expected, "{path}");
        }
    }
}
