use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, Package, TargetKind};

use super::command_line::CargoRun;
use crate::error::Failure;

/// The files that configure cargo or select the toolchain.
const CONFIGURATION: [&str; 4] = [
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];

/// The package whose program `cargo run` would start, and its build directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CargoTarget {
    /// The directory of the package.
    pub(super) manifest_dir: PathBuf,
    pub(super) workspace_root: PathBuf,
    pub(super) target_dir: PathBuf,
    /// The directory for intermediate files, if cargo reports one.
    pub(super) build_dir: Option<PathBuf>,
    pub(super) package_id: String,
}

/// Finds the target. Fails only if cargo would fail, too. Where cargo's rules are uncertain, leaves the decision to
/// cargo.
pub(super) fn find(run: &CargoRun) -> Result<CargoTarget, Failure> {
    let metadata = metadata(run, run.manifest_path.as_deref(), &["--no-deps"])?;
    let package = choose(run, &metadata)?;
    Ok(CargoTarget {
        manifest_dir: manifest_dir(package),
        workspace_root: metadata.workspace_root.clone().into(),
        target_dir: metadata.target_directory.clone().into(),
        build_dir: metadata.build_directory.clone().map(PathBuf::from),
        package_id: package.id.repr.clone(),
    })
}

/// Runs `cargo metadata` with the same toolchain and features.
pub(super) fn metadata(
    run: &CargoRun,
    manifest: Option<&Path>,
    options: &[&str],
) -> Result<Metadata, Failure> {
    let mut command = MetadataCommand::new();
    command.cargo_path(&run.cargo).current_dir(run.directory());
    if let Some(manifest) = manifest {
        command.manifest_path(manifest);
    }
    let options = options.iter().map(|option| (*option).to_owned());
    let options: Vec<_> = options.chain(run.resolution.iter().cloned()).collect();
    command.other_options(options);
    if let Some(toolchain) = run.toolchain.as_ref().and_then(|name| name.to_str()) {
        command.env("RUSTUP_TOOLCHAIN", toolchain.trim_start_matches('+'));
    }
    command.exec().map_err(|error| {
        let message = if let cargo_metadata::Error::CargoMetadata { stderr } = &error {
            stderr.trim().trim_start_matches("error: ").to_owned()
        } else {
            error.to_string()
        };
        Failure::environment(format!("cargo cannot read the package: {message}"))
            .hint("run `cargo metadata` to see the same error")
    })
}

pub(super) fn manifest_dir(package: &Package) -> PathBuf {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The program's package, according to the rules of `cargo run` (`src/cargo/ops/cargo_run.rs` and
/// `src/bin/cargo/commands/run.rs` in cargo's sources).
fn choose<'a>(run: &CargoRun, metadata: &'a Metadata) -> Result<&'a Package, Failure> {
    let packages = packages(run, metadata)?;
    for (flag, name, kind, noun) in [
        ("--bin", &run.bin, TargetKind::Bin, "binary"),
        ("--example", &run.example, TargetKind::Example, "example"),
    ] {
        if let Some(name) = name {
            let has_it = |package: &&&Package| targets(package, &kind).any(|target| target == name);
            return packages.iter().find(has_it).copied().ok_or_else(|| {
                let known = packages.iter().flat_map(|package| targets(package, &kind));
                Failure::usage(format!("no {noun} named `{name}`")).hints(available(flag, known))
            });
        }
    }
    let mut defaults = packages
        .iter()
        .filter(|package| package.default_run.is_some());
    match (defaults.next(), defaults.next()) {
        (Some(package), None) => Ok(package),
        (Some(_) | None, _) => only_binary(&packages),
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
    let name = spec.split(['@', ':']).next().unwrap_or_default();
    let named = |package: &&Package| package.name.as_str() == name;
    let found: Vec<_> = members.iter().copied().filter(named).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let in_name = |character: char| character.is_alphanumeric() || "-_".contains(character);
    if name.chars().all(in_name) {
        let known = members.iter().map(|package| package.name.as_str());
        return Err(
            Failure::usage(format!("no package `{spec}` in the workspace"))
                .hints(available("-p", known)),
        );
    }
    // A URL or a pattern is left to cargo.
    Ok(members)
}

fn only_binary<'a>(packages: &[&'a Package]) -> Result<&'a Package, Failure> {
    let all = |kind: TargetKind| {
        let packages = packages.iter().copied();
        packages.flat_map(move |package| {
            targets(package, &kind)
                .map(|name| (package, name))
                .collect::<Vec<_>>()
        })
    };
    let binaries: Vec<_> = all(TargetKind::Bin).collect();
    match binaries[..] {
        [(package, _)] => Ok(package),
        [] => {
            let names = quoted(packages.iter().map(|package| package.name.as_str()));
            let examples = all(TargetKind::Example).map(|(_, name)| name);
            let hint = available("--example", examples).unwrap_or_else(|| {
                "add a `src/main.rs`, or choose another package with `-p`".to_owned()
            });
            Err(Failure::usage(format!("no binary in {names}")).hint(hint))
        }
        [_, ..] => {
            let count = binaries.len();
            let names = quoted(binaries.into_iter().map(|(_, name)| name));
            let text = format!("{count} binaries; choose one with `-p` or `--bin`");
            Err(Failure::usage(text).hint(format!(
                "use `hotrun -- cargo run --bin NAME` ({names}), or set `default-run` in `Cargo.toml`"
            )))
        }
    }
}

fn targets<'a>(package: &'a Package, kind: &TargetKind) -> impl Iterator<Item = &'a str> {
    let matching = move |target: &&cargo_metadata::Target| target.kind.contains(kind);
    let targets = package.targets.iter().filter(matching);
    targets.map(|target| target.name.as_str())
}

fn available<'a>(flag: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let known: Vec<_> = known.collect();
    match known[..] {
        [] => None,
        [only] => Some(format!("there is only one: `{flag} {only}`")),
        [_, ..] => Some(format!("available: {}", quoted(known.into_iter()))),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// What to watch by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRoots {
    /// Directories, each with its subdirectories.
    pub dirs: Vec<PathBuf>,
    /// Files. They need not exist, because creating one is a change.
    pub files: Vec<PathBuf>,
    /// Directories to ignore: the target directory, the directory for intermediate files, and workspace members that
    /// the program does not depend on.
    pub ignored: Vec<PathBuf>,
}

/// What to watch by default: the package, its local dependencies, and cargo's own files.
pub(super) fn watch_roots(run: &CargoRun, target: &CargoTarget) -> Result<WatchRoots, Failure> {
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
        files: cargo_files(run, target),
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
pub(super) fn cargo_files(run: &CargoRun, target: &CargoTarget) -> Vec<PathBuf> {
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
