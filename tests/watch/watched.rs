//! Helpers that create trees of files and watch them.

use std::fs::{self};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotrun::watch::{FileWatch, WatchMessage, WatchSpec};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// The quiet period, which is long enough for a save to be one batch even on a busy machine.
pub(crate) const QUIET: Duration = Duration::from_millis(150);
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A watched tree of files.
pub(crate) struct Watched {
    pub(crate) root: TempDir,
    pub(crate) messages: UnboundedReceiver<WatchMessage>,
    pub(crate) checkpoints: usize,
    pub(crate) dirs: usize,
    pub(crate) watch: FileWatch,
}

/// Creates a tree of files.
pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().expect("can create a temporary directory");
    for (name, text) in files {
        write(&root.path().join(name), text);
    }
    root
}

pub(crate) fn write(path: &Path, text: &str) {
    let parent = path.parent().expect("a file has a parent");
    fs::create_dir_all(parent).expect("can create the parent directory");
    fs::write(path, text).expect("can write the file");
}

pub(crate) fn watch(files: &[(&str, &str)]) -> Watched {
    watch_as(tree(files), |_| {})
}

/// Starts a watch once the files are older than a tick of the kernel's clock, and waits until the watch is set up.
pub(crate) fn watch_as(root: TempDir, change: impl FnOnce(&mut WatchSpec)) -> Watched {
    let path = root.path().canonicalize();
    let path = path.expect("can resolve the tree's path");
    age(&path);
    let mut spec = WatchSpec {
        roots: vec![path.clone()],
        base: path,
        debounce: QUIET,
        ..WatchSpec::default()
    };
    change(&mut spec);
    let (sender, messages) = mpsc::unbounded_channel();
    let watch = FileWatch::start(&spec, sender).expect("can start the watch");
    let mut watched = Watched {
        root,
        messages,
        checkpoints: 0,
        dirs: 0,
        watch,
    };
    let WatchMessage::Watching { dirs } = watched.next() else {
        panic!("the watch did not report that it is set up")
    };
    watched.dirs = dirs;
    watched
}

/// Waits until the last change below `path` is older than a tick of the kernel's clock.
pub(crate) fn age(path: &Path) {
    let newest = newest(path) + Duration::from_millis(30);
    let deadline = Instant::now() + DEADLINE;
    while SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is later than 1970")
        < newest
    {
        assert!(Instant::now() < deadline, "the clock is not advancing");
        std::thread::yield_now();
    }
}

pub(crate) fn newest(path: &Path) -> Duration {
    let metadata = path.symlink_metadata().expect("can read the metadata");
    let own = Duration::new(
        metadata.ctime().unsigned_abs(),
        u32::try_from(metadata.ctime_nsec()).expect("the nanoseconds are less than a second"),
    );
    if !metadata.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).expect("can read the directory");
    entries
        .map(|entry| newest(&entry.expect("can read the entry").path()))
        .fold(own, Duration::max)
}

impl Watched {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root
            .path()
            .canonicalize()
            .expect("can resolve the tree's path")
            .join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("can rename the file");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("can remove the file");
    }

    pub(crate) fn next(&mut self) -> WatchMessage {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("can build a runtime");
        let next = async { tokio::time::timeout(DEADLINE, self.messages.recv()).await };
        runtime
            .block_on(next)
            .expect("a message arrives in time")
            .expect("the watch is still running")
    }

    pub(crate) fn changed(&mut self) -> Vec<PathBuf> {
        let mut next = self.next();
        while matches!(next, WatchMessage::NoEffect { .. }) {
            next = self.next();
        }
        match next {
            WatchMessage::Changed { changes, .. } => {
                let by_others = changes.iter().all(|change| change.writer.is_none());
                assert!(by_others, "{changes:?}");
                changes.into_iter().map(|change| change.path).collect()
            }
            WatchMessage::Watching { .. } => panic!("`Watching` was reported twice"),
            WatchMessage::Touched | WatchMessage::Settled => {
                panic!("touched files are not reported by default")
            }
            WatchMessage::NoEffect { .. } => unreachable!("these are left out above"),
            WatchMessage::Trouble { text, .. } => panic!("{text}"),
        }
    }

    /// Expects exactly one batch, with these files.
    #[track_caller]
    pub(crate) fn expect_batch(&mut self, names: &[&str]) {
        let expected: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        assert_eq!(self.changed(), expected);
        self.expect_nothing();
    }

    /// Expects a message that this file was saved without an effect, and no batch.
    #[track_caller]
    pub(crate) fn expect_unchanged(&mut self, name: &str) {
        let WatchMessage::NoEffect { path, is_input, .. } = self.next() else {
            panic!("expected a save without an effect")
        };
        assert_eq!((path, is_input), (self.path(name), true));
        self.expect_nothing();
    }

    /// Expects no batch before the one for a file that is created now. Events arrive in order.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.checkpoints += 1;
        let checkpoint = self.path(&format!("checkpoint-{}.rs", self.checkpoints));
        write(&checkpoint, "");
        assert_eq!(self.changed(), [checkpoint]);
    }
}
