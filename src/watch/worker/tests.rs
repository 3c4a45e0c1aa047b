//! A worker whose system is played by the test.

use std::fs;
use std::sync::mpsc as std_mpsc;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::watch::{InputSet, Poll};

mod updates;

/// A system that takes everything and never tells anything by itself.
struct Deaf;

impl System for Deaf {
    fn is_another(&mut self, dir: &Path) -> bool {
        self.watch(dir).unwrap_or(false)
    }

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
    worker.cover(worker.snapshot.started());
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
        let touched = worker.debounce.deadline();
        touched.map(|settled| worker.debounce.take(settled))
    };
    look();
    assert_eq!(look(), None, "nothing has happened");
    fs::create_dir_all(root.join("crates/app/new")).unwrap();
    fs::write(root.join("crates/app/new/x"), "").unwrap();
    assert_eq!(look(), Some(Some(vec![root.join("crates/app/new/x")])));
}

fn happened(path: &Path) -> Told {
    Told::Happened(path.to_owned(), How::Whole)
}

/// What is told when all has settled.
fn settled(worker: &mut Worker, told: &mut UnboundedReceiver<Message>) -> Vec<PathBuf> {
    while let Some(deadline) = worker.debounce.deadline() {
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
fn what_comes_along_with_another_ignore_file_counts() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    fs::create_dir_all(root.join("new")).unwrap();
    for name in ["new/x", "app/y"] {
        fs::write(root.join(name), "").unwrap();
    }
    age();
    let app = root.join("app");
    let (mut worker, mut told) = worker(&WatchSpec {
        roots: vec![app.clone()],
        ..WatchSpec::default()
    });
    age();
    fs::rename(root.join("new"), app.join("new")).unwrap();
    fs::write(app.join(".gitignore"), "z\n").unwrap();
    for name in ["new", ".gitignore"] {
        worker.told(happened(&app.join(name)));
    }
    let expected = [".gitignore", "new/x"].map(|name| app.join(name));
    assert_eq!(settled(&mut worker, &mut told), expected);
}
