use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{CargoPlan, Messages, roots};

/// What a program was built from, as far as it is local and can change.
///
/// The exact inputs are those of the dep-info that cargo writes beside the executable: what the compiler read for
/// it and for each local package that it depends on (`include_str!` and generated files as well), and what their
/// build scripts name by `rerun-if-changed` ("Build Cache" and "Build Scripts" in the Cargo book).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Single files. Those of cargo are named whether they exist or not: one that appears is a change.
    pub files: BTreeSet<PathBuf>,
    /// Those of them that are cargo's own, and count whatever the user says of extensions.
    pub cargos: BTreeSet<PathBuf>,
    /// Directories in which everything counts.
    pub dirs: BTreeSet<PathBuf>,
    /// The directories of the local packages.
    pub packages: BTreeSet<PathBuf>,
}

/// What the build was made from; `None` where cargo does not say, and everything has to count.
pub(super) fn of(plan: &CargoPlan, messages: &Messages, executable: &Path) -> Option<Inputs> {
    let target = plan.target.as_ref()?;
    let said = fs::read(executable.with_extension("d")).ok()?;
    let mut inputs = Inputs {
        packages: messages.sources().packages().cloned().collect(),
        ..Inputs::default()
    };
    if !inputs.packages.contains(&target.manifest_dir) {
        // The messages are not about what is to be started.
        return None;
    }
    let built = |path: &Path| {
        let dirs = [Some(&target.target_dir), target.build_dir.as_ref()];
        dirs.into_iter().flatten().any(|dir| path.starts_with(dir))
    };
    for path in dependencies(&said) {
        // `build.dep-info-basedir` makes them relative to something.
        let path = target.workspace_root.join(path);
        if built(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => inputs.dirs.insert(path),
            Ok(_) | Err(_) => inputs.files.insert(path),
        };
    }
    inputs
        .dirs
        .extend(messages.sources().depending_on_all().cloned());
    inputs.cargos.extend(roots::files(plan, target));
    for package in &inputs.packages {
        inputs
            .cargos
            .extend(["Cargo.toml", "build.rs"].map(|name| package.join(name)));
    }
    inputs.files.extend(inputs.cargos.iter().cloned());
    Some(inputs)
}

/// What stands behind the colons of a file for `make`. Cargo escapes blanks by a `\`, and nothing else
/// (`render_filename` in `compiler/output_depinfo.rs` of its sources).
fn dependencies(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n');
    let behind = lines.filter_map(|line| {
        let colon = line.windows(2).position(|pair| pair == b": ")?;
        Some(&line[colon + 2..])
    });
    behind.flat_map(words).collect()
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
    fn dep_info_is_read_with_its_blanks() {
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
