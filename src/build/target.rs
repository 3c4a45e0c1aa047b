use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, Package};

use super::choose::choose;
use super::command_line::CargoRun;
use super::config::{CargoConfig, resolved_path};
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
    /// The manifest of the package. With `-Zscript`, the script.
    pub(super) manifest: PathBuf,
    /// The directory of the package.
    pub(super) manifest_dir: PathBuf,
    /// The manifests of all workspace members.
    pub(super) manifests: Vec<PathBuf>,
    pub(super) workspace_root: PathBuf,
    /// The directories into which cargo writes: the target directory, and the one for intermediate files.
    pub(super) outputs: BTreeSet<PathBuf>,
    pub(super) package_id: String,
    /// Whether all this is a guess because cargo could not read the package. If so, there is no package ID.
    pub(super) is_guess: bool,
}

impl CargoTarget {
    /// Whether a file is cargo's output.
    pub(super) fn is_output(&self, path: &Path) -> bool {
        self.outputs.iter().any(|dir| path.starts_with(dir))
    }
}

/// Finds the target. Fails only if cargo would fail, too. Where cargo's rules are uncertain, leaves the decision to
/// cargo. If there is a manifest that cargo can't read, returns a guess, and the build fails with cargo's message.
pub(super) fn find(run: &CargoRun) -> Result<CargoTarget, Failure> {
    let metadata = match metadata(run, run.manifest_path.as_deref(), &["--no-deps"]) {
        Ok(metadata) => metadata,
        Err(error) => return guess(run).ok_or(error),
    };
    let package = choose(run, &metadata)?;
    let members = metadata.workspace_packages().into_iter();
    let outputs = [
        Some(&metadata.target_directory),
        metadata.build_directory.as_ref(),
    ];
    Ok(CargoTarget {
        manifest: package.manifest_path.clone().into(),
        manifest_dir: manifest_dir(package),
        manifests: members
            .map(|package| package.manifest_path.clone().into())
            .collect(),
        is_guess: false,
        workspace_root: metadata.workspace_root.clone().into(),
        outputs: outputs.into_iter().flatten().map(PathBuf::from).collect(),
        package_id: package.id.repr.clone(),
    })
}

/// The target, assuming that the nearest manifest is the package's. `None` if there is no manifest.
fn guess(run: &CargoRun) -> Option<CargoTarget> {
    let directory = &run.directory;
    let manifest = match &run.manifest_path {
        Some(path) => directory.join(path),
        None => {
            let mut places = directory.ancestors().map(|place| place.join("Cargo.toml"));
            places.find(|path| path.is_file())?
        }
    };
    // Fails if the file does not exist.
    let manifest = manifest.canonicalize().ok()?;
    let root = manifest.parent()?;
    let from_environment = || std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target_dir = run.target_dir.clone().or_else(from_environment);
    let target_dir = target_dir.map(|dir| directory.join(dir));
    Some(CargoTarget {
        manifest_dir: root.to_owned(),
        workspace_root: root.to_owned(),
        outputs: [target_dir.unwrap_or_else(|| root.join("target"))].into(),
        is_guess: true,
        manifest,
        ..CargoTarget::default()
    })
}

/// Runs `cargo metadata` with the same toolchain and features.
pub(super) fn metadata(
    run: &CargoRun,
    manifest: Option<&Path>,
    options: &[&str],
) -> Result<Metadata, Failure> {
    let mut command = MetadataCommand::new();
    command.cargo_path(&run.cargo).current_dir(&run.directory);
    if let Some(manifest) = manifest {
        command.manifest_path(manifest);
    }
    let options = options.iter().map(|option| (*option).to_owned());
    let config = run.config.iter();
    let config = config.flat_map(|value| ["--config".to_owned(), value.clone()]);
    let options = options.chain(config).chain(run.resolution.iter().cloned());
    let options: Vec<_> = options.collect();
    // `cargo metadata` has no `--target-dir`. The variable overrides the configuration, too.
    if let Some(dir) = &run.target_dir {
        command.env("CARGO_TARGET_DIR", run.directory.join(dir));
    }
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
    /// Further files and directories to watch while the build is broken.
    pub to_mend: Vec<PathBuf>,
}

