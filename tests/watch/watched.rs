//! A tree of files under watch.

use std::fs::{self};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotrun::watch::{Message, Watch, WatchSpec};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// Long enough for a save to be one batch on a busy machine.
pub(crate) const QUIET: Duration = Duration::from_millis(150);
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A watched tree of files.
pub(crate) struct Watched {
    pub(crate) root: TempDir,
    pub(crate) messages: UnboundedReceiver<Message>,
    pub(crate) marks: usize,
    pub(crate) dirs: usize,
    pub(crate) files: usize,
    _watch: Watch,
}

/// Creates a tree of files.
pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().expect("a temporary directory");
    for (name, text) in files {
        write(&root.path().join(name), text);
    }
    root
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file")).expect("a directory");
    fs::write(path, text).expect("a written file");
}

pub(crate) fn watch(files: &[(&str, &str)]) -> Watched {
    watch_as(tree(files), |_| {})
}

/// Starts a watch once the files are older than a tick of the kernel's clock, and waits until it has started.
pub(crate) fn watch_as(root: TempDir, change: impl FnOnce(&mut WatchSpec)) -> Watched {
    let path = root.path().canonicalize().expect("it exists");
    age(&path);
    let mut spec = WatchSpec {
        roots: vec![path.clone()],
        base: path,
        debounce: QUIET,
        ..WatchSpec::default()
    };
    change(&mut spec);
    let (sender, messages) = mpsc::unbounded_channel();
    let watch = Watch::start(&spec, sender).expect("a watch");
    let mut watched = Watched {
        root,
        messages,
        marks: 0,
        dirs: 0,
        files: 0,
        _watch: watch,
    };
    let Message::Watching { dirs, files } = watched.next() else {
        panic!("no watch")
    };
    watched.dirs = dirs;
    watched.files = files;
    watched
}

/// Waits until the last change below `path` is older than a tick of the kernel's clock.
pub(crate) fn age(path: &Path) {
    let newest = newest(path) + Duration::from_millis(30);
    let deadline = Instant::now() + DEADLINE;
    while SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        < newest
    {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::yield_now();
    }
}

pub(crate) fn newest(path: &Path) -> Duration {
    let metadata = path.symlink_metadata().expect("metadata");
    let own = Duration::new(
        metadata.ctime().unsigned_abs(),
        u32::try_from(metadata.ctime_nsec()).expect("less than a second"),
    );
    if !metadata.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).expect("a directory");
    entries
        .map(|entry| newest(&entry.expect("an entry").path()))
        .fold(own, Duration::max)
}

impl Watched {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root
            .path()
            .canonicalize()
            .expect("it exists")
            .join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    pub(crate) fn next(&mut self) -> Message {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let next = async { tokio::time::timeout(DEADLINE, self.messages.recv()).await };
        runtime
            .block_on(next)
            .expect("a message in time")
            .expect("the watch has not ended")
    }

    pub(crate) fn changed(&mut self) -> Vec<PathBuf> {
        match self.next() {
            Message::Changed { paths, .. } => paths,
            Message::Watching { .. } => panic!("already watching"),
            Message::Trouble { text, .. } => panic!("{text}"),
        }
    }

    /// Expects exactly one batch, with these files.
    #[track_caller]
    pub(crate) fn expect_batch(&mut self, names: &[&str]) {
        let expected: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        assert_eq!(self.changed(), expected);
        self.expect_nothing();
    }

    /// Expects no batch before that of a file that is created now: events arrive in order.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.marks += 1;
        let mark = self.path(&format!("mark-{}.rs", self.marks));
        write(&mark, "");
        assert_eq!(self.changed(), [mark]);
    }
}
