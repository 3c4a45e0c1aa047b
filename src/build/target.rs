use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

use super::{BuildError, CargoPlan, CargoRun};

/// The program that `cargo run` would start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The name of the package.
    pub package: String,
    /// The name of the binary or the example.
    pub name: String,
    /// The directory of the package.
    pub manifest_dir: PathBuf,
    /// The directory of the workspace.
    pub workspace_root: PathBuf,
    /// The target directory.
    pub target_dir: PathBuf,
    /// The directory for intermediate files, if cargo reports one.
    pub build_dir: Option<PathBuf>,
    /// The package ID.
    pub(super) id: String,
}

/// Finds the target. Fails only if cargo would fail too; if the rules of cargo are uncertain, it is left to cargo.
pub(super) fn find(plan: &CargoPlan) -> Result<Target, BuildError> {
    let directory = plan.directory();
    let manifest_path = plan.run.run_options.manifest_path.as_deref();
    match manifest_path {
        Some(path) if !directory.join(path).is_file() => {
            return Err(BuildError::NoManifest {
                place: directory.join(path),
            });
        }
        None if !has_manifest(&directory) => {
            return Err(BuildError::NoManifest { place: directory });
        }
        Some(_) | None => {}
    }
    let metadata = metadata(plan, manifest_path, &["--no-deps"])?;
    let (package, name) = choose(&plan.run, &metadata)?;
    Ok(Target {
        package: package.name.to_string(),
        name,
        manifest_dir: manifest_dir(package),
        workspace_root: metadata.workspace_root.clone().into(),
        target_dir: metadata.target_directory.clone().into(),
        build_dir: metadata.build_directory.clone().map(PathBuf::from),
        id: package.id.repr.clone(),
    })
}

/// Runs `cargo metadata` for the same toolchain and features.
pub(super) fn metadata(
    plan: &CargoPlan,
    manifest: Option<&Path>,
    options: &[&str],
) -> Result<Metadata, BuildError> {
    let mut command = MetadataCommand::new();
    command
        .cargo_path(&plan.run.cargo)
        .current_dir(plan.directory());
    if let Some(manifest) = manifest {
        command.manifest_path(manifest);
    }
    let options = options.iter().map(|option| (*option).to_owned());
    command.other_options(
        options
            .chain(plan.run.run_options.resolution.iter().cloned())
            .collect::<Vec<_>>(),
    );
    if let Some(toolchain) = plan
        .run
        .toolchain
        .as_ref()
        .and_then(|toolchain| toolchain.to_str())
    {
        command.env("RUSTUP_TOOLCHAIN", toolchain.trim_start_matches('+'));
    }
    command.exec().map_err(|error| broken(&error))
}

fn broken(error: &cargo_metadata::Error) -> BuildError {
    let message = if let cargo_metadata::Error::CargoMetadata { stderr } = error {
        stderr.trim().trim_start_matches("error: ").to_owned()
    } else {
        error.to_string()
    };
    BuildError::BrokenManifest { message }
}

/// Whether cargo would find a package in this directory.
fn has_manifest(directory: &Path) -> bool {
    let mut ancestors = directory.ancestors();
    ancestors.any(|directory| directory.join("Cargo.toml").is_file())
}

pub(super) fn manifest_dir(package: &Package) -> PathBuf {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The package and the name of the target, according to the rules of `cargo run`
/// (`src/cargo/ops/cargo_run.rs` and `src/bin/cargo/commands/run.rs` in the sources of cargo).
fn choose<'a>(run: &CargoRun, metadata: &'a Metadata) -> Result<(&'a Package, String), BuildError> {
    let packages = packages(run, metadata)?;
    for (flag, names, kind) in [
        ("--bin", &run.run_options.bins, TargetKind::Bin),
        ("--example", &run.run_options.examples, TargetKind::Example),
    ] {
        if let Some(name) = names.first() {
            return named(&packages, flag, name, &kind);
        }
    }
    let defaults: Vec<_> = packages
        .iter()
        .filter(|package| package.default_run.is_some())
        .collect();
    if let [package] = defaults[..] {
        return Ok((package, package.default_run.clone().unwrap_or_default()));
    }
    only_binary(&packages)
}

fn packages<'a>(run: &CargoRun, metadata: &'a Metadata) -> Result<Vec<&'a Package>, BuildError> {
    let members = metadata.workspace_packages();
    let Some(spec) = run.run_options.packages.first() else {
        // Cargo reports the default members since 1.71.
        return Ok(if metadata.workspace_default_members.is_available() {
            metadata.workspace_default_packages()
        } else {
            members
        });
    };
    let name = spec.split(['@', ':']).next().unwrap_or_default();
    let is_name = name
        .chars()
        .all(|character| character.is_alphanumeric() || "-_".contains(character));
    let found: Vec<_> = members
        .iter()
        .filter(|package| package.name.as_str() == name)
        .copied()
        .collect();
    // If the name is a URL or a pattern, it is left to cargo.
    match (found.is_empty(), is_name) {
        (false, _) => Ok(found),
        (true, false) => Ok(members),
        (true, true) => Err(BuildError::UnknownPackage {
            name: spec.clone(),
            known: names(&members),
        }),
    }
}

fn named<'a>(
    packages: &[&'a Package],
    flag: &'static str,
    name: &str,
    kind: &TargetKind,
) -> Result<(&'a Package, String), BuildError> {
    let mut known = Vec::new();
    for package in packages {
        for target in targets(package, kind) {
            if target == name {
                return Ok((package, target));
            }
            known.push(target);
        }
    }
    Err(BuildError::UnknownTarget {
        flag,
        name: name.to_owned(),
        known,
    })
}

fn only_binary<'a>(packages: &[&'a Package]) -> Result<(&'a Package, String), BuildError> {
    let mut found = Vec::new();
    for package in packages {
        found.extend(
            targets(package, &TargetKind::Bin)
                .into_iter()
                .map(|name| (*package, name)),
        );
    }
    match found.len() {
        0 => Err(BuildError::NoBinary {
            packages: names(packages),
            examples: packages
                .iter()
                .flat_map(|package| targets(package, &TargetKind::Example))
                .collect(),
        }),
        1 => Ok(found.remove(0)),
        _ => Err(BuildError::SeveralBinaries {
            known: found.into_iter().map(|(_, name)| name).collect(),
        }),
    }
}

fn targets(package: &Package, kind: &TargetKind) -> Vec<String> {
    let matching = package
        .targets
        .iter()
        .filter(|target| target.kind.contains(kind));
    matching.map(|target| target.name.clone()).collect()
}

fn names(packages: &[&Package]) -> Vec<String> {
    packages
        .iter()
        .map(|package| package.name.to_string())
        .collect()
}
