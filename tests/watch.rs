//! The watch on real files: each editor's way to save, and what must not count.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotrun::watch::{Message, Trouble, Watch, WatchSpec};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// Long enough for a save to be one batch on a busy machine.
const QUIET: Duration = Duration::from_millis(150);
const DEADLINE: Duration = Duration::from_secs(20);

/// A tree of files that is watched.
struct Watched {
    root: TempDir,
    messages: UnboundedReceiver<Message>,
    marks: usize,
    dirs: usize,
    files: usize,
    _watch: Watch,
}

/// A tree to be watched.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().expect("a temporary directory");
    for (name, text) in files {
        write(&root.path().join(name), text);
    }
    root
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file")).expect("a directory");
    fs::write(path, text).expect("a written file");
}

fn watch(files: &[(&str, &str)]) -> Watched {
    watch_as(tree(files), |_| {})
}

/// Starts when the files are older than the kernel's clock is coarse, and waits until the watch is on.
fn watch_as(root: TempDir, change: impl FnOnce(&mut WatchSpec)) -> Watched {
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
        panic!("not watching")
    };
    watched.dirs = dirs;
    watched.files = files;
    watched
}

/// Waits until nothing below `path` has changed within the last ticks of the kernel's clock.
fn age(path: &Path) {
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

fn newest(path: &Path) -> Duration {
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
    fn path(&self, name: &str) -> PathBuf {
        self.root
            .path()
            .canonicalize()
            .expect("it exists")
            .join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn next(&mut self) -> Message {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let next = async { tokio::time::timeout(DEADLINE, self.messages.recv()).await };
        runtime
            .block_on(next)
            .expect("a message in time")
            .expect("the watch is on")
    }

    fn changed(&mut self) -> Vec<PathBuf> {
        match self.next() {
            Message::Changed(paths) => paths,
            Message::Watching { .. } => panic!("it watches already"),
            Message::Trouble(trouble) => panic!("{trouble}"),
        }
    }

    /// Exactly one batch, of these files.
    #[track_caller]
    fn one(&mut self, names: &[&str]) {
        let expected: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        assert_eq!(self.changed(), expected);
        self.none();
    }

    /// No batch: the next one is of a file that is made now, and events arrive in order.
    #[track_caller]
    fn none(&mut self) {
        self.marks += 1;
        let mark = self.path(&format!("mark-{}.rs", self.marks));
        write(&mark, "");
        assert_eq!(self.changed(), [mark]);
    }
}

#[test]
fn hc02_written_in_place() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    // VS Code, nano and most others: truncate, then write.
    let mut file = File::create(watched.path("src/main.rs")).expect("opened");
    file.write_all(b"tw").expect("written");
    file.write_all(b"o").expect("written");
    drop(file);
    watched.one(&["src/main.rs"]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(watched.path("src/main.rs"))
        .expect("opened");
    file.write_all(b" and a half").expect("written");
    drop(file);
    watched.one(&["src/main.rs"]);
}

#[test]
fn hc02_vim_with_a_backup() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write(".main.rs.swp", "swap");
    watched.write("4913", "");
    watched.remove("4913");
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "two");
    watched.remove("main.rs~");
    watched.write(".main.rs.swp", "more swap");
    watched.one(&["main.rs"]);
    watched.remove(".main.rs.swp");
    watched.none();
}

#[test]
fn hc02_rename_over() {
    let mut watched = watch(&[("main.rs", "one")]);
    // GNOME, KDE (`QSaveFile`), `sed -i`, JetBrains: another file takes the place of the old one.
    for (turn, temporary) in [
        ".goutputstream-X1",
        "main.rs.aBcDeF",
        "sedq3Xz",
        "main.rs___jb_tmp___",
    ]
    .iter()
    .enumerate()
    {
        watched.write(temporary, &format!("text {turn}"));
        watched.rename(temporary, "main.rs");
        watched.one(&["main.rs"]);
    }
}

#[test]
fn hc02_jetbrains_safe_write_and_emacs() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write("main.rs___jb_tmp___", "two");
    watched.rename("main.rs", "main.rs___jb_old___");
    watched.rename("main.rs___jb_tmp___", "main.rs");
    watched.remove("main.rs___jb_old___");
    watched.one(&["main.rs"]);
    symlink("me@host.123:456", watched.path(".#main.rs")).expect("a lock");
    watched.write("#main.rs#", "autosave");
    watched.none();
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "three");
    watched.remove("#main.rs#");
    watched.remove(".#main.rs");
    watched.one(&["main.rs"]);
}

