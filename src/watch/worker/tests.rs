//! A worker whose system is played by the test.

use std::fs;
use std::sync::mpsc as std_mpsc;

use notify::event::Flag;
use notify::{Config, NullWatcher};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;

/// A worker whose system never tells anything by itself.
fn deaf(root: &Path) -> (std_mpsc::Sender<Input>, UnboundedReceiver<Message>) {
    let spec = WatchSpec {
        roots: vec![root.to_owned()],
        ..WatchSpec::default()
    };
    let watcher = NullWatcher::new(|_| {}, Config::default()).unwrap();
    let (messages, told) = mpsc::unbounded_channel();
    let (inputs, received) = std_mpsc::channel();
    let filter = Filter::new(&spec).unwrap();
    let worker = Worker::new(spec, filter, Box::new(watcher), messages);
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
    let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    inputs.send(Input::Event(Ok(overflow))).unwrap();
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
fn an_error_of_the_system_is_told_and_the_watch_goes_on() {
    let dir = TempDir::new().unwrap();
    let (inputs, mut told) = deaf(dir.path());
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Watching { .. })
    ));
    inputs
        .send(Input::Event(Err(notify::Error::generic("odd"))))
        .unwrap();
    assert!(matches!(
        told.blocking_recv(),
        Some(Message::Trouble(Trouble::Backend { .. }))
    ));
    let path = dir.path().join("new");
    fs::write(&path, "").unwrap();
    let created = Event::new(EventKind::Any).add_path(path.clone());
    inputs.send(Input::Event(Ok(created))).unwrap();
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
fn reading_and_modes_are_no_changes() {
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};
    for (kind, expected) in [
        (EventKind::Access(AccessKind::Read), false),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            false,
        ),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            true,
        ),
        (
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            false,
        ),
        (EventKind::Modify(ModifyKind::Data(DataChange::Any)), true),
        (EventKind::Create(CreateKind::File), true),
        (EventKind::Remove(RemoveKind::Any), true),
    ] {
        assert_eq!(may_change_content(kind), expected, "{kind:?}");
    }
}