/// What to watch by default: the package, its local dependencies, and cargo's own files.
pub(super) fn watch_roots(
    run: &CargoRun,
    config: &CargoConfig,
    target: &CargoTarget,
) -> Result<WatchRoots, Failure> {
    let files = cargo_files(run, config, target).into_iter().collect();
    if target.is_guess {
        return Ok(WatchRoots {
            dirs: vec![target.manifest_dir.clone()],
            ignored: target.outputs.iter().cloned().collect(),
            files,
            ..WatchRoots::default()
        });
    }
    let manifest = &target.manifest;
    let is_offline = run.resolution.iter().any(|option| option == "--offline");
    // Reading local packages needs no network, so don't wait for it.
    let options: &[&str] = if is_offline { &[] } else { &["--offline"] };
    let found = metadata(run, Some(manifest), options);
    let found = found.or_else(|_| metadata(run, Some(manifest), &["--no-deps"]))?;
    let used = match found.resolve {
        Some(_) => resolved(&found, target, run.example.is_some()),
        None => declared(&found),
    };
    let mut dirs = vec![target.manifest_dir.clone()];
    dirs.extend(used.into_iter().filter(|dir| *dir != target.manifest_dir));
    let members = found.workspace_packages().into_iter().map(manifest_dir);
    // A member that contains a used directory is not ignored.
    let unused = members.filter(|member| !dirs.iter().any(|dir| dir.starts_with(member)));
    Ok(WatchRoots {
        ignored: target.outputs.iter().cloned().chain(unused).collect(),
        files,
        dirs,
        ..WatchRoots::default()
    })
}

/// The directories of the local packages in the resolved dependency graph, which reflects `[patch]`, features, and
/// local dependencies of registry packages. Dev-dependencies are left out, unless the target is an example.
fn resolved(metadata: &Metadata, target: &CargoTarget, is_example: bool) -> BTreeSet<PathBuf> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let nodes: BTreeMap<&str, &Node> = nodes.map(|node| (&*node.id.repr, node)).collect();
    let mut queue = vec![&*target.package_id];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let needed = dependencies.filter(|dependency| {
            let mut kinds = dependency.dep_kinds.iter();
            let with_dev = is_example && id == target.package_id;
            with_dev || kinds.any(|kind| kind.kind != DependencyKind::Development)
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
pub(super) fn cargo_files(
    run: &CargoRun,
    config: &CargoConfig,
    target: &CargoTarget,
) -> BTreeSet<PathBuf> {
    // Cargo still accepts names without `.toml`, but no tool creates such files anymore.
    let is_old_name = |file: &Path| file.extension().is_none();
    let root = &target.workspace_root;
    let mut files = BTreeSet::from([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    let directory = &run.directory;
    files.extend(config.files.iter().cloned());
    for place in directory.ancestors() {
        let is_near = place == directory || place == root;
        let named = CONFIGURATION.iter().map(|name| place.join(name));
        files.extend(named.filter(|file| is_near && !is_old_name(file) || file.exists()));
    }
    files
}

/// What else to watch after a failed build: the manifests of all members, and the files that the build's output names.
pub(super) fn to_mend(
    run: &CargoRun,
    target: &CargoTarget,
    named: &BTreeSet<PathBuf>,
) -> Vec<PathBuf> {
    // Rustc names files relative to the workspace, cargo also relative to its working directory.
    let bases = [&run.directory, &target.workspace_root, &target.manifest_dir];
    let named = named
        .iter()
        .flat_map(|path| bases.map(|base| resolved_path(&base.join(path))));
    let is_in_workspace = |dir: &Path| dir.starts_with(&target.workspace_root);
    let mut found: BTreeSet<PathBuf> = target.manifests.iter().cloned().collect();
    for path in named.filter(|path| !target.is_output(path)) {
        // A member without its sources is broken, too.
        let member = path.parent().filter(|_| path.ends_with("Cargo.toml"));
        let member = member.filter(|dir| dir.is_dir() && dir.parent().is_some_and(is_in_workspace));
        found.extend(member.map(Path::to_owned));
        // Do not watch the contents of a directory, which may be large.
        found.insert(match path.is_dir() {
            true => path.join("Cargo.toml"),
            false => path,
        });
    }
    found.into_iter().collect()
}

/// Whether a change to this file requires a new plan.
pub(super) fn configures_cargo(path: &Path) -> bool {
    CONFIGURATION.iter().any(|name| path.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_and_every_input_that_a_failed_build_names_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("ws/new")).unwrap();
        let command = ["cargo", "run"].map(Into::into);
        let run = CargoRun::parse(&command, &root.join("ws/app"), |_, _| None).unwrap();
        let target = CargoTarget {
            workspace_root: root.join("ws"),
            manifest_dir: root.join("ws/app"),
            manifests: vec![root.join("ws/used/Cargo.toml")],
            outputs: [root.join("ws/target")].into(),
            ..CargoTarget::default()
        };
        let named = [
            "app/src/../../../dist/x.html",
            "/etc",
            "ws/target/out.rs",
            "../new/Cargo.toml",
        ];
        let found = to_mend(&run, &target, &named.map(PathBuf::from).into());
        for (path, expected) in [
            ("ws/used/Cargo.toml", true),
            ("dist/x.html", true),
            ("/etc/Cargo.toml", true),
            ("/etc", false),
            ("ws/new/Cargo.toml", true),
            ("ws/new", true),
            ("ws/target/out.rs", false),
        ] {
            assert_eq!(
                found.contains(&root.join(path)),
                expected,
                "{path}: {found:?}"
            );
        }
    }

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
