use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::build::Launch;
use crate::os::cleanup::{FileId, file_id};

/// If a build has produced more files than this, it has no fingerprint.
const MAX_FILES: usize = 1000;

/// Identifies the result of a build: the command, the executable, its libraries, and the files that build scripts
/// generated and that the program may read at run time.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    launch: Launch,
    files: Vec<OutputFile>,
}

#[derive(Clone, Debug)]
struct OutputFile {
    path: PathBuf,
    stamp: OutputStamp,
    /// Computed on demand. The inner value is `None` if the file was replaced before it could be hashed.
    hash: Arc<OnceLock<Option<u64>>>,
}

/// A file's identity, and the metadata that changes when the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputStamp {
    file: FileId,
    len: u64,
    modified: Option<SystemTime>,
}

impl Fingerprint {
    /// Takes the fingerprint of a build, reading only metadata. `made` lists further files and directories that the
    /// build produced. Returns `None` if the executable is unknown or there are too many files.
    pub fn new(launch: &Launch, made: &[PathBuf]) -> Option<Self> {
        let mut files = vec![OutputFile::new(launch.executable.clone()?).ok()?];
        let mut waiting = made.to_vec();
        while let Some(path) = waiting.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
                Err(_) => files.push(OutputFile::new(path).ok()?),
            }
            if files.len() + waiting.len() > MAX_FILES {
                return None;
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let launch = launch.clone();
        Some(Self { launch, files })
    }

    /// Hashes the files. Call this before the next build replaces them.
    pub fn hash_files(&self) {
        for file in &self.files {
            file.hash();
        }
    }

    /// Whether both builds produced the same result. Reads the files only if their metadata differs.
    pub fn matches(&self, other: &Self) -> bool {
        let mut pairs = self.files.iter().zip(&other.files);
        self.launch == other.launch
            && self.files.len() == other.files.len()
            && pairs.all(|(one, other)| one.matches(other))
    }
}

impl OutputFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            stamp: OutputStamp::of(&path)?,
            path,
            hash: Arc::default(),
        })
    }

    fn matches(&self, other: &Self) -> bool {
        let same_hash = || self.hash().is_some_and(|hash| Some(hash) == other.hash());
        let same_content = || self.stamp.len == other.stamp.len && same_hash();
        self.path == other.path && (self.stamp == other.stamp || same_content())
    }

    fn hash(&self) -> Option<u64> {
        *self.hash.get_or_init(|| {
            let mut file = File::open(&self.path).ok()?;
            let mut hasher = DefaultHasher::new();
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer).ok()? {
                    0 => break,
                    count => hasher.write(&buffer[..count]),
                }
            }
            let same = OutputStamp::of(&self.path).ok()? == self.stamp;
            same.then(|| hasher.finish())
        })
    }
}

impl OutputStamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            file: file_id(&metadata),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_match_only_if_command_and_content_are_the_same() {
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
            Fingerprint::new(&launch, std::slice::from_ref(&generated)).unwrap()
        };
        let first = build("one", "a");
        first.hash_files();
        assert!(first.matches(&build("one", "a")));
        assert!(!first.matches(&build("two", "a")));
        assert!(
            !first.matches(&build("one", "b")),
            "a generated file differs"
        );
        assert!(!first.matches(&build("longer", "a")));
        let mut other = build("one", "a");
        other.launch.argv.push("--flag".into());
        assert!(!first.matches(&other), "the arguments differ");
    }

    #[test]
    fn a_file_that_was_replaced_before_it_was_hashed_never_matches() {
        let dir = tempfile::tempdir().unwrap();
        let executable = dir.path().join("app");
        let launch = Launch {
            argv: Vec::new(),
            env: Vec::new(),
            workdir: PathBuf::new(),
            executable: Some(executable.clone()),
        };
        fs::write(&executable, "one").unwrap();
        let first = Fingerprint::new(&launch, &[]).unwrap();
        fs::write(dir.path().join("new"), "one").unwrap();
        fs::rename(dir.path().join("new"), &executable).unwrap();
        first.hash_files();
        let again = Fingerprint::new(&launch, &[]).unwrap();
        assert!(!first.matches(&again));
    }
}
