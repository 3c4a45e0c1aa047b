use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, Watcher};
use tokio::sync::mpsc::UnboundedSender;

use super::contents::{Contents, now};
use super::settle::Settle;
use super::tree::Tree;
use super::{Filter, Message, Trouble, WatchSpec};

/// What the thread waits for.
#[derive(Debug)]
pub(super) enum Input {
    /// The system's.
    Event(notify::Result<Event>),
    /// The watch was dropped.
    Stop,
}

/// What there is to do next.
enum Next {
    Event(Event),
    Error(notify::Error),
    Nothing,
    Stop,
}

/// The thread that watches.
pub(super) struct Worker {
    spec: WatchSpec,
    filter: Filter,
    tree: Tree,
    contents: Contents,
    settle: Settle,
    /// What is still to be read ahead, in reverse order.
    unread: Vec<PathBuf>,
    messages: UnboundedSender<Message>,
}

impl Worker {
    pub(super) fn new(
        spec: WatchSpec,
        filter: Filter,
        watcher: Box<dyn Watcher + Send>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        Self {
            filter,
            tree: Tree::new(watcher),
            contents: Contents::new(),
            settle: Settle::new(spec.debounce),
            unread: Vec::new(),
            messages,
            spec,
        }
    }

    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        self.cover(self.contents.started());
        self.tell(Message::Watching {
            dirs: self.tree.len(),
            files: self.contents.len(),
        });
        loop {
            match self.next(inputs) {
                Next::Event(event) => self.event(&event),
                Next::Error(error) => self.tell(Message::Trouble(trouble(&error))),
                Next::Nothing => {}
                Next::Stop => return,
            }
            if self.messages.is_closed() {
                return;
            }
            self.flush();
        }
    }

    /// Waits for an event, or for the time at which something has settled. As long as there are files to read
    /// ahead, one is read and nothing is waited for.
    fn next(&mut self, inputs: &Receiver<Input>) -> Next {
        let received = if let Some(file) = self.unread.pop() {
            self.contents.read_ahead(&file);
            inputs
                .try_recv()
                .map_err(|error| error == TryRecvError::Disconnected)
        } else if let Some(deadline) = self.settle.deadline() {
            let wait = deadline.saturating_duration_since(Instant::now());
            inputs
                .recv_timeout(wait)
                .map_err(|error| error == RecvTimeoutError::Disconnected)
        } else {
            inputs.recv().map_err(|RecvError| true)
        };
        match received {
            Ok(Input::Event(Ok(event))) => Next::Event(event),
            Ok(Input::Event(Err(error))) => Next::Error(error),
            Ok(Input::Stop) | Err(true) => Next::Stop,
            Err(false) => Next::Nothing,
        }
    }

    fn event(&mut self, event: &Event) {
        if event.need_rescan() {
            return self.rescan();
        }
        if !may_change_content(event.kind) {
            return;
        }
        for path in &event.paths {
            self.heard_of(path);
        }
    }

    /// Something happened at `path`. What, is looked at now only as far as directories are concerned: they
    /// have to be watched before more happens in them.
    fn heard_of(&mut self, path: &Path) {
        match path.symlink_metadata() {
            // A symbolic link is not followed: what it leads to is watched where it is, or not at all.
            Ok(metadata) if metadata.is_dir() => self.dir_appeared(path),
            Ok(_) if self.counts(path) => self.settle.touch(path.to_owned(), Instant::now()),
            Ok(_) => {}
            Err(_) => self.gone(path),
        }
    }

    fn counts(&mut self, path: &Path) -> bool {
        self.filter.file(path) || self.filter.is_outdated_by(path)
    }

    fn dir_appeared(&mut self, path: &Path) {
        let mut files = Vec::new();
        if self.is_at_root(path) {
            self.renew_filter();
            files = self.tree.cover(&mut self.filter);
        } else {
            self.tree.grow(path, &mut self.filter, &mut files);
        }
        self.tell_troubles();
        for file in files {
            self.settle.touch(file, Instant::now());
        }
    }

    /// A file or a directory is gone; which of the two, nobody can say any more.
    fn gone(&mut self, path: &Path) {
        if self.counts(path) || self.filter.dir(path) {
            self.settle.touch(path.to_owned(), Instant::now());
        }
        self.tree.lost(path);
        if !self.is_at_root(path) {
            return;
        }
        for root in self.spec.roots.clone() {
            self.tree.anchor(&root);
        }
        // It may have come back before it was waited for.
        if path.is_dir() {
            self.dir_appeared(path);
        }
    }

    /// Whether `path` is a root, or a root is below it.
    fn is_at_root(&self, path: &Path) -> bool {
        self.spec.roots.iter().any(|root| root.starts_with(path))
    }

    fn renew_filter(&mut self) {
        // The patterns are those that were accepted at the start.
        if let Ok(filter) = Filter::new(&self.spec) {
            self.filter = filter;
        }
    }

    /// Watches anew by the ignore files as they are now. What is found was there, and ignored.
    fn ignore_files_changed(&mut self) {
        self.renew_filter();
        self.cover(now());
    }

    /// Watches all that passes the filter. A file that is not known yet is a change only if it has changed
    /// since `since`.
    fn cover(&mut self, since: Duration) {
        for file in self.tree.cover(&mut self.filter) {
            if self.contents.note(&file, since) {
                self.settle.touch(file, Instant::now());
            }
        }
        self.unread = self.contents.unread();
        self.unread.reverse();
        self.tell_troubles();
    }

    /// The system has dropped events: compare everything with what is known.
    fn rescan(&mut self) {
        let mut paths: BTreeSet<PathBuf> = self.tree.cover(&mut self.filter).into_iter().collect();
        paths.extend(self.contents.paths().cloned());
        let mut changed = BTreeSet::new();
        for path in paths {
            changed.extend(self.contents.rescan(&path));
        }
        self.tell_troubles();
        self.tell(Message::Trouble(Trouble::Overflow));
        self.tell_changed(changed);
    }

    /// Tells what has settled, if its content is another.
    fn flush(&mut self) {
        let Some(paths) = self.settle.take(Instant::now()) else {
            return;
        };
        if paths.iter().any(|path| self.filter.is_outdated_by(path)) {
            self.ignore_files_changed();
        }
        let mut changed = BTreeSet::new();
        for path in paths {
            // What does not count by itself is here because it was a directory, perhaps.
            let counts = self.filter.file(&path);
            changed.extend(if counts {
                self.contents.update(&path)
            } else {
                self.contents.forget_gone(&path)
            });
        }
        self.tell_changed(changed);
    }

    fn tell_changed(&self, changed: BTreeSet<PathBuf>) {
        if !changed.is_empty() {
            self.tell(Message::Changed(changed.into_iter().collect()));
        }
    }

    fn tell_troubles(&mut self) {
        for trouble in self.tree.troubles() {
            self.tell(Message::Trouble(trouble));
        }
    }

    fn tell(&self, message: Message) {
        // Nobody listens any more: the next turn of the loop ends it.
        let _ = self.messages.send(message);
    }
}

/// Reading, and a change of mode or time, leave the content as it is. The end of writing counts: a file that
/// is written through a memory map gives no other event.
fn may_change_content(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

fn trouble(error: &notify::Error) -> Trouble {
    Trouble::Backend {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
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
        let Some(Message::Changed(changed)) = told.blocking_recv() else {
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
        assert!(matches!(told.blocking_recv(), Some(Message::Changed(paths)) if paths == [path]));
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
}
