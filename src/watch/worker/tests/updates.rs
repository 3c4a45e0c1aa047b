//! What builds teach, and what they may have read.

use std::time::SystemTime;

use super::*;

/// With what the last good build named, which is this.
fn exact(root: &Path, files: &[&str]) -> WatchSpec {
    let files = files.iter().map(|name| root.join(name)).collect();
    let exact = InputSet {
        files,
        ..InputSet::default()
    };
    WatchSpec {
        roots: vec![root.to_owned()],
        exact: Some(exact),
        ..WatchSpec::default()
    }
}

/// A build that began then has failed.
fn failed(root: &Path, since: SystemTime) -> WatchUpdate {
    WatchUpdate {
        roots: vec![root.to_owned()],
        ignored_dirs: Vec::new(),
        exact: None,
        since,
    }
}

#[test]
fn what_the_build_has_read_and_is_gone_since_is_told() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let spec = WatchSpec {
        roots: vec![root.clone()],
        exact: Some(InputSet::default()),
        ..WatchSpec::default()
    };
    let (inputs, mut told) = deaf_to(&spec);
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Watching { files: 0, .. })
    ));
    // It came after the start, and nobody knew that it would count.
    let (path, since) = (root.join("read.rs"), SystemTime::now());
    let happened = || Input::Told(vec![Told::Happened(path.clone(), How::Other)]);
    inputs.send(Input::Build(since)).unwrap();
    fs::write(&path, "").unwrap();
    inputs.send(happened()).unwrap();
    fs::remove_file(&path).unwrap();
    inputs.send(happened()).unwrap();
    let files = [path.clone()].into();
    let exact = InputSet {
        files,
        ..InputSet::default()
    };
    let revision = WatchUpdate {
        roots: spec.roots,
        ignored_dirs: Vec::new(),
        exact: Some(exact),
        since,
    };
    inputs.send(Input::Update(revision)).unwrap();
    assert!(
        matches!(told.blocking_recv(), Some(Message::Changed { paths, .. }) if paths == [path])
    );
}

#[test]
fn hc09_a_folder_that_comes_during_a_build_that_fails_for_want_of_it_counts() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app/src")).unwrap();
    fs::create_dir_all(root.join("new")).unwrap();
    for name in ["app/src/main.rs", "new/mod.rs"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let app = root.join("app");
    let (mut worker, mut told) = worker(&exact(&app, &["src/main.rs"]));
    let since = SystemTime::now();
    worker.build_begins(since_1970(since));
    fs::rename(root.join("new"), app.join("src/new")).unwrap();
    worker.told(happened(&app.join("src/new")));
    assert!(
        settled(&mut worker, &mut told).is_empty(),
        "it does not count"
    );
    worker.update(failed(&app, since));
    let expected = [app.join("src/new/mod.rs")];
    assert_eq!(settled(&mut worker, &mut told), expected);
}

#[test]
fn hc09_what_changed_back_during_a_build_that_may_have_read_it_counts() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let path = root.join("data");
    fs::write(&path, "one").unwrap();
    age();
    let (mut worker, mut told) = worker(&exact(&root, &["main.rs"]));
    while let Some(file) = worker.unread.pop() {
        worker.snapshot.read_ahead(&file);
    }
    let since = SystemTime::now();
    worker.build_begins(since_1970(since));
    for text in ["two", "one"] {
        fs::write(&path, text).unwrap();
        worker.told(happened(&path));
    }
    worker.update(failed(&root, since));
    assert_eq!(settled(&mut worker, &mut told), [path]);
}

#[test]
fn what_does_not_count_is_remembered_only_for_a_build() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (mut worker, _told) = worker(&exact(&root, &["main.rs"]));
    let upload = |worker: &mut Worker, name: &str| {
        fs::write(root.join(name), "").unwrap();
        worker.told(happened(&root.join(name)));
        worker.passed_over.len()
    };
    assert_eq!(upload(&mut worker, "a"), 0);
    let first = SystemTime::now();
    worker.build_begins(since_1970(first));
    assert_eq!(upload(&mut worker, "b"), 1);
    let second = SystemTime::now();
    worker.build_begins(since_1970(second));
    assert_eq!(upload(&mut worker, "c"), 1, "the second reads b as it is");
    let revision = |since| {
        let exact = exact(&root, &["main.rs"]).exact;
        WatchUpdate {
            exact,
            ..failed(&root, since)
        }
    };
    worker.update(revision(first));
    assert_eq!(upload(&mut worker, "d"), 2);
    worker.update(revision(second));
    assert_eq!(upload(&mut worker, "e"), 0);
}

#[test]
fn hc09_a_file_that_counts_since_a_build_and_is_saved_as_it_was_is_no_change() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    let (mut worker, mut told) = worker(&exact(&root.join("app"), &[]));
    age();
    fs::create_dir(root.join("added")).unwrap();
    let path = root.join("added/lib.rs");
    fs::write(&path, "one").unwrap();
    age();
    let since = SystemTime::now();
    worker.build_begins(since_1970(since));
    worker.update(WatchUpdate {
        exact: exact(&root, &["added/lib.rs"]).exact,
        ..failed(&root, since)
    });
    while let Some(file) = worker.unread.pop() {
        worker.snapshot.read_ahead(&file);
    }
    for (text, expected) in [("one", &[][..]), ("two", std::slice::from_ref(&path))] {
        fs::write(&path, text).unwrap();
        worker.told(happened(&path));
        assert_eq!(settled(&mut worker, &mut told), expected, "{text}");
    }
}
