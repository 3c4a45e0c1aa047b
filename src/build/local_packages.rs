use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cargo_message::MessagePackage;

/// The local packages that a build consists of, and their build scripts.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalPackages {
    /// The directory of each package, by package ID.
    dirs: BTreeMap<String, PathBuf>,
    /// The output directory of each build script, by package ID.
    out_dirs: BTreeMap<String, PathBuf>,
    /// Shared libraries that the packages produced.
    pub(super) libraries: Vec<PathBuf>,
}

impl LocalPackages {
    /// Adds a package that cargo has reported if it is local, and returns whether it is.
    pub(super) fn add(&mut self, of: MessagePackage) -> bool {
        let directory = of
            .manifest_path
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        let is_local = is_local(&of.package_id);
        if let Some(directory) = directory.filter(|_| is_local) {
            self.dirs.insert(of.package_id, directory);
        }
        is_local
    }

    /// Adds a build script that ran in this build or in an earlier one.
    pub(super) fn add_script(&mut self, of: MessagePackage, out_dir: Option<PathBuf>) {
        if let Some(out_dir) = out_dir.filter(|_| is_local(&of.package_id)) {
            self.out_dirs.insert(of.package_id, out_dir);
        }
    }

    /// The directories of the packages.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.values()
    }

    /// The output directories of their build scripts.
    pub(super) fn out_dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.out_dirs.values()
    }

    /// The directories of packages whose build script does not declare its inputs. Cargo runs such a script again after
    /// any change in the package.
    pub(super) fn dirs_with_undeclared_inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.out_dirs
            .iter()
            .filter(|(_, out_dir)| !declares_inputs(out_dir))
            .filter_map(|(package, _)| self.dirs.get(package))
    }
}

/// `path+file:///p#0.1.0`; `name 0.1.0 (path+file:///p)` before cargo 1.77.
fn is_local(package_id: &str) -> bool {
    package_id.starts_with("path+file://") || package_id.contains("(path+file://")
}

/// Whether a build script printed `rerun-if-…`. Cargo keeps the output of the script beside its `out` directory
/// (`compiler/custom_build.rs` in the sources of cargo). `false` if the output can't be read.
fn declares_inputs(out_dir: &Path) -> bool {
    let printed = ["output", "stdout"].map(|name| out_dir.with_file_name(name));
    let text = printed.iter().find_map(|path| fs::read(path).ok());
    text.is_some_and(|text| {
        let text = String::from_utf8_lossy(&text);
        text.lines().any(|line| {
            let key = line.strip_prefix("cargo:").unwrap_or_default();
            key.trim_start_matches(':').starts_with("rerun-if-")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(package_id: &str, manifest: Option<&str>) -> MessagePackage {
        MessagePackage {
            package_id: package_id.to_owned(),
            manifest_path: manifest.map(PathBuf::from),
        }
    }

    #[test]
    fn local_packages_are_identified_by_their_id() {
        let mut packages = LocalPackages::default();
        packages.add(of(
            "path+file:///w/a%20b#x@0.1.0",
            Some("/w/a b/Cargo.toml"),
        ));
        packages.add(of(
            "old 0.1.0 (path+file:///w/old)",
            Some("/w/old/Cargo.toml"),
        ));
        let registry = "registry+https://github.com/rust-lang/crates.io-index#libc@0.2.0";
        packages.add(of(registry, Some("/r/libc/Cargo.toml")));
        packages.add(of("git+https://x/y#z@1.0.0", Some("/g/z/Cargo.toml")));
        let found: Vec<_> = packages.dirs().collect();
        assert_eq!(found, [Path::new("/w/old"), Path::new("/w/a b")]);
    }

    #[test]
    fn a_script_without_declared_inputs_depends_on_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let mut packages = LocalPackages::default();
        for (name, printed) in [
            (
                "silent",
                Some("cargo:rustc-cfg=x\nhello cargo:rerun-if-changed=x\n"),
            ),
            ("declares", Some("x\ncargo:rerun-if-changed=data\n")),
            ("declares-env", Some("cargo::rerun-if-env-changed=X\n")),
            ("unknown", None),
        ] {
            let id = format!("path+file:///w/{name}#0.1.0");
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            if let Some(printed) = printed {
                fs::write(place.join("output"), printed).unwrap();
            }
            packages.add(of(&id, Some(&format!("/w/{name}/Cargo.toml"))));
            packages.add_script(of(&id, None), Some(place.join("out")));
        }
        let found: Vec<_> = packages.dirs_with_undeclared_inputs().collect();
        assert_eq!(found, [Path::new("/w/silent"), Path::new("/w/unknown")]);
    }
}
