//! What counts as another content.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::slice::from_ref;

use tempfile::TempDir;

use super::*;

/// As if the watch had begun long after whatever is on the disk.
fn much_later() -> Snapshot {
    let mut contents = Snapshot::new();
    contents.started += Duration::from_secs(3600);
    contents
}

#[test]
fn only_another_content_is_a_change() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut contents = much_later();
    assert!(!contents.note(&path, contents.started));
    assert_eq!(contents.unread(), from_ref(&path));
    contents.read_ahead(&path);
    assert!(contents.unread().is_empty());
    fs::write(&path, "one").unwrap();
    assert!(contents.update(&path).is_empty(), "the same again");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(contents.update(&path).is_empty(), "another mode");
    fs::write(&path, "two").unwrap();
    assert_eq!(contents.update(&path), from_ref(&path));
    assert!(contents.update(&path).is_empty());
    fs::remove_file(&path).unwrap();
    assert_eq!(contents.update(&path), from_ref(&path));
    assert!(contents.update(&path).is_empty(), "gone already");
}

#[test]
fn what_was_never_read_counts_as_changed_if_its_time_is_another() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut contents = much_later();
    contents.note(&path, contents.started);
    let stamp = fs::metadata(&path).unwrap().modified().unwrap();
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(stamp + TICK)
        .unwrap();
    assert_eq!(contents.update(&path), from_ref(&path));
}

#[test]
fn a_file_that_changed_after_the_start_is_not_read_ahead() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    let mut contents = Snapshot::new();
    contents.started = Duration::ZERO;
    fs::write(&path, "one").unwrap();
    assert!(contents.note(&path, contents.started), "it changed since");
    contents.read_ahead(&path);
    assert_eq!(contents.update(&path), from_ref(&path));
}

#[test]
fn a_directory_that_is_gone_takes_its_files_along() {
    let dir = TempDir::new().unwrap();
    let mut contents = much_later();
    for name in ["a/x", "a/y/z", "a.rs", "ab"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        contents.note(&path, contents.started);
    }
    fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    let gone = contents.update(&dir.path().join("a"));
    assert_eq!(gone, [dir.path().join("a/x"), dir.path().join("a/y/z")]);
    assert_eq!(contents.len(), 2);
}

#[test]
fn what_is_no_file_is_not_opened() {
    let dir = TempDir::new().unwrap();
    let mut contents = much_later();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(contents.update(&pipe).is_empty());
    assert!(contents.update(dir.path()).is_empty());
    let circle = dir.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert_eq!(contents.update(&circle), from_ref(&circle), "a new link");
    assert!(contents.update(&circle).is_empty());
}

#[test]
fn a_rescan_finds_what_no_event_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut contents = much_later();
    contents.note(&path, contents.started);
    contents.read_ahead(&path);
    assert!(!contents.differs(&path));
    fs::write(&path, "three").unwrap();
    assert!(contents.differs(&path));
    assert_eq!(contents.update(&path), from_ref(&path));
    fs::remove_file(&path).unwrap();
    assert!(contents.differs(&path));
    assert_eq!(contents.update(&path), from_ref(&path));
    assert!(!contents.differs(&path));
}

#[test]
fn a_change_within_the_same_tick_is_found_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut contents = much_later();
    contents.update(&path);
    // Of the same length, and perhaps at the same time as far as the file system tells.
    fs::write(&path, "two").unwrap();
    assert!(contents.differs(&path));
    assert_eq!(contents.update(&path), from_ref(&path));
    let deadline = now() + TICK * 200;
    while contents.differs(&path) {
        assert!(now() < deadline, "in the end it is certain");
        assert!(contents.update(&path).is_empty());
    }
}

#[test]
fn a_time_that_was_set_back_hides_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut contents = much_later();
    contents.note(&path, contents.started);
    contents.read_ahead(&path);
    fs::write(&path, "two").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    assert!(contents.differs(&path));
    assert_eq!(contents.update(&path), from_ref(&path));
}
