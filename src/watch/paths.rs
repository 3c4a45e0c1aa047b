use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// A git lock that is older than this is assumed to have been left behind by a git process that was killed.
const LONGEST_LOCK: Duration = Duration::from_secs(60);

/// The map's keys at `path` and below it. Paths are ordered by component, so these keys are adjacent.
pub(super) fn below<'a, T>(
    map: &'a BTreeMap<PathBuf, T>,
    path: &'a Path,
) -> impl Iterator<Item = &'a PathBuf> {
    let from = (Bound::Included(path), Bound::Unbounded);
    let keys = map.range::<Path, _>(from).map(|(key, _)| key);
    keys.take_while(move |key| key.starts_with(path))
}

/// Returns a path as it appears in events: its directory is resolved, but its last component is kept, so that a change
/// to a symbolic link itself is noticed.
pub(super) fn normalise(path: &Path) -> PathBuf {
    let within = path.file_name().zip(path.parent());
    let found = match within {
        Some((name, parent)) => parent.canonicalize().map(|parent| parent.join(name)),
        None => path.canonicalize(),
    };
    found.unwrap_or_else(|_| path.components().collect())
}

/// Like [`normalise`], but also resolves a link to a directory: the kernel reports the events in a directory under only
/// one of its paths (`inotify_add_watch(2)`: the watch belongs to the inode).
pub(super) fn resolve_dir(path: &Path) -> PathBuf {
    let dir = path.canonicalize().ok().filter(|dir| dir.is_dir());
    dir.unwrap_or_else(|| normalise(path))
}

/// The symbolic links on the way to `path`, as they appear in events: `path` itself, directories above it, and links
/// that other links lead through.
pub(super) fn links_to(path: &Path) -> BTreeSet<PathBuf> {
    let (mut links, mut real) = (BTreeSet::new(), PathBuf::new());
    for component in path.components() {
        if component == Component::ParentDir {
            real.pop();
            continue;
        }
        real.push(component);
        let Ok(target) = fs::read_link(&real) else {
            continue;
        };
        // Fails if the link is dangling or part of a loop.
        let found = real.canonicalize();
        links.insert(real.clone());
        if let Ok(found) = found {
            links.extend(links_to(&real.with_file_name(target)));
            real = found;
        }
    }
    links
}

/// The path of the index lock in the repository that contains `path`. While git changes a work tree (in a branch switch
/// or a rebase), the lock exists, so more changes will follow (`gitrepository-layout(5)`, `lockfile.h` in git's
/// sources).
pub(super) fn git_lock(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|dir| {
        let git = dir.join(".git");
        if git.is_dir() {
            return Some(git.join("index.lock"));
        }
        // In a linked work tree, `.git` is a file that contains the path of the directory.
        let text = fs::read_to_string(&git).ok()?;
        let named = text.strip_prefix("gitdir: ")?.trim_end();
        Some(dir.join(named).join("index.lock"))
    })
}

/// Whether git holds this lock.
pub(super) fn is_held(lock: &Path) -> bool {
    let modified = fs::symlink_metadata(lock).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < LONGEST_LOCK))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn normalising_resolves_the_directory_and_keeps_the_name() {
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

    #[test]
    fn all_links_on_the_way_to_a_path_are_found() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("rel/src")).unwrap();
        for (target, link) in [
            ("rel", "next"),
            ("next", "current"),
            ("../rel/src", "rel/self"),
            ("none", "dangling"),
            ("circle", "circle"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let found = |path: &str| Vec::from_iter(links_to(&root.join(path)));
        let expected = |links: &[&str]| Vec::from_iter(links.iter().map(|link| root.join(link)));
        for (path, links) in [
            ("rel/src", vec![]),
            ("current/src/x", vec!["current", "next"]),
            ("current/../rel/self", vec!["current", "next", "rel/self"]),
            ("dangling/x", vec!["dangling"]),
            ("circle", vec!["circle"]),
        ] {
            assert_eq!(found(path), expected(&links), "{path}");
        }
    }

    #[test]
    fn an_old_lock_is_not_held() {
        let dir = TempDir::new().unwrap();
        let lock = dir.path().join("index.lock");
        assert!(!is_held(&lock));
        let file = fs::File::create(&lock).unwrap();
        assert!(is_held(&lock));
        let old = std::time::SystemTime::now() - 2 * LONGEST_LOCK;
        file.set_modified(old).unwrap();
        assert!(!is_held(&lock));
    }

    #[test]
    fn the_repositorys_index_lock_is_found() {
        let root = TempDir::new().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("repo/.git/worktrees/other")).unwrap();
        fs::create_dir_all(path("repo/src/deep")).unwrap();
        fs::create_dir(path("other")).unwrap();
        let linked = path("repo/.git/worktrees/other");
        fs::write(
            path("other/.git"),
            format!("gitdir: {}\n", linked.display()),
        )
        .unwrap();
        let lock = Some(path("repo/.git/index.lock"));
        assert_eq!(git_lock(&path("repo/src/deep")), lock);
        assert_eq!(git_lock(&path("repo")), lock);
        assert_eq!(git_lock(&path("other/x")), Some(linked.join("index.lock")));
    }
}
