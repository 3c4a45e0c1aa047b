//! A worker whose system is played by the test.

use std::fs;
use std::sync::mpsc as std_mpsc;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::watch::{Exact, Poll};

/// A system that takes everything and never tells anything by itself.
struct Deaf;

impl System for Deaf {
    fn watch(&mut self, _: &Path) -> std::io::Result<bool> {
        Ok(false)
    }

    fn unwatch(&mut self, _: &Path) {}

    fn has_more(&self) -> bool {
        false
    }
}

fn deaf(root: &Path) -> (std_mpsc::Sender<Input>, UnboundedReceiver<Message>) {
    deaf_to(&WatchSpec {
        roots: vec![root.to_owned()],
        ..WatchSpec::default()
    })
}

fn deaf_to(spec: &WatchSpec) -> (std_mpsc::Sender<Input>, UnboundedReceiver<Message>) {
    let (messages, told) = mpsc::unbounded_channel();
    let (inputs, received) = std_mpsc::channel();
    let filter = Filter::new(spec).unwrap();
    let worker = Worker::new(spec.clone(), filter, Some(Box::new(Deaf)), messages);
    std::thread::spawn(move || worker.run(&received));
    (inputs, told)
}

#[test]
fn hc05_after_an_overflow_everything_is_compared() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("sub/changed"), "one").unwrap();
    fs::write(path("gone"), "").unwrap();
    let (inputs, mut told) = deaf(dir.path());
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Watching { dirs: 2, files: 2 })
    ));
    fs::write(path("sub/changed"), "two").unwrap();
    fs::create_dir(path("new")).unwrap();
    fs::write(path("new/file"), "").unwrap();
    fs::remove_file(path("gone")).unwrap();
    // It may drop them more than once before there is an end to it.
    let overflow = vec![Told::Overflow, Told::Overflow];
    inputs.send(Input::Told(overflow)).unwrap();
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Trouble(Trouble::Overflow))
    ));
    let Some(Message::Changed { paths: changed, .. }) = told.blocking_recv() else {
        panic!("no change")
    };
    assert_eq!(
        changed,
        [path("gone"), path("new/file"), path("sub/changed")]
    );
}

#[test]
fn when_the_system_tells_nothing_any_more_changes_are_looked_for() {
    let dir = TempDir::new().unwrap();
    let (inputs, mut told) = deaf(dir.path());
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Watching { dirs: 1, .. })
    ));
    let reason = "odd".to_owned();
    inputs.send(Input::Told(vec![Told::Deaf(reason)])).unwrap();
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Trouble(Trouble::NoWatch { limited: false, .. }))
    ));
    let path = dir.path().join("new");
    fs::write(&path, "").unwrap();
    assert!(
        matches!(told.blocking_recv(), Some(Message::Changed { paths, .. }) if paths == [path])
    );
    drop(inputs);
    assert!(
        told.blocking_recv().is_none(),
        "the thread ends with the watch"
    );
}

#[test]
fn what_the_build_has_read_and_is_gone_since_is_told() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let spec = WatchSpec {
        roots: vec![root.clone()],
        exact: Some(Exact::default()),
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
    let exact = Exact {
        files,
        ..Exact::default()
    };
    let revision = Revision {
        roots: spec.roots,
        ignored_dirs: Vec::new(),
        exact: Some(exact),
        since,
    };
    inputs.send(Input::Revise(revision)).unwrap();
    assert!(
        matches!(told.blocking_recv(), Some(Message::Changed { paths, .. }) if paths == [path])
    );
}

/// Waits until what was just written is older than the kernel's clock is coarse.
fn age() {
    let end = Instant::now() + Duration::from_millis(30);
    while Instant::now() < end {
        std::thread::yield_now();
    }
}

fn worker(spec: &WatchSpec) -> (Worker, UnboundedReceiver<Message>) {
    let (messages, told) = mpsc::unbounded_channel();
    let system: Option<Box<dyn System>> = match spec.poll {
        Poll::IfNeeded => Some(Box::new(Deaf)),
        Poll::Always | Poll::Every(_) => None,
    };
    let filter = Filter::new(spec).unwrap();
    let mut worker = Worker::new(spec.clone(), filter, system, messages);
    worker.cover(worker.contents.started());
    (worker, told)
}

