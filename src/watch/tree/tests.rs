use notify::{Config, Error, EventHandler, RecursiveMode, Result, Watcher, WatcherKind};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::watch::WatchSpec;

/// An event source that allows only this many watches.
#[derive(Debug)]
struct Limited(usize);

impl Watcher for Limited {
    fn new<F: EventHandler>(_: F, _: Config) -> Result<Self> {
        Ok(Self(0))
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> Result<()> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or_else(|| Error::new(ErrorKind::MaxFilesWatch))?;
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) -> Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

fn tree(watches: usize) -> (WatchTree, UnboundedReceiver<WatchMessage>) {
    let (messages, received) = unbounded_channel();
    let source: EventSource = Box::new(Limited(watches));
    (
        WatchTree::new(Some(source), Poll::IfNeeded, messages),
        received,
    )
}

fn spec(dir: &TempDir) -> WatchSpec {
    WatchSpec {
        roots: vec![dir.path().to_owned()],
        ..WatchSpec::default()
    }
}

#[test]
fn hc06_directories_beyond_the_limit_are_polled_and_the_limit_is_reported_once() {
    let dir = TempDir::new().unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("x"), "").unwrap();
    }
    let (mut tree, mut messages) = tree(2);
    let files = tree.cover(&mut Filter::new(&spec(&dir)).unwrap());
    assert_eq!(files.len(), 4, "all files are found");
    assert_eq!((tree.watched.len(), tree.polled.dirs.len()), (2, 3));
    tree.cover(&mut Filter::new(&spec(&dir)).unwrap());
    let Ok(WatchMessage::Trouble { text, hint }) = messages.try_recv() else {
        panic!("the limit was not reported")
    };
    assert!(text.contains("only 2 watched directories"));
    assert!(hint.contains("fs.inotify.max_user_watches"));
    assert!(messages.is_empty());
}

#[test]
fn a_directory_is_forgotten_with_everything_below_it() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir_all(dir.path().join("ab")).unwrap();
    let (mut tree, _messages) = tree(9);
    tree.cover(&mut Filter::new(&spec(&dir)).unwrap());
    assert_eq!(tree.watched.len(), 4);
    tree.forget(&dir.path().join("a"));
    assert_eq!(tree.watched.len(), 2);
    fs::remove_dir(dir.path().join("ab")).unwrap();
    tree.forget_gone();
    assert_eq!(tree.watched.len(), 1);
}
