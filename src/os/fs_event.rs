//! File system events, from the `notify` crate.

use std::io;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{
    Config, Event, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher, WatcherKind,
};

/// A source of events for watched directories.
pub type EventSource = Box<dyn Watcher + Send>;

/// An event in a watched directory, or a problem with the event source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsEvent {
    /// Something happened at this path, which may no longer exist.
    Touched(PathBuf, FileState),
    /// The system dropped events: anything may have changed.
    Overflow,
    /// The system sends no more events, for the given reason.
    Failed(String),
}

/// Whether to expect more events for the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// The file was closed after a write, or moved into place as a whole.
    Complete,
    /// The file was written to. Another event follows when the writer closes it.
    Writing,
    /// The file was created, removed or moved away, or the system does not report when files are closed.
    Unknown,
}

/// Passes events to `handler` on a separate thread, which empties the kernel's queue even while the receiver of the
/// events is busy.
///
/// Requests only the events that can change a file's contents. If it also requested opens, a build that reads every
/// source file would fill the queue.
///
/// # Errors
///
/// `EMFILE` if the user has too many inotify instances. Otherwise, the system has no free thread or descriptor.
pub fn source(mut handler: impl FnMut(FsEvent) + Send + 'static) -> notify::Result<EventSource> {
    let kinds = EventKindMask::CREATE
        | EventKindMask::REMOVE
        | EventKindMask::MODIFY_DATA
        | EventKindMask::MODIFY_NAME
        | EventKindMask::ACCESS_CLOSE;
    let config = Config::default()
        .with_follow_symlinks(false)
        .with_event_kinds(kinds);
    let handler = move |event| translate(event).into_iter().for_each(&mut handler);
    let mut source: EventSource = Box::new(RecommendedWatcher::new(handler, config)?);
    // `notify` does not report an error when it cannot start its thread.
    if !deliver_pending(&mut source) {
        // Without that thread, the source's destructor would panic.
        std::mem::forget(source);
        return Err(notify::Error::io(io::ErrorKind::WouldBlock.into()));
    }
    Ok(source)
}

/// Waits until the handler has received all events so far. Events may be pending because the process was suspended. Has
/// no effect with FSEvents. Returns `false` if the source has failed.
pub fn deliver_pending(source: &mut EventSource) -> bool {
    // With inotify, an update makes the thread empty the kernel's queue, but the thread replies before it passes the
    // events on. So the second update waits for the first one's events.
    let mut update = || source.update_paths(Vec::new()).is_ok();
    update() && update()
}

/// Whether `dir` can be watched.
///
/// # Errors
///
/// As for [`source`]. Also fails if the directory cannot be watched.
pub fn probe(dir: &Path) -> notify::Result<()> {
    source(|_| {})?.watch(dir, RecursiveMode::NonRecursive)
}

fn translate(event: notify::Result<Event>) -> Vec<FsEvent> {
    let event = match event {
        Ok(event) if event.need_rescan() => return vec![FsEvent::Overflow],
        Ok(event) => event,
        Err(error) => return vec![FsEvent::Failed(reason(&error))],
    };
    let reports_close = || RecommendedWatcher::kind() == WatcherKind::Inotify;
    let state = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => FileState::Complete,
        EventKind::Modify(ModifyKind::Data(_)) if reports_close() => FileState::Writing,
        // These leave the contents unchanged, or only repeat both halves of a rename.
        EventKind::Access(_)
        | EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both)) => {
            return Vec::new();
        }
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => FileState::Unknown,
    };
    let paths = event.paths.into_iter();
    paths.map(|path| FsEvent::Touched(path, state)).collect()
}

/// Formats the system's error without the path.
pub fn reason(error: &notify::Error) -> String {
    if let notify::ErrorKind::Io(error) = &error.kind {
        return error.to_string();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::sync::mpsc::channel;

    use notify::ErrorKind;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn writes_closes_and_renames_are_reported_but_reads_are_not() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (sender, events) = channel();
        let mut source = source(move |event| drop(sender.send(event))).unwrap();
        source
            .watch(dir.path(), RecursiveMode::NonRecursive)
            .unwrap();
        let mut file = File::create(path("a")).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        fs::read(path("a")).unwrap();
        fs::rename(path("a"), path("b")).unwrap();
        fs::remove_file(path("b")).unwrap();
        assert!(deliver_pending(&mut source));
        let touched = |(name, state)| FsEvent::Touched(path(name), state);
        let expected = [
            ("a", FileState::Unknown),
            ("a", FileState::Writing),
            ("a", FileState::Complete),
            ("a", FileState::Unknown),
            ("b", FileState::Complete),
            ("b", FileState::Unknown),
        ];
        let events: Vec<FsEvent> = events.try_iter().collect();
        assert_eq!(events, expected.map(touched));
    }

    #[test]
    fn a_missing_directory_cannot_be_watched() {
        let dir = TempDir::new().unwrap();
        assert!(probe(dir.path()).is_ok());
        let error = probe(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::PathNotFound), "{error}");
    }
}
