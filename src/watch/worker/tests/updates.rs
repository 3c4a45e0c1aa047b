//! Tests updates to the watch after builds.

use std::time::SystemTime;

use super::*;
use crate::watch::rule::{ChangeRule, RuleAction};

/// The spec after a good build with these inputs.
fn spec_of(root: &Path, files: &[&str]) -> WatchSpec {
    let files = files.iter().map(|name| root.join(name)).collect();
    let inputs = InputSet {
        files,
        ..InputSet::default()
    };
    WatchSpec {
        roots: vec![root.to_owned()],
        inputs: Some(inputs),
        ..WatchSpec::default()
    }
}

/// The update after a failed build that began at `since`.
fn failed(root: &Path, since: SystemTime) -> WatchUpdate {
    WatchUpdate {
        roots: vec![root.to_owned()],
        ignored_dirs: Vec::new(),
        inputs: None,
        since,
    }
}

#[test]
fn an_input_removed_during_the_build_is_reported() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let spec = WatchSpec {
        roots: vec![root.clone()],
        inputs: Some(InputSet::default()),
        ..WatchSpec::default()
    };
    let (inputs, mut reports) = start_with(&spec);
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Watching { .. })
    ));
    // The file appears after the start, and turns out to be an input.
    let (path, since) = (root.join("read.rs"), SystemTime::now());
    let event = || WatchInput::Fs(FsEvent::Touched(path.clone(), FileState::Unknown));
    inputs.send(WatchInput::Build(since)).unwrap();
    fs::write(&path, "").unwrap();
    inputs.send(event()).unwrap();
    fs::remove_file(&path).unwrap();
    inputs.send(event()).unwrap();
    let files = [path.clone()].into();
    let named = InputSet {
        files,
        ..InputSet::default()
    };
    let update = WatchUpdate {
        roots: spec.roots,
        ignored_dirs: Vec::new(),
        inputs: Some(named),
        since,
    };
    inputs.send(WatchInput::Update(update)).unwrap();
    assert_eq!(changed(reports.blocking_recv()), [path]);
}

#[test]
fn the_removal_of_the_directory_of_a_missing_file_is_reported() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (empty, manifest) = (root.join("crates/new"), root.join("crates/new/Cargo.toml"));
    fs::create_dir_all(&empty).unwrap();
    let (inputs, mut reports) = start_with(&WatchSpec {
        roots: vec![empty.clone(), manifest.clone()],
        ..WatchSpec::default()
    });
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Watching { .. })
    ));
    fs::remove_dir(&empty).unwrap();
    let event = FsEvent::Touched(empty, FileState::Unknown);
    inputs.send(WatchInput::Fs(event)).unwrap();
    assert_eq!(changed(reports.blocking_recv()), [manifest]);
}

#[test]
fn hc09_a_directory_added_during_a_failed_build_counts_afterwards() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app/src")).unwrap();
    fs::create_dir_all(root.join("new")).unwrap();
    for name in ["app/src/main.rs", "new/mod.rs"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let app = root.join("app");
    let (mut worker, mut reports) = worker(&spec_of(&app, &["src/main.rs"]));
    let since = SystemTime::now();
    worker.build_begins(since);
    fs::rename(root.join("new"), app.join("src/new")).unwrap();
    worker.touched(&app.join("src/new"), FileState::Complete);
    assert!(
        settled(&mut worker, &mut reports).is_empty(),
        "the directory does not count yet"
    );
    worker.update(failed(&app, since));
    let expected = [app.join("src/new/mod.rs")];
    assert_eq!(settled(&mut worker, &mut reports), expected);
}

