use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::paths::normalise_all;

/// The exact inputs of a program, as its last good build named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSet {
    /// Files. Absolute. They need not exist.
    pub files: BTreeSet<PathBuf>,
    /// Those of the files that count whatever their extension is.
    pub any_extension: BTreeSet<PathBuf>,
    /// Directories in which everything counts that is not ignored there.
    pub dirs: BTreeSet<PathBuf>,
}

impl InputSet {
    /// Whether `path` is in one of the directories.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.dirs.iter().any(|dir| path.starts_with(dir))
    }

    /// With paths as they appear in events, and with the targets of files that are symbolic links.
    pub(super) fn normalised(&self) -> Self {
        let mut files: BTreeSet<PathBuf> = normalise_all(&self.files);
        let links = files.iter().filter(|path| path.is_symlink());
        let targets: Vec<_> = links.filter_map(|path| path.canonicalize().ok()).collect();
        files.extend(targets);
        Self {
            files,
            any_extension: normalise_all(&self.any_extension),
            dirs: normalise_all(&self.dirs),
        }
    }
}
