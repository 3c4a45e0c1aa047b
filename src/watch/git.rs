use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// An older lock was left behind by a git that was killed.
const STALE: Duration = Duration::from_secs(60);

/// The locks of the repositories around the watched paths. Git holds the lock on its index while it changes a work tree
/// (a branch switch, a rebase), so more changes will follow (`gitrepository-layout(5)`, `lockfile.h` in git's sources).
#[derive(Debug)]
pub(super) struct GitLocks(Vec<PathBuf>);

impl GitLocks {
    pub(super) fn around<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let mut locks: Vec<PathBuf> = paths
            .filter_map(|path| path.ancestors().find_map(lock_of))
            .collect();
        locks.sort();
        locks.dedup();
        Self(locks)
    }

    /// Whether git holds one of them.
    pub(super) fn are_held(&self) -> bool {
        self.0.iter().any(|lock| is_held(lock))
    }
}

fn is_held(lock: &Path) -> bool {
    let modified = fs::symlink_metadata(lock).and_then(|metadata| metadata.modified());
    let age = modified.map(|modified| SystemTime::now().duration_since(modified));
    age.is_ok_and(|age| age.is_ok_and(|age| age < STALE))
}

/// In a linked work tree, `.git` is a file that names the directory.
fn lock_of(dir: &Path) -> Option<PathBuf> {
    let git = dir.join(".git");
    if git.is_dir() {
        return Some(git.join("index.lock"));
    }
    let text = fs::read_to_string(&git).ok()?;
    let named = text.strip_prefix("gitdir: ")?.trim_end();
    Some(dir.join(named).join("index.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_the_repository_is_found() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("repo/.git/worktrees/other")).unwrap();
        fs::create_dir_all(path("repo/src/deep")).unwrap();
        fs::create_dir(path("other")).unwrap();
        let gitdir = format!("gitdir: {}\n", path("repo/.git/worktrees/other").display());
        fs::write(path("other/.git"), gitdir).unwrap();
        let inside = GitLocks::around(
            [path("repo/src/deep"), path("repo")]
                .iter()
                .map(PathBuf::as_path),
        );
        let linked = GitLocks::around([path("other")].iter().map(PathBuf::as_path));
        assert!(!inside.are_held() && !linked.are_held());
        fs::write(path("repo/.git/index.lock"), "").unwrap();
        assert!(inside.are_held() && !linked.are_held());
        fs::write(path("repo/.git/worktrees/other/index.lock"), "").unwrap();
        assert!(linked.are_held());
        let old = SystemTime::now() - STALE * 2;
        let lock = fs::File::options()
            .write(true)
            .open(path("repo/.git/index.lock"))
            .unwrap();
        lock.set_modified(old).unwrap();
        assert!(!inside.are_held(), "left behind");
    }
}
