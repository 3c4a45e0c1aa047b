//! Tests directories that appear and disappear, and ignored files.

use std::fs::{self};
use std::os::unix::fs::symlink;
use std::slice::from_ref;
use std::time::Duration;

use hotrun::watch::Poll;

use super::watched::{tree, watch, watch_as, write};

const CAN_REMOVE: &str = "can remove the directory";
const CAN_RESOLVE: &str = "can resolve the tree's path";

#[test]
fn hc04_files_in_new_directories_are_reported() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    watched.write("a/b/c/new.rs", "in one go");
    watched.expect_batch(&["a/b/c/new.rs"]);
    watched.write("a/b/c/new.rs", "later");
    watched.expect_batch(&["a/b/c/new.rs"]);
    fs::create_dir(watched.path("empty")).expect("can create the directory");
    watched.expect_nothing();
    watched.write("empty/x", "");
    watched.expect_batch(&["empty/x"]);
}

#[test]
fn hc04_the_files_of_a_moved_removed_or_recreated_directory_are_reported() {
    let mut watched = watch(&[("a/x.rs", "x"), ("a/b/y.rs", "y")]);
    watched.rename("a", "z");
    watched.expect_batch(&["a/b/y.rs", "a/x.rs", "z/b/y.rs", "z/x.rs"]);
    watched.write("z/b/y.rs", "changed");
    watched.expect_batch(&["z/b/y.rs"]);
    fs::remove_dir_all(watched.path("z")).expect(CAN_REMOVE);
    watched.expect_batch(&["z/b/y.rs", "z/x.rs"]);
    watched.write("z/b/y.rs", "again");
    watched.expect_batch(&["z/b/y.rs"]);
    watched.write("z/b/y.rs", "and again");
    watched.expect_batch(&["z/b/y.rs"]);
}

#[test]
fn hc04_a_root_that_is_removed_and_created_again_stays_watched() {
    let root = tree(&[("project/main.rs", "one"), ("other", "")]);
    let path = root.path().canonicalize().expect(CAN_RESOLVE);
    let mut watched = watch_as(root, |spec| spec.roots = vec![path.join("project")]);
    fs::remove_dir_all(watched.path("project")).expect(CAN_REMOVE);
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    watched.write("other", "ignored");
    watched.write("project/main.rs", "two");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    watched.write("project/main.rs", "three");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
}

#[test]
fn hc10_ignored_directories_are_not_watched() {
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
    assert_eq!(watched.dirs, 2, "only the root and `src` are watched");
    for name in ignored {
        watched.write(name, "changed");
    }
    watched.write("target/release/new/x.rs", "");
    watched.write("node_modules/new/x.js", "");
    watched.expect_nothing();
}

#[test]
fn a_changed_ignore_file_applies_at_once() {
    let mut watched = watch(&[
        (".gitignore", "out/\n"),
        ("out/x", "old"),
        ("src/main.rs", "one"),
    ]);
    watched.write("out/x", "ignored");
    watched.expect_nothing();
    watched.write(".gitignore", "src/\n");
    watched.expect_batch(&[".gitignore"]);
    watched.write("src/main.rs", "now ignored");
    watched.expect_nothing();
    watched.write("out/x", "now it counts");
    watched.expect_batch(&["out/x"]);
}

#[test]
fn a_changed_ignore_file_above_the_root_applies_at_once() {
    let root = tree(&[
        (".git/HEAD", ""),
        (".gitignore", "\n"),
        ("sub/out/x", "old"),
        ("sub/main.rs", "one"),
    ]);
    let path = root.path().canonicalize().expect(CAN_RESOLVE);
    let mut watched = watch_as(root, |spec| spec.roots = vec![path.join("sub")]);
    let [main, out] = ["sub/main.rs", "sub/out/x"].map(|name| path.join(name));
    watched.write(".gitignore", "out/\n");
    watched.write("sub/out/x", "ignored");
    watched.write("sub/main.rs", "two");
    assert_eq!(watched.changed(), from_ref(&main));
    watched.write(".gitignore", "\n");
    watched.write("sub/main.rs", "three");
    assert_eq!(watched.changed(), [main]);
    watched.write("sub/out/x", "now it counts");
    assert_eq!(watched.changed(), [out]);
}

#[test]
fn extensions_and_ignore_patterns_restrict_which_files_count() {
    let mut watched = watch_as(tree(&[("main.rs", "one"), ("gen/a.rs", "")]), |spec| {
        spec.exts = vec!["rs".to_owned()];
        spec.ignores = vec!["gen/".to_owned()];
    });
    watched.write("page.html", "ignored");
    watched.write("gen/a.rs", "ignored, too");
    watched.expect_nothing();
    watched.write("main.rs", "two");
    watched.expect_batch(&["main.rs"]);
}

