use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// The keys at `path` and below it. Paths are ordered component by component, so these follow each other.
pub(super) fn below<'a, T>(
    map: &'a BTreeMap<PathBuf, T>,
    path: &'a Path,
) -> impl Iterator<Item = &'a PathBuf> {
    let from = (Bound::Included(path), Bound::Unbounded);
    let keys = map.range::<Path, _>(from).map(|(key, _)| key);
    keys.take_while(move |key| key.starts_with(path))
}

/// A path that can be compared with those in events: its directory is resolved, but its last component is kept, so that
/// a change of a symbolic link itself is noticed.
pub(super) fn normalise(path: &Path) -> PathBuf {
    let within = path.file_name().zip(path.parent());
    let found = match within {
        Some((name, parent)) => parent.canonicalize().map(|parent| parent.join(name)),
        None => path.canonicalize(),
    };
    found.unwrap_or_else(|_| path.components().collect())
}

/// [`normalise`] for each of them.
pub(super) fn normalise_all<'a, T: FromIterator<PathBuf>>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> T {
    paths.into_iter().map(|path| normalise(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_normalised_path_has_no_detours_and_keeps_its_name() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a", root.join("link")).unwrap();
        for (given, expected) in [
            ("a/../a/b", "a/b"),
            ("link/b", "a/b"),
            ("link", "link"),
            ("a/b/", "a/b"),
            ("a/b/..", "a"),
            ("missing/x", "missing/x"),
        ] {
            assert_eq!(normalise(&root.join(given)), root.join(expected), "{given}");
        }
    }
}
