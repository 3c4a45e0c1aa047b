//! What a build made, as far as it takes to know it again.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::build::Launch;
use crate::reload::GenId;

/// The most files that are looked at of what build scripts have made. Where there are more, nothing is known again.
const MOST_FILES: usize = 1000;

/// What is started and what it is made of: the executable, its libraries, and what build scripts have generated,
/// which a program may read when it runs.
#[derive(Clone, Debug)]
pub(super) struct Print {
    launch: Launch,
    files: Vec<Made>,
}

#[derive(Clone, Debug)]
struct Made {
    path: PathBuf,
    stamp: Stamp,
    content: Arc<OnceLock<Option<u64>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    inode: u64,
}

/// The generations that run, and what they were started from, the newest last.
pub(super) type Known = Vec<(GenId, Print)>;

/// The newest generation that was started from the same.
pub(super) fn find(known: &Known, print: &Print) -> Option<GenId> {
    let like = known.iter().rev().find(|(_, known)| known.is_like(print));
    like.map(|(id, _)| *id)
}

impl Print {
    /// Reads metadata only. `made` are files and directories beside the executable. `None` where it is not known
    /// what the executable is.
    pub(super) fn new(launch: &Launch, made: &[PathBuf]) -> Option<Self> {
        let mut files = vec![Made::new(launch.executable.clone()?).ok()?];
        let mut waiting = made.to_vec();
        while let Some(path) = waiting.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
                Err(_) => files.push(Made::new(path).ok()?),
            }
            if files.len() + waiting.len() > MOST_FILES {
                return None;
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let launch = launch.clone();
        Some(Self { launch, files })
    }

    /// Reads what was made, before the next build puts something else in its place.
    pub(super) fn remember(&self) {
        for made in &self.files {
            made.content();
        }
    }

    /// Reads the files only if nothing else decides.
    fn is_like(&self, other: &Self) -> bool {
        self.launch == other.launch
            && self.files.len() == other.files.len()
            && self
                .files
                .iter()
                .zip(&other.files)
                .all(|(one, other)| one.may_be(other))
            && self
                .files
                .iter()
                .zip(&other.files)
                .all(|(one, other)| one.is(other))
    }
}

impl Made {
    fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            stamp: Stamp::of(&fs::metadata(&path)?),
            path,
            content: Arc::default(),
        })
    }

    fn may_be(&self, other: &Self) -> bool {
        self.path == other.path && self.stamp.len == other.stamp.len
    }

    fn is(&self, other: &Self) -> bool {
        self.stamp == other.stamp
            || self
                .content()
                .is_some_and(|content| Some(content) == other.content())
    }

    /// A hash of it; `None` if it is another file by now.
    fn content(&self) -> Option<u64> {
        let read = || hash(&self.path, self.stamp).ok().flatten();
        *self.content.get_or_init(read)
    }
}

fn hash(path: &Path, stamp: Stamp) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.write(&buffer[..count]),
        }
    }
    let same = Stamp::of(&file.metadata()?) == stamp;
    Ok(same.then(|| hasher.finish()))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let executable = dir.path().join("app");
        let generated = dir.path().join("out");
        fs::create_dir_all(generated.join("deep")).unwrap();
        let launch = Launch {
            argv: vec!["app".into()],
            env: Vec::new(),
            workdir: dir.path().to_owned(),
            executable: Some(executable.clone()),
        };
        let build = |text: &str, data: &str| {
            fs::remove_file(&executable).ok();
            fs::write(&executable, text).unwrap();
            fs::write(generated.join("deep/data"), data).unwrap();
            Print::new(&launch, std::slice::from_ref(&generated)).unwrap()
        };
        let first = build("one", "a");
        first.remember();
        let known = vec![(GenId::FIRST, first)];
        assert_eq!(find(&known, &build("one", "a")), Some(GenId::FIRST));
        assert_eq!(find(&known, &build("two", "a")), None);
        assert_eq!(find(&known, &build("one", "b")), None, "what it reads");
        assert_eq!(find(&known, &build("longer", "a")), None);
        let mut other = build("one", "a");
        other.launch.argv.push("--flag".into());
        assert_eq!(find(&known, &other), None, "how it is started");
    }

    #[test]
    fn what_was_replaced_before_it_was_read_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let executable = dir.path().join("app");
        let launch = Launch {
            argv: Vec::new(),
            env: Vec::new(),
            workdir: PathBuf::new(),
            executable: Some(executable.clone()),
        };
        fs::write(&executable, "one").unwrap();
        let first = Print::new(&launch, &[]).unwrap();
        fs::write(dir.path().join("new"), "one").unwrap();
        fs::rename(dir.path().join("new"), &executable).unwrap();
        first.remember();
        let again = Print::new(&launch, &[]).unwrap();
        assert_eq!(find(&vec![(GenId::FIRST, first)], &again), None);
    }
}