#[test]
fn a_single_file_stays_watched_when_it_is_replaced_or_removed() {
    let root = tree(&[(".env", "A=1"), (".gitignore", ".env\n"), ("other", "")]);
    let path = root.path().canonicalize().expect(CAN_RESOLVE);
    let mut watched = watch_as(root, |spec| {
        spec.roots = vec![path.join(".env"), path.join("later/.env")];
    });
    assert_eq!(watched.dirs, 1);
    let file = path.join(".env");
    watched.write("other", "ignored");
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
fn hc12_a_file_with_an_odd_name_is_reported_despite_circular_links_and_special_files() {
    use std::os::unix::ffi::OsStringExt;
    let root = tree(&[("a/x", "one")]);
    symlink("..", root.path().join("a/circle")).expect("can create a circular link");
    symlink("nowhere", root.path().join("dangling")).expect("can create a dangling link");
    let pipe = nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU);
    pipe.expect("can create a pipe");
    let mut watched = watch_as(root, |_| {});
    let odd = std::ffi::OsString::from_vec(b"odd-\xff\xfe".to_vec());
    let odd = watched.path("a").join(odd);
    write(&odd, "two");
    assert_eq!(watched.changed(), [odd]);
    let socket = std::os::unix::net::UnixListener::bind(watched.path("app.sock"));
    let socket = socket.expect("can bind a socket");
    watched.expect_nothing();
    drop(socket);
}

#[test]
fn hc11_polling_finds_changes_without_events() {
    let root = tree(&[
        ("src/main.rs", "one"),
        ("gone", ""),
        ("target/x", ""),
        ("Cargo.toml", ""),
    ]);
    let mut watched = watch_as(root, |spec| spec.poll = Poll::Always);
    assert_eq!(watched.dirs, 0, "no directory is watched");
    watched.write("src/main.rs", "another");
    watched.expect_batch(&["src/main.rs"]);
    watched.remove("gone");
    watched.expect_batch(&["gone"]);
    watched.write("new/deep/x", "");
    watched.expect_batch(&["new/deep/x"]);
    watched.write("target/x", "ignored");
    watched.expect_nothing();
}

#[test]
fn hc01_many_saves_within_the_quiet_period_are_one_change() {
    let root = tree(&[("main.rs", "one")]);
    let mut watched = watch_as(root, |spec| spec.debounce = Duration::from_secs(1));
    for turn in 0..50 {
        watched.write("main.rs", &format!("text {turn}"));
    }
    watched.expect_batch(&["main.rs"]);
}

#[test]
fn hc03_every_one_of_many_new_files_is_reported() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    for turn in 0..1_000 {
        watched.write(&format!("src/m{}/f{turn}.rs", turn % 50), "x");
    }
    let mut seen = watched.changed();
    // On a busy machine there may be more than one batch, but no file is missed.
    while seen.len() < 1_000 {
        seen.extend(watched.changed());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_000);
    watched.expect_nothing();
}

/// While a process has a directory open, the removal of the directory causes no event (`inotify(7)`, `IN_DELETE_SELF`).
#[test]
fn hc04_replacing_a_root_in_use_is_noticed() {
    let root = tree(&[("project/src/main.rs", "one"), ("project/other.rs", "")]);
    let path = root.path().canonicalize().expect(CAN_RESOLVE);
    let mut watched = watch_as(root, |spec| spec.roots = vec![path.join("project")]);
    let in_use = fs::File::open(path.join("project")).expect("can open the directory");
    fs::remove_dir_all(path.join("project")).expect(CAN_REMOVE);
    watched.write("project/src/main.rs", "two");
    let gone = path.join("project/other.rs");
    let main = path.join("project/src/main.rs");
    let mut reported = watched.changed();
    while !reported.contains(&main) {
        reported.extend(watched.changed());
    }
    assert!(reported.contains(&gone), "{reported:?}");
    for text in ["three", "four"] {
        watched.write("project/src/main.rs", text);
        assert_eq!(watched.changed(), from_ref(&main), "{text}");
    }
    drop(in_use);
}

#[test]
fn hc04_a_root_in_use_that_is_removed_long_after_its_files_is_noticed() {
    let root = tree(&[("project/main.rs", "one"), ("project/.gitignore", "*.log")]);
    let path = root.path().canonicalize().expect(CAN_RESOLVE);
    let mut watched = watch_as(root, |spec| spec.roots = vec![path.join("project")]);
    let in_use = fs::File::open(path.join("project")).expect("can open the directory");
    watched.remove("project/main.rs");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    watched.remove("project/.gitignore");
    assert_eq!(watched.changed(), [path.join("project/.gitignore")]);
    fs::remove_dir(path.join("project")).expect(CAN_REMOVE);
    watched.write("project/main.rs", "two");
    assert_eq!(watched.changed(), [path.join("project/main.rs")]);
    drop(in_use);
}

#[test]
fn a_truncated_file_is_reported_although_it_is_never_closed() {
    let mut watched = watch(&[("data", "old")]);
    let path = watched.path("data");
    nix::unistd::truncate(&path, 1).expect("can truncate the file");
    assert_eq!(watched.changed(), [path]);
}

#[test]
fn a_file_is_reported_only_after_its_writer_has_closed_it() {
    use std::io::Write;
    let debounce = Duration::from_millis(20);
    let mut watched = watch_as(tree(&[("data", "old")]), |spec| spec.debounce = debounce);
    let can_write = "can write to the file";
    let mut file = fs::File::create(watched.path("data")).expect("can create the file");
    file.write_all(b"half of ").expect(can_write);
    // A change to a different file is reported on its own.
    watched.expect_nothing();
    // Wait for longer than the time after which the watch checks whether the file is still being written.
    std::thread::sleep(Duration::from_secs(3));
    watched.expect_nothing();
    file.write_all(b"it").expect(can_write);
    watched.expect_nothing();
    drop(file);
    watched.expect_batch(&["data"]);
}
