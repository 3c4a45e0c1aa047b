//! Tests a worker that gets its file events from the test.

use std::fs;
use std::sync::mpsc as std_mpsc;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::watch::spec::{InputSet, Poll};
use notify::NullWatcher;

mod touched;
mod updates;

fn start(
    root: &Path,
) -> (
    std_mpsc::Sender<WatchInput>,
    UnboundedReceiver<WatchMessage>,
) {
    start_with(&WatchSpec {
        roots: vec![root.to_owned()],
        ..WatchSpec::default()
    })
}

fn start_with(
    spec: &WatchSpec,
) -> (
    std_mpsc::Sender<WatchInput>,
    UnboundedReceiver<WatchMessage>,
) {
    let (messages, reports) = mpsc::unbounded_channel();
    let (inputs, received) = std_mpsc::channel();
    let source: EventSource = Box::new(NullWatcher);
    let worker = WatchWorker::new(
        spec.clone(),
        Some(source),
        received,
        messages,
        WriteCalls::default(),
    );
    let worker = worker.unwrap();
    std::thread::spawn(move || worker.run());
    (inputs, reports)
}

/// The paths of the reported changes.
#[track_caller]
fn changed(message: Option<WatchMessage>) -> Vec<PathBuf> {
    match message {
        Some(WatchMessage::Changed { changes, .. }) => {
            changes.into_iter().map(|change| change.path).collect()
        }
        None | Some(WatchMessage::NoEffect { .. }) => Vec::new(),
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn hc05_an_overflow_makes_hotrun_compare_all_files() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("sub/changed"), "one").unwrap();
    fs::write(path("gone"), "").unwrap();
    let (inputs, mut reports) = start(dir.path());
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Watching { dirs: 2 })
    ));
    fs::write(path("sub/changed"), "two").unwrap();
    fs::create_dir(path("new")).unwrap();
    fs::write(path("new/file"), "").unwrap();
    fs::remove_file(path("gone")).unwrap();
    // The system may drop events more than once.
    for _ in 0..2 {
        inputs.send(WatchInput::Fs(FsEvent::Overflow)).unwrap();
    }
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Trouble { text, .. }) if text.contains("dropped events")
    ));
    assert_eq!(
        changed(reports.blocking_recv()),
        [path("gone"), path("new/file"), path("sub/changed")]
    );
}

#[test]
fn hotrun_polls_when_file_events_stop() {
    let dir = TempDir::new().unwrap();
    let (inputs, mut reports) = start(dir.path());
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Watching { dirs: 1 })
    ));
    let reason = "odd".to_owned();
    inputs
        .send(WatchInput::Fs(FsEvent::Failed(reason)))
        .unwrap();
    assert!(matches!(
        reports.blocking_recv(),
        Some(WatchMessage::Trouble { text, .. }) if text.contains("sends no file events (odd)")
    ));
    let path = dir.path().join("new");
    fs::write(&path, "").unwrap();
    assert_eq!(changed(reports.blocking_recv()), [path]);
    drop(inputs);
    assert!(
        reports.blocking_recv().is_none(),
        "the thread ends when the watch is dropped"
    );
}

/// Waits until the clock for file timestamps has moved on.
fn age() {
    let end = Instant::now() + Duration::from_millis(30);
    while Instant::now() < end {
        std::thread::yield_now();
    }
}

fn worker(spec: &WatchSpec) -> (WatchWorker, UnboundedReceiver<WatchMessage>) {
    let (messages, reports) = mpsc::unbounded_channel();
    let source: Option<EventSource> = match spec.poll {
        Poll::IfNeeded => Some(Box::new(NullWatcher)),
        Poll::Always | Poll::Every(_) => None,
    };
    let (_, inputs) = std_mpsc::channel();
    let worker = WatchWorker::new(
        spec.clone(),
        source,
        inputs,
        messages,
        WriteCalls::default(),
    );
    let mut worker = worker.unwrap();
    worker.cover(worker.snapshot.started);
    (worker, reports)
}

