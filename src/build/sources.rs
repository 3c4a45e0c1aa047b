use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::message::MessagePackage;

/// Which local packages a build was about, and which build scripts ran for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// By cargo's name for the package, its directory.
    packages: BTreeMap<String, PathBuf>,
    /// By the same name, where the build script had to write.
    scripts: BTreeMap<String, PathBuf>,
    /// Shared libraries of theirs.
    pub(super) libraries: Vec<PathBuf>,
}

impl Sources {
    /// Cargo said something of a package, fresh or not. Whether it is a local one.
    pub(super) fn mention(&mut self, of: MessagePackage) -> bool {
        let directory = of
            .manifest_path
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        let is_local = is_local(&of.package_id);
        if let Some(directory) = directory.filter(|_| is_local) {
            self.packages.insert(of.package_id, directory);
        }
        is_local
    }

    /// A build script ran, now or in an earlier build.
    pub(super) fn script(&mut self, of: MessagePackage, out_dir: Option<PathBuf>) {
        if let Some(out_dir) = out_dir.filter(|_| is_local(&of.package_id)) {
            self.scripts.insert(of.package_id, out_dir);
        }
    }

    /// The directories of the local packages.
    pub(super) fn packages(&self) -> impl Iterator<Item = &PathBuf> {
        self.packages.values()
    }

    /// Where their build scripts had to write.
    pub(super) fn generated(&self) -> impl Iterator<Item = &PathBuf> {
        self.scripts.values()
    }

    /// Those of them whose build script did not say on what it depends: cargo then runs it again after any
    /// change in the package.
    pub(super) fn depending_on_all(&self) -> impl Iterator<Item = &PathBuf> {
        self.scripts
            .iter()
            .filter(|(_, out_dir)| !names_dependencies(out_dir))
            .filter_map(|(package, _)| self.packages.get(package))
    }
}

/// `path+file:///p#0.1.0`; `name 0.1.0 (path+file:///p)` before cargo 1.77.
fn is_local(package_id: &str) -> bool {
    package_id.starts_with("path+file://") || package_id.contains("(path+file://")
}

/// Cargo keeps what a build script prints beside its `out` directory (`compiler/custom_build.rs` in its sources).
/// Where that cannot be read, the answer is that of the greater caution.
fn names_dependencies(out_dir: &Path) -> bool {
    let printed = ["output", "stdout"].map(|name| out_dir.with_file_name(name));
    let text = printed.iter().find_map(|path| fs::read(path).ok());
    text.is_some_and(|text| {
        let text = String::from_utf8_lossy(&text);
        text.lines().any(|line| {
            let said = line.strip_prefix("cargo:").unwrap_or_default();
            said.trim_start_matches(':').starts_with("rerun-if-")
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
    fn local_packages_are_known_by_their_id() {
        let mut sources = Sources::default();
        sources.mention(of(
            "path+file:///w/a%20b#x@0.1.0",
            Some("/w/a b/Cargo.toml"),
        ));
        sources.mention(of(
            "old 0.1.0 (path+file:///w/old)",
            Some("/w/old/Cargo.toml"),
        ));
        let registry = "registry+https://github.com/rust-lang/crates.io-index#libc@0.2.0";
        sources.mention(of(registry, Some("/r/libc/Cargo.toml")));
        sources.mention(of("git+https://x/y#z@1.0.0", Some("/g/z/Cargo.toml")));
        let found: Vec<_> = sources.packages().collect();
        assert_eq!(found, [Path::new("/w/old"), Path::new("/w/a b")]);
    }

    #[test]
    fn a_script_that_names_nothing_depends_on_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        for (name, printed) in [
            (
                "silent",
                Some("cargo:rustc-cfg=x\nhello cargo:rerun-if-changed=x\n"),
            ),
            ("says", Some("x\ncargo:rerun-if-changed=data\n")),
            ("says-anew", Some("cargo::rerun-if-env-changed=X\n")),
            ("unknown", None),
        ] {
            let id = format!("path+file:///w/{name}#0.1.0");
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            if let Some(printed) = printed {
                fs::write(place.join("output"), printed).unwrap();
            }
            sources.mention(of(&id, Some(&format!("/w/{name}/Cargo.toml"))));
            sources.script(of(&id, None), Some(place.join("out")));
        }
        let found: Vec<_> = sources.depending_on_all().collect();
        assert_eq!(found, [Path::new("/w/silent"), Path::new("/w/unknown")]);
    }
}