#[test]
fn hc09_a_file_that_changed_back_during_a_failed_build_is_reported() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let path = root.join("data");
    fs::write(&path, "one").unwrap();
    age();
    let (mut worker, mut reports) = worker(&spec_of(&root, &["main.rs"]));
    while let Some(file) = worker.unread.pop() {
        worker.snapshot.read_ahead(&file);
    }
    let since = SystemTime::now();
    worker.build_begins(since);
    for text in ["two", "one"] {
        fs::write(&path, text).unwrap();
        worker.touched(&path, FileState::Complete);
    }
    worker.update(failed(&root, since));
    assert_eq!(settled(&mut worker, &mut reports), [path]);
}

#[test]
fn events_for_files_that_do_not_count_are_remembered_only_during_a_build() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (mut worker, _reports) = worker(&spec_of(&root, &["main.rs"]));
    let upload = |worker: &mut WatchWorker, name: &str| {
        fs::write(root.join(name), "").unwrap();
        worker.touched(&root.join(name), FileState::Complete);
        worker.uncounted.len()
    };
    assert_eq!(upload(&mut worker, "a"), 0);
    let first = SystemTime::now();
    worker.build_begins(first);
    assert_eq!(upload(&mut worker, "b"), 1);
    let second = SystemTime::now();
    worker.build_begins(second);
    assert_eq!(
        upload(&mut worker, "c"),
        1,
        "the second build reads `b` as it is now"
    );
    let update = |since| {
        let inputs = spec_of(&root, &["main.rs"]).inputs;
        WatchUpdate {
            inputs,
            ..failed(&root, since)
        }
    };
    worker.update(update(first));
    assert_eq!(upload(&mut worker, "d"), 2);
    worker.update(update(second));
    assert_eq!(upload(&mut worker, "e"), 0);
}

#[test]
fn hc09_saving_a_new_input_with_the_same_contents_is_not_a_change() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    let (mut worker, mut reports) = worker(&spec_of(&root.join("app"), &[]));
    age();
    fs::create_dir(root.join("added")).unwrap();
    let path = root.join("added/lib.rs");
    fs::write(&path, "one").unwrap();
    age();
    let since = SystemTime::now();
    worker.build_begins(since);
    worker.update(WatchUpdate {
        inputs: spec_of(&root, &["added/lib.rs"]).inputs,
        ..failed(&root, since)
    });
    while let Some(file) = worker.unread.pop() {
        worker.snapshot.read_ahead(&file);
    }
    for (text, expected) in [("one", &[][..]), ("two", std::slice::from_ref(&path))] {
        fs::write(&path, text).unwrap();
        worker.touched(&path, FileState::Complete);
        assert_eq!(settled(&mut worker, &mut reports), expected, "{text}");
    }
}

#[test]
fn a_saved_file_that_no_build_has_read_is_reported_unless_it_is_new_hidden_ignored_or_ruled() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for name in ["read.rs", "conf.toml", ".hidden", "x.log", "ruled", "x~"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let spec = WatchSpec {
        base: root.clone(),
        ignores: vec!["*.log".into()],
        rules: vec![ChangeRule::file(root.join("ruled"), RuleAction::Ignore)],
        ..spec_of(&root, &["read.rs"])
    };
    let (mut worker, mut reports) = worker(&spec);
    age();
    let mut saved = |worker: &mut WatchWorker, name: &str, state: FileState| {
        fs::write(root.join(name), "new").unwrap();
        worker.touched(&root.join(name), state);
        matches!(
            reports.try_recv(),
            Ok(WatchMessage::NoEffect { path, is_input: false, .. }) if path == root.join(name)
        )
    };
    assert!(!saved(&mut worker, "conf.toml", FileState::Writing));
    assert!(saved(&mut worker, "conf.toml", FileState::Complete));
    for name in ["new.toml", "read.rs", ".hidden", "x.log", "ruled", "x~"] {
        assert!(!saved(&mut worker, name, FileState::Complete), "{name}");
    }
    worker.build_begins(SystemTime::now());
    assert!(
        !saved(&mut worker, "conf.toml", FileState::Complete),
        "the build may read the file"
    );
}