#[test]
fn hc11_a_polled_directory_above_a_root_is_not_reported_in_every_scan() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("crates/app/src")).unwrap();
    for name in ["Cargo.toml", "crates/app/src/main.rs"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let (mut worker, _reports) = worker(&WatchSpec {
        roots: vec![root.join("crates/app"), root.join("Cargo.toml")],
        poll: Poll::Always,
        ..WatchSpec::default()
    });
    let mut scan = || {
        for dir in worker.tree.polled.dirs.clone() {
            worker.scan(&dir);
        }
        let due = worker.debounce.deadline()?;
        let batch = worker.debounce.take(due, |_| false);
        batch.map(|(paths, _)| paths)
    };
    scan();
    assert_eq!(scan(), None, "nothing has changed since the last scan");
    fs::create_dir_all(root.join("crates/app/new")).unwrap();
    fs::write(root.join("crates/app/new/x"), "").unwrap();
    assert_eq!(scan(), Some(vec![root.join("crates/app/new/x")]));
}

/// Waits until the quiet period is over, and returns the reported changes.
fn settled(
    worker: &mut WatchWorker,
    reports: &mut UnboundedReceiver<WatchMessage>,
) -> Vec<PathBuf> {
    while let Some(deadline) = worker.debounce.deadline() {
        while Instant::now() < deadline {
            std::thread::yield_now();
        }
        worker.flush();
    }
    changed(reports.try_recv().ok())
}

#[test]
fn hc03_a_git_lock_does_not_delay_a_change_for_long_if_nothing_else_happens() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    // `git commit` holds the lock while its editor is open.
    fs::write(root.join(".git/index.lock"), "").unwrap();
    let (mut worker, mut reports) = worker(&WatchSpec {
        roots: vec![root.clone()],
        ..WatchSpec::default()
    });
    let (began, path) = (Instant::now(), root.join("saved"));
    fs::write(&path, "").unwrap();
    worker.touched(&path, FileState::Complete);
    assert_eq!(settled(&mut worker, &mut reports), [path]);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "did not wait: {took:?}");
    assert!(took < Duration::from_secs(10), "waited too long: {took:?}");
}

#[test]
fn hc11_a_removed_directory_is_no_longer_polled_unless_it_is_a_root() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app/sub")).unwrap();
    let (mut worker, _reports) = worker(&WatchSpec {
        roots: vec![root.join("app")],
        poll: Poll::Always,
        ..WatchSpec::default()
    });
    let scan = |worker: &mut WatchWorker| {
        for dir in worker.tree.polled.dirs.clone() {
            worker.scan(&dir);
        }
        Vec::from_iter(worker.tree.polled.dirs.clone())
    };
    assert_eq!(scan(&mut worker), [root.join("app"), root.join("app/sub")]);
    fs::remove_dir_all(root.join("app")).unwrap();
    assert_eq!(scan(&mut worker), [root.join("app")]);
    fs::create_dir_all(root.join("app/sub")).unwrap();
    assert_eq!(scan(&mut worker), [root.join("app"), root.join("app/sub")]);
}

#[test]
fn a_file_that_appears_together_with_an_ignore_file_counts() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    fs::create_dir_all(root.join("new")).unwrap();
    for name in ["new/x", "app/y"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let app = root.join("app");
    let (mut worker, mut reports) = worker(&WatchSpec {
        roots: vec![app.clone()],
        ..WatchSpec::default()
    });
    age();
    fs::rename(root.join("new"), app.join("new")).unwrap();
    fs::write(app.join(".gitignore"), "z\n").unwrap();
    for name in ["new", ".gitignore"] {
        worker.touched(&app.join(name), FileState::Complete);
    }
    let expected = [".gitignore", "new/x"].map(|name| app.join(name));
    assert_eq!(settled(&mut worker, &mut reports), expected);
}
