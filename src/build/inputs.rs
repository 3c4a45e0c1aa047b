use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{BuildOutput, CargoPlan, roots};

/// The local files that a program was built from.
///
/// They come from the dep-info file that cargo writes beside the executable: the files that the compiler read for the
/// program and its local dependencies (`include_str!` and generated files too), and the `rerun-if-changed` files of
/// their build scripts ("Build Cache" and "Build Scripts" in the Cargo book).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInputs {
    /// All files. Those of cargo need not exist, because creating one is a change.
    pub files: BTreeSet<PathBuf>,
    /// The files of cargo among them, which are watched whatever `--exts` says.
    pub cargo_files: BTreeSet<PathBuf>,
    /// Directories whose whole content is an input.
    pub dirs: BTreeSet<PathBuf>,
    /// The directories of the local packages.
    pub packages: BTreeSet<PathBuf>,
}

/// The inputs of a build. `None` if cargo does not report them, so that any file may be one.
pub(super) fn of(plan: &CargoPlan, output: &BuildOutput, executable: &Path) -> Option<BuildInputs> {
    let target = plan.target.as_ref()?;
    let dep_info = fs::read(executable.with_extension("d")).ok()?;
    let mut inputs = BuildInputs {
        packages: output.packages().dirs().cloned().collect(),
        ..BuildInputs::default()
    };
    if !inputs.packages.contains(&target.manifest_dir) {
        // The output is about another package.
        return None;
    }
    let is_build_product = |path: &Path| {
        let dirs = [Some(&target.target_dir), target.build_dir.as_ref()];
        dirs.into_iter().flatten().any(|dir| path.starts_with(dir))
    };
    for path in dependencies(&dep_info) {
        // Paths are relative with `build.dep-info-basedir`.
        let path = target.workspace_root.join(path);
        if is_build_product(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => inputs.dirs.insert(path),
            Ok(_) | Err(_) => inputs.files.insert(path),
        };
    }
    inputs
        .dirs
        .extend(output.packages().dirs_with_undeclared_inputs().cloned());
    inputs.cargo_files.extend(roots::files(plan, target));
    for package in &inputs.packages {
        inputs
            .cargo_files
            .extend(["Cargo.toml", "build.rs"].map(|name| package.join(name)));
    }
    inputs.files.extend(inputs.cargo_files.iter().cloned());
    Some(inputs)
}

/// The dependencies in a dep-info file, which has the syntax of `make`. Cargo escapes spaces with a `\` and nothing
/// else (`render_filename` in `compiler/output_depinfo.rs` of its sources).
fn dependencies(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n');
    let lists = lines.filter_map(|line| {
        let colon = line.windows(2).position(|pair| pair == b": ")?;
        Some(&line[colon + 2..])
    });
    lists.flat_map(words).collect()
}

fn words(line: &[u8]) -> Vec<PathBuf> {
    let mut words = vec![Vec::new()];
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let word = words.last_mut();
        match byte {
            b'\\' if bytes.peek() == Some(&b' ') => {
                bytes.next();
                word.into_iter().for_each(|word| word.push(b' '));
            }
            b' ' => words.push(Vec::new()),
            byte => word.into_iter().for_each(|word| word.push(byte)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
        .into_iter()
        .map(|word| PathBuf::from(OsString::from_vec(word)))
        .collect()
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
    fn fuzz_dep_info() {
        let example = b"/t/my\\ app: /w/src/main.rs /w/li\\ b/lib.rs\n\n/w/src/main.rs:\n";
        crate::fuzz::fuzz("dep-info", &[example], &[": ", "\\ ", "\n", " "], |input| {
            let found = dependencies(input);
            let length = |path: &PathBuf| path.as_os_str().len();
            assert!(found.iter().map(length).sum::<usize>() <= input.len());
        });
    }
}
