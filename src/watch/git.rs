use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A lock that is older was left behind by a git that was killed.
const STALE: Duration = Duration::from_secs(60);

/// The repositories around what is watched: while git changes a work tree (a branch switch, a rebase) it holds a
/// lock on its index (`gitrepository-layout(5)`, `lockfile.h` in git's sources), so more is to come.
#[derive(Debug)]
pub(super) struct Git {
    locks: Vec<PathBuf>,
}

impl Git {
    pub(super) fn around<'a>(places: impl Iterator<Item = &'a Path>) -> Self {
        let mut locks: Vec<PathBuf> = places
            .filter_map(|place| place.ancestors().find_map(lock))
            .collect();
        locks.sort();
        locks.dedup();
        Self { locks }
    }

    /// Whether git is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.locks.iter().any(|lock| is_held(lock))
    }
}

fn is_held(lock: &Path) -> bool {
    let modified = fs::symlink_metadata(lock).and_then(|metadata| metadata.modified());
    let age = modified.map(|modified| SystemTime::now().duration_since(modified));
    age.is_ok_and(|age| age.is_ok_and(|age| age < STALE))
}

/// In a linked work tree `.git` is a file that names the directory.
fn lock(dir: &Path) -> Option<PathBuf> {
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
    fn a_lock_in_a_repository_around_it_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("repo/.git/worktrees/other")).unwrap();
        fs::create_dir_all(path("repo/src/deep")).unwrap();
        fs::create_dir(path("other")).unwrap();
        let gitdir = format!("gitdir: {}\n", path("repo/.git/worktrees/other").display());
        fs::write(path("other/.git"), gitdir).unwrap();
        let inside = Git::around(
            [path("repo/src/deep"), path("repo")]
                .iter()
                .map(PathBuf::as_path),
        );
        let linked = Git::around([path("other")].iter().map(PathBuf::as_path));
        assert!(!inside.is_busy() && !linked.is_busy());
        fs::write(path("repo/.git/index.lock"), "").unwrap();
        assert!(inside.is_busy() && !linked.is_busy());
        fs::write(path("repo/.git/worktrees/other/index.lock"), "").unwrap();
        assert!(linked.is_busy());
        let old = SystemTime::now() - STALE * 2;
        let lock = fs::File::options()
            .write(true)
            .open(path("repo/.git/index.lock"))
            .unwrap();
        lock.set_modified(old).unwrap();
        assert!(!inside.is_busy(), "left behind");
    }
}