#[test]
fn hc02_deleted_and_made_anew() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.remove("main.rs");
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
    watched.remove("main.rs");
    watched.one(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
}

#[test]
fn hc07_what_changes_no_content_is_no_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    let path = watched.path("main.rs");
    // Read ahead comes after "watching": a change and back again makes sure that the content is known.
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.none();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_modified(SystemTime::now())
        .expect("touched");
    watched.none();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::read(&path).expect("read");
    watched.none();
    watched.write("x.tmp.rs", "two");
    watched.rename("x.tmp.rs", "main.rs");
    watched.none();
}

#[test]
fn hc07_a_touch_of_what_was_never_changed_is_no_change() {
    let mut watched = watch(&[("main.rs", "one"), ("lib.rs", "two")]);
    // Everything is read ahead before the next event is waited for.
    watched.none();
    for name in ["main.rs", "lib.rs"] {
        let file = OpenOptions::new()
            .write(true)
            .open(watched.path(name))
            .expect("opened");
        file.set_modified(SystemTime::now()).expect("touched");
        drop(file);
        watched.none();
    }
}

#[test]
fn hc04_a_new_directory_and_what_is_in_it() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    watched.write("a/b/c/new.rs", "in one go");
    watched.one(&["a/b/c/new.rs"]);
    watched.write("a/b/c/new.rs", "later");
    watched.one(&["a/b/c/new.rs"]);
    fs::create_dir(watched.path("empty")).expect("a directory");
    watched.none();
    watched.write("empty/x", "");
    watched.one(&["empty/x"]);
}

#[test]
fn hc04_a_directory_that_is_moved_or_removed_and_made_again() {
    let mut watched = watch(&[("a/x.rs", "x"), ("a/b/y.rs", "y")]);
    watched.rename("a", "z");
    watched.one(&["a/b/y.rs", "a/x.rs", "z/b/y.rs", "z/x.rs"]);
    watched.write("z/b/y.rs", "changed");
    watched.one(&["z/b/y.rs"]);
    fs::remove_dir_all(watched.path("z")).expect("removed");
    watched.one(&["z/b/y.rs", "z/x.rs"]);
    watched.write("z/b/y.rs", "again");
    watched.one(&["z/b/y.rs"]);
    watched.write("z/b/y.rs", "and again");
    watched.one(&["z/b/y.rs"]);
}

#[test]
fn hc04_the_root_itself_is_removed_and_made_again() {
    let root = tree(&[("project/main.rs", "one"), ("other", "")]);
    let path = root.path().canonicalize().expect("it exists");
    let mut watched = watch_as(root, |spec| spec.roots = vec![path.join("project")]);
    fs::remove_dir_all(watched.path("project")).expect("removed");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    watched.write("other", "does not count");
    watched.write("project/main.rs", "two");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    watched.write("project/main.rs", "three");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
}

#[test]
fn hc10_ignored_directories_cost_no_watch_and_no_build() {
    let ignored = [
        "node_modules/a/b/c.js",
        ".git/objects/x",
        "target/debug/deps/x.rs",
        "logs/today",
    ];
    let mut files = vec![
        (".gitignore", "node_modules/\nlogs/\n"),
        ("Cargo.toml", ""),
        ("src/main.rs", "one"),
    ];
    files.extend(ignored.map(|name| (name, "")));
    let mut watched = watch(&files);
    assert_eq!(watched.dirs, 2, "the root and `src`");
    assert_eq!(watched.files, 3);
    for name in ignored {
        watched.write(name, "changed");
    }
    watched.write("target/release/new/x.rs", "");
    watched.write("node_modules/new/x.js", "");
    watched.none();
}

#[test]
fn ignore_files_count_from_the_moment_they_change() {
    let mut watched = watch(&[
        (".gitignore", "out/\n"),
        ("out/x", "old"),
        ("src/main.rs", "one"),
    ]);
    watched.write("out/x", "ignored");
    watched.none();
    watched.write(".gitignore", "src/\n");
    watched.one(&[".gitignore"]);
    watched.write("src/main.rs", "now ignored");
    watched.none();
    watched.write("out/x", "now it counts");
    watched.one(&["out/x"]);
}

#[test]
fn extensions_and_patterns_narrow_it() {
    let mut watched = watch_as(tree(&[("main.rs", "one"), ("gen/a.rs", "")]), |spec| {
        spec.exts = vec!["rs".to_owned()];
        spec.ignores = vec!["gen/".to_owned()];
    });
    watched.write("page.html", "does not count");
    watched.write("gen/a.rs", "neither");
    watched.none();
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
}