#[test]
fn hc11_a_folder_on_the_way_to_a_root_appears_only_once() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("crates/app/src")).unwrap();
    for name in ["Cargo.toml", "crates/app/src/main.rs"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let (mut worker, _told) = worker(&WatchSpec {
        roots: vec![root.join("crates/app"), root.join("Cargo.toml")],
        poll: Poll::Always,
        ..WatchSpec::default()
    });
    let mut look = || {
        for dir in worker.tree.polled.dirs() {
            worker.look_into(&dir);
        }
        let touched = worker.settle.deadline();
        touched.map(|settled| worker.settle.take(settled))
    };
    look();
    assert_eq!(look(), None, "nothing has happened");
    fs::create_dir_all(root.join("crates/app/new")).unwrap();
    fs::write(root.join("crates/app/new/x"), "").unwrap();
    assert_eq!(look(), Some(Some(vec![root.join("crates/app/new/x")])));
}

/// With what the last good build named, which is this.
fn exact(root: &Path, files: &[&str]) -> WatchSpec {
    let files = files.iter().map(|name| root.join(name)).collect();
    let exact = Exact {
        files,
        ..Exact::default()
    };
    WatchSpec {
        roots: vec![root.to_owned()],
        exact: Some(exact),
        ..WatchSpec::default()
    }
}

/// A build that began then has failed.
fn failed(root: &Path, since: SystemTime) -> Revision {
    Revision {
        roots: vec![root.to_owned()],
        ignored_dirs: Vec::new(),
        exact: None,
        since,
    }
}

fn happened(path: &Path) -> Told {
    Told::Happened(path.to_owned(), How::Whole)
}

/// What is told when all has settled.
fn settled(worker: &mut Worker, told: &mut UnboundedReceiver<Message>) -> Vec<PathBuf> {
    while let Some(deadline) = worker.settle.deadline() {
        while Instant::now() < deadline {
            std::thread::yield_now();
        }
        worker.flush();
    }
    match told.try_recv() {
        Ok(Message::Changed { paths, .. }) => paths,
        Ok(other) => panic!("{other:?}"),
        Err(_) => Vec::new(),
    }
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
    worker.revise(failed(&app, since));
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
        worker.contents.read_ahead(&file);
    }
    let since = SystemTime::now();
    worker.build_begins(since_1970(since));
    for text in ["two", "one"] {
        fs::write(&path, text).unwrap();
        worker.told(happened(&path));
    }
    worker.revise(failed(&root, since));
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
        Revision {
            exact,
            ..failed(&root, since)
        }
    };
    worker.revise(revision(first));
    assert_eq!(upload(&mut worker, "d"), 2);
    worker.revise(revision(second));
    assert_eq!(upload(&mut worker, "e"), 0);
}

#[test]
fn hc03_a_lock_of_git_holds_nothing_back_while_nothing_happens() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    // `git commit` holds it as long as its editor is open.
    fs::write(root.join(".git/index.lock"), "").unwrap();
    let (mut worker, mut told) = worker(&WatchSpec {
        roots: vec![root.clone()],
        ..WatchSpec::default()
    });
    let (began, path) = (Instant::now(), root.join("saved"));
    fs::write(&path, "").unwrap();
    worker.told(happened(&path));
    assert_eq!(settled(&mut worker, &mut told), [path]);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "more may come: {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn hc11_a_polled_folder_that_is_gone_is_looked_into_no_more_unless_it_is_a_root() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app/sub")).unwrap();
    let (mut worker, _told) = worker(&WatchSpec {
        roots: vec![root.join("app")],
        poll: Poll::Always,
        ..WatchSpec::default()
    });
    let look = |worker: &mut Worker| {
        for dir in worker.tree.polled.dirs() {
            worker.look_into(&dir);
        }
        worker.tree.polled.dirs()
    };
    assert_eq!(look(&mut worker), [root.join("app"), root.join("app/sub")]);
    fs::remove_dir_all(root.join("app")).unwrap();
    assert_eq!(look(&mut worker), [root.join("app")]);
    fs::create_dir_all(root.join("app/sub")).unwrap();
    assert_eq!(look(&mut worker), [root.join("app"), root.join("app/sub")]);
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
    worker.revise(Revision {
        exact: exact(&root, &["added/lib.rs"]).exact,
        ..failed(&root, since)
    });
    while let Some(file) = worker.unread.pop() {
        worker.contents.read_ahead(&file);
    }
    for (text, expected) in [("one", &[][..]), ("two", std::slice::from_ref(&path))] {
        fs::write(&path, text).unwrap();
        worker.told(happened(&path));
        assert_eq!(settled(&mut worker, &mut told), expected, "{text}");
    }
}
