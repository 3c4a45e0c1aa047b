use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cargo::CargoPlan;
use super::output::BuildOutput;
use super::target;

/// The local files that a program was built from.
///
/// The dep-info file that cargo writes beside the executable lists them: the files that the compiler read for the
/// program and its local dependencies (including `include_str!` and generated files), and the `rerun-if-changed` files
/// of their build scripts ("Build Cache" and "Build Scripts" in the Cargo book).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInputs {
    /// All files. Cargo's own files need not exist, because creating one is a change.
    pub files: BTreeSet<PathBuf>,
    /// The subset of `files` that cargo reads itself or that are build scripts. They are watched regardless of
    /// `--exts`.
    pub cargo_files: BTreeSet<PathBuf>,
    /// Directories whose entire contents are inputs.
    pub dirs: BTreeSet<PathBuf>,
    /// The directories of the local packages.
    pub packages: BTreeSet<PathBuf>,
    /// When the executable was linked. `None` if this build linked it, whatever the clock of its file system says.
    built: Option<SystemTime>,
}

impl BuildInputs {
    /// Returns those of the `changed` files that cargo has ignored because they are older than the executable: cargo
    /// compares modification times ("Fingerprint" in cargo's `core/compiler/fingerprint`). If the build has linked the
    /// executable, cargo has read all of them.
    pub fn ignored_for_age(&self, changed: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let Some(built) = self.built else {
            return Vec::new();
        };
        let is_input = |path: &Path| {
            self.files.contains(path) && !self.cargo_files.contains(path)
                || self.dirs.iter().any(|dir| path.starts_with(dir))
        };
        // A changed symbolic link leads to other files.
        let is_behind = |path: &Path| changed.iter().any(|link| path.starts_with(link));
        let links = self.files.iter().filter(|path| is_behind(path));
        let changed = changed.iter().chain(links).filter(|path| is_input(path));
        let older = changed.filter(|path| modified(path).is_some_and(|time| time < built));
        BTreeSet::from_iter(older).into_iter().cloned().collect()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

/// The inputs of a build.
///
/// # Errors
///
/// Cargo does not report the inputs; then any file may be one. If it reports one that does not exist, the error is its
/// path.
pub(super) fn of(
    plan: &CargoPlan,
    output: &BuildOutput,
    executable: &Path,
) -> Result<BuildInputs, Option<PathBuf>> {
    let target = &plan.target;
    let dep_info = fs::read(executable.with_extension("d")).map_err(|_| None)?;
    let packages: BTreeSet<PathBuf> = output.package_dirs.values().cloned().collect();
    if !packages.contains(&target.manifest_dir) {
        // The output is from a different package.
        return Err(None);
    }
    // With `build.dep-info-basedir`, paths below that directory are relative to it.
    let base = plan.config.dep_info_basedir.as_ref();
    let base = base.unwrap_or(&target.workspace_root);
    let paths = dependencies(&dep_info);
    let mut relative = paths.iter().filter(|path| path.is_relative());
    if let Some(missing) = relative.find(|path| !base.join(path).exists()) {
        return Err(Some(missing.clone()));
    }
    let (mut dirs, mut files): (BTreeSet<_>, BTreeSet<_>) = paths
        .into_iter()
        .flat_map(|path| whole(base.join(path)))
        .filter(|path| !target.is_output(path))
        .partition(|path| path.is_dir());
    // If a build script declares no inputs, cargo runs it again after any change in its package.
    let scripts = output.script_dirs.iter();
    let undeclared = scripts.filter(|(_, out_dir)| !declares_inputs(out_dir));
    dirs.extend(undeclared.filter_map(|(id, _)| output.package_dirs.get(id).cloned()));
    let mut cargo_files = target::cargo_files(&plan.run, &plan.config, target);
    cargo_files.insert(target.manifest.clone());
    for package in &packages {
        cargo_files.extend(["Cargo.toml", "build.rs"].map(|name| package.join(name)));
    }
    files.extend(cargo_files.iter().cloned());
    Ok(BuildInputs {
        files,
        cargo_files,
        dirs,
        packages,
        built: modified(executable).filter(|_| !output.linked),
    })
}

/// Whether a build script printed `rerun-if-…`. Cargo stores the script's output beside its `out` directory
/// (`compiler/custom_build.rs` in cargo's sources). `false` if the output can't be read.
fn declares_inputs(out_dir: &Path) -> bool {
    let printed = ["output", "stdout"].map(|name| out_dir.with_file_name(name));
    let text = printed.iter().find_map(|path| fs::read(path).ok());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let begins = ["cargo:rerun-if-", "cargo::rerun-if-"];
    text.lines()
        .any(|line| begins.iter().any(|begin| line.starts_with(begin)))
}

/// The path, with the files and directories that it may be the beginning of if nothing exists at the path itself. When
/// cargo reads the compiler's list of files, it splits names at whitespace other than spaces (`parse_rustc_dep_info` in
/// `core/compiler/fingerprint/dep_info.rs` in cargo's sources). So its own list contains only the beginning of a name
/// with a tab or a line break.
fn whole(path: PathBuf) -> Vec<PathBuf> {
    let beginning = path.file_name().filter(|_| !path.exists());
    let beginning = beginning
        .zip(path.parent())
        .map(|(name, dir)| (name.as_encoded_bytes(), dir));
    let entries = beginning.and_then(|(_, dir)| fs::read_dir(dir).ok());
    let continues = |name: &OsStr| {
        let rest = beginning.and_then(|(start, _)| name.as_encoded_bytes().strip_prefix(start));
        let next = rest.and_then(|rest| str::from_utf8(rest).ok()?.chars().next());
        next.is_some_and(|next| next.is_whitespace() && next != ' ')
    };
    let entries = entries.into_iter().flatten().flatten();
    let longer = entries.filter(|entry| continues(&entry.file_name()));
    let longer: Vec<_> = longer.map(|entry| entry.path()).collect();
    std::iter::once(path).chain(longer).collect()
}

/// The dependencies in a dep-info file, which uses the syntax of `make`. Cargo escapes only spaces, with a
/// `\` (`render_filename` in `compiler/output_depinfo.rs` in cargo's sources).
fn dependencies(text: &[u8]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.windows(2).position(|pair| pair == b": ") else {
            continue;
        };
        let mut path = Vec::new();
        for word in line[colon + 2..].split(|byte| *byte == b' ') {
            path.extend_from_slice(word);
            if path.last() == Some(&b'\\') {
                path.pop();
                path.push(b' ');
            } else if !path.is_empty() {
                paths.push(PathBuf::from(OsString::from_vec(std::mem::take(&mut path))));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_paths_may_contain_spaces() {
        let text =
            b"/t/my\\ app: /w/src/main.rs /w/li\\ b/lib.rs\n\n/t/other: /w/a\\b\n/w/src/main.rs:\n";
        let expected = ["/w/src/main.rs", "/w/li b/lib.rs", "/w/a\\b"];
        assert_eq!(dependencies(text), expected.map(PathBuf::from));
        assert!(dependencies(b"").is_empty());
    }

    #[test]
    fn a_name_that_cargo_cuts_at_a_tab_or_a_line_break_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let names = ["a\tb.rs", "c\nd.rs", "c e.rs", "cf.rs", "g", "g\th.rs"];
        for name in names {
            fs::write(path(name), "").unwrap();
        }
        for (cut, expected) in [
            ("a", vec!["a", "a\tb.rs"]),
            ("c", vec!["c", "c\nd.rs"]),
            ("g", vec!["g"]),
            ("missing", vec!["missing"]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(path).collect();
            assert_eq!(whole(path(cut)), expected, "{cut}");
        }
    }

    #[test]
    fn a_changed_link_stands_for_the_older_files_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("rel")).unwrap();
        fs::write(path("rel/a.rs"), "").unwrap();
        std::os::unix::fs::symlink("rel", path("current")).unwrap();
        let inputs = |built| BuildInputs {
            files: [path("current/a.rs"), path("b.rs")].into(),
            built: Some(built),
            ..BuildInputs::default()
        };
        let changed = [path("current")].into();
        let written = modified(&path("rel/a.rs")).unwrap();
        let later = written + std::time::Duration::from_secs(1);
        let ignored = inputs(later).ignored_for_age(&changed);
        assert_eq!(ignored, [path("current/a.rs")]);
        assert!(inputs(written).ignored_for_age(&changed).is_empty());
    }

    #[test]
    fn a_script_declares_inputs_only_with_a_rerun_instruction() {
        let dir = tempfile::tempdir().unwrap();
        let silent = "cargo:rustc-cfg=x\nhello cargo:rerun-if-changed=x\n";
        for (name, printed, expected) in [
            ("silent", Some(silent), false),
            ("old", Some("x\ncargo:rerun-if-changed=data\n"), true),
            ("new", Some("cargo::rerun-if-env-changed=X\n"), true),
            ("unknown", None, false),
        ] {
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            if let Some(printed) = printed {
                fs::write(place.join("output"), printed).unwrap();
            }
            assert_eq!(declares_inputs(&place.join("out")), expected, "{name}");
        }
    }

    #[test]
    fn fuzz_dep_info() {
        let example = b"/t/my\\ app: /w/src/main.rs /w/li\\ b/lib.rs\n\n/w/src/main.rs:\n";
        crate::fuzz::fuzz("dep-info", &[example], &[": ", "\\ ", "\n", " "], |input| {
            let found = dependencies(input);
            let length = |path: &PathBuf| path.as_os_str().len();
            assert!(found.iter().map(length).sum::<usize>() <= input.len());
        });
    }
}
