use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What counts, exactly: a program's inputs, as its last good build named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSet {
    /// Files. Absolute. They need not exist.
    pub files: BTreeSet<PathBuf>,
    /// Those of them that count whatever their extensions are.
    pub any_extension: BTreeSet<PathBuf>,
    /// Directories in which everything counts that is not ignored there.
    pub dirs: BTreeSet<PathBuf>,
}

impl InputSet {
    /// Whether `path` is in one of the directories.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.dirs.iter().any(|dir| path.starts_with(dir))
    }

    /// Under the paths that events tell. A file that is a symbolic link stands for what it leads to as well.
    pub(super) fn normalised(&self, normalise: impl Fn(&Path) -> PathBuf) -> Self {
        let mut files: BTreeSet<PathBuf> = self.files.iter().map(|path| normalise(path)).collect();
        let targets = files.iter().filter(|path| path.is_symlink());
        let targets: Vec<_> = targets
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        files.extend(targets);
        Self {
            files,
            any_extension: self
                .any_extension
                .iter()
                .map(|path| normalise(path))
                .collect(),
            dirs: self.dirs.iter().map(|path| normalise(path)).collect(),
        }
    }
}
