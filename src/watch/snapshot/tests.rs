//! Tests what counts as a change to a file's contents.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::slice::from_ref;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

/// Makes a snapshot whose watch seems to have started long after the last change on disk.
fn much_later() -> Snapshot {
    let mut snapshot = Snapshot::new();
    snapshot.started += Duration::from_secs(3600);
    snapshot
}

#[test]
fn only_different_contents_are_a_change() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut snapshot = much_later();
    assert!(!snapshot.add(&path, snapshot.started));
    assert_eq!(snapshot.unread(), from_ref(&path));
    snapshot.read_ahead(&path);
    assert!(snapshot.unread().is_empty());
    fs::write(&path, "one").unwrap();
    assert!(
        snapshot.update(&path).is_empty(),
        "the contents are the same"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(snapshot.update(&path).is_empty(), "only the mode differs");
    fs::write(&path, "two").unwrap();
    assert_eq!(snapshot.update(&path), from_ref(&path));
    assert!(snapshot.update(&path).is_empty());
    fs::remove_file(&path).unwrap();
    assert_eq!(snapshot.update(&path), from_ref(&path));
    assert!(
        snapshot.update(&path).is_empty(),
        "the file was already gone"
    );
}

#[test]
fn a_file_that_was_never_read_is_compared_by_its_modification_time() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut snapshot = much_later();
    snapshot.add(&path, snapshot.started);
    let stamp = fs::metadata(&path).unwrap().modified().unwrap();
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(stamp + KERNEL_TICK)
        .unwrap();
    assert_eq!(snapshot.update(&path), from_ref(&path));
}

#[test]
fn a_file_that_changed_after_the_start_is_not_read_ahead() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    let mut snapshot = Snapshot::new();
    snapshot.started = UNIX_EPOCH;
    fs::write(&path, "one").unwrap();
    assert!(
        snapshot.add(&path, snapshot.started),
        "the file has changed since the start"
    );
    snapshot.read_ahead(&path);
    assert_eq!(snapshot.update(&path), from_ref(&path));
}

#[test]
fn the_files_in_a_removed_directory_count_as_changed() {
    let dir = TempDir::new().unwrap();
    let mut snapshot = much_later();
    for name in ["a/x", "a/y/z", "a.rs", "ab"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        snapshot.add(&path, snapshot.started);
    }
    fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    let gone = snapshot.update(&dir.path().join("a"));
    assert_eq!(gone, [dir.path().join("a/x"), dir.path().join("a/y/z")]);
    assert_eq!(snapshot.files.len(), 2);
}

#[test]
fn only_files_are_opened() {
    let dir = TempDir::new().unwrap();
    let mut snapshot = much_later();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(snapshot.update(&pipe).is_empty());
    assert!(snapshot.update(dir.path()).is_empty());
    let circle = dir.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert_eq!(
        snapshot.update(&circle),
        from_ref(&circle),
        "a new link is a change"
    );
    assert!(snapshot.update(&circle).is_empty());
}

#[test]
fn a_rescan_finds_changes_without_events() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut snapshot = much_later();
    snapshot.add(&path, snapshot.started);
    snapshot.read_ahead(&path);
    assert!(!snapshot.differs(&path));
    fs::write(&path, "three").unwrap();
    assert!(snapshot.differs(&path));
    assert_eq!(snapshot.update(&path), from_ref(&path));
    fs::remove_file(&path).unwrap();
    assert!(snapshot.differs(&path));
    assert_eq!(snapshot.update(&path), from_ref(&path));
    assert!(!snapshot.differs(&path));
}

#[test]
fn a_change_within_the_same_tick_is_found() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut snapshot = much_later();
    snapshot.update(&path);
    // The new text has the same length, and perhaps the same timestamp.
    fs::write(&path, "two").unwrap();
    assert!(snapshot.differs(&path));
    assert_eq!(snapshot.update(&path), from_ref(&path));
    let deadline = SystemTime::now() + KERNEL_TICK * 200;
    while snapshot.differs(&path) {
        assert!(
            SystemTime::now() < deadline,
            "the file is no longer in doubt after a tick"
        );
        assert!(snapshot.update(&path).is_empty());
    }
}

#[test]
fn a_change_is_found_even_if_the_modification_time_is_set_back() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut snapshot = much_later();
    snapshot.add(&path, snapshot.started);
    snapshot.read_ahead(&path);
    fs::write(&path, "two").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    assert!(snapshot.differs(&path));
    assert_eq!(snapshot.update(&path), from_ref(&path));
}