#[test]
fn a_single_file_is_seen_however_it_is_replaced() {
    let root = tree(&[(".env", "A=1"), (".gitignore", ".env\n"), ("other", "")]);
    let path = root.path().canonicalize().expect("it exists");
    let mut watched = watch_as(root, |spec| {
        spec.roots = vec![path.join(".env"), path.join("later/.env")];
    });
    assert_eq!((watched.dirs, watched.files), (1, 1));
    let file = path.join(".env");
    watched.write("other", "does not count");
    watched.write(".env", "A=2");
    assert_eq!(watched.changed(), from_ref(&file));
    watched.write(".env.new", "A=3");
    watched.rename(".env.new", ".env");
    assert_eq!(watched.changed(), from_ref(&file));
    watched.remove(".env");
    assert_eq!(watched.changed(), from_ref(&file));
    watched.write(".env", "A=4");
    assert_eq!(watched.changed(), [file]);
    watched.write("later/.env", "B=1");
    assert_eq!(watched.changed(), [path.join("later/.env")]);
}

#[test]
fn hc12_odd_names_circles_and_directories_that_cannot_be_read() {
    use std::os::unix::ffi::OsStringExt;
    let root = tree(&[("a/x", "one"), ("closed/x", "")]);
    symlink("..", root.path().join("a/circle")).expect("a link");
    symlink("nowhere", root.path().join("dangling")).expect("a link");
    nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut watched = watch_as(root, |_| {});
    let odd = std::ffi::OsString::from_vec(b"odd-\xff\xfe".to_vec());
    let odd = watched.path("a").join(odd);
    write(&odd, "two");
    assert_eq!(watched.changed(), [odd]);
    let socket =
        std::os::unix::net::UnixListener::bind(watched.path("app.sock")).expect("a socket");
    watched.none();
    drop(socket);
}

#[test]
fn hc12_a_directory_that_cannot_be_read_is_named_and_the_rest_is_watched() {
    if nix::unistd::geteuid().is_root() {
        // Nothing is closed to root; the other cases above still run.
        return;
    }
    let root = tree(&[("closed/x", ""), ("open/x", "one")]);
    let closed = root.path().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("a mode");
    let path = root.path().canonicalize().expect("it exists");
    let (sender, mut messages) = mpsc::unbounded_channel();
    let spec = WatchSpec {
        roots: vec![path],
        ..WatchSpec::default()
    };
    let _watch = Watch::start(&spec, sender).expect("a watch");
    let first = messages.blocking_recv();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("a mode");
    assert!(
        matches!(first, Some(Message::Trouble(Trouble::Unwatchable { .. }))),
        "{first:?}"
    );
}

#[test]
fn hc01_many_saves_end_in_the_newest() {
    let root = tree(&[("main.rs", "one")]);
    let mut watched = watch_as(root, |spec| spec.debounce = Duration::from_secs(1));
    for turn in 0..50 {
        watched.write("main.rs", &format!("text {turn}"));
    }
    watched.one(&["main.rs"]);
}

#[test]
fn hc03_thousands_of_files_are_one_batch() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    for turn in 0..1_000 {
        watched.write(&format!("src/m{}/f{turn}.rs", turn % 50), "x");
    }
    let mut seen = watched.changed();
    // On a machine that stops for longer than the debounce there may be more than one; none is missed.
    while seen.len() < 1_000 {
        seen.extend(watched.changed());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_000);
    watched.none();
}

#[test]
fn hc05_an_overflow_of_the_systems_queue_loses_nothing() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let Some(limit) = limit
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok())
        .filter(|limit| *limit <= 70_000)
    else {
        return;
    };
    // One directory's events can't be read while another's directory is walked: many files, quickly, until
    // the system says that it dropped some. If it never does, the batch is right all the same.
    let mut watched = watch(&[("last.rs", "one")]);
    let path = watched.path("noise.rs");
    let mut noise = File::create(&path).expect("a file");
    let mut other = File::create(watched.path("other.rs")).expect("a file");
    for _ in 0..limit {
        // Two files in turn: the system folds events that follow an equal one.
        noise.write_all(b"x").expect("written");
        other.write_all(b"x").expect("written");
    }
    watched.write("last.rs", "two");
    let last = watched.path("last.rs");
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "`last.rs` is missing");
        match watched.next() {
            Message::Changed(paths) if paths.contains(&last) => break,
            Message::Changed(_) | Message::Trouble(Trouble::Overflow) => {}
            other @ (Message::Watching { .. } | Message::Trouble(_)) => panic!("{other:?}"),
        }
    }
}
