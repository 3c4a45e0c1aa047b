//! Changes in directories, by `inotify(7)`.
//!
//! Directly, because what is asked for decides what it costs: who also asks for opened files is told of every file
//! that a build reads, and the kernel's queue is full when it matters.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::os::{How, Told};

/// Whether a file is closed after it was written is told by `IN_CLOSE_WRITE`, also where a memory map wrote it.
/// Mere reading and a change of mode or time are not asked for. A file that was unlinked while it is open is of no
/// interest any more (`IN_EXCL_UNLINK`, which has no name in nix).
fn wanted() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::from_bits_retain(libc::IN_EXCL_UNLINK)
}

/// Directories that the system watches. What happens in them is told in a thread of its own, so that the kernel's
/// queue is emptied also while somebody is busy with what was told before.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    /// The thread ends when this is closed.
    _open: PipeWriter,
}

#[derive(Debug)]
struct Shared {
    inotify: Inotify,
    /// Held while a directory is added: what is told of it waits until its path is known.
    places: Mutex<Places>,
}

/// The kernel gives a number to each directory (not to each path), and never the same one again.
#[derive(Debug, Default)]
struct Places {
    paths: HashMap<WatchDescriptor, PathBuf>,
    numbers: HashMap<PathBuf, WatchDescriptor>,
}

impl Watcher {
    /// # Errors
    ///
    /// The system gives no watch (`EMFILE`: the user has too many) or no thread.
    pub fn new(handler: impl FnMut(Vec<Told>) + Send + 'static) -> io::Result<Self> {
        let (closed, open) = io::pipe()?;
        let shared = Arc::new(Shared {
            inotify: Inotify::init(InitFlags::IN_CLOEXEC)?,
            places: Mutex::default(),
        });
        let reader = Arc::clone(&shared);
        thread::Builder::new()
            .name("changes".to_owned())
            .spawn(move || reader.read(&closed, handler))?;
        Ok(Self {
            shared,
            _open: open,
        })
    }

    /// Watches a directory under this path, also if it was watched before, under this path or another. Says whether it is
    /// another directory than the one that was watched under this path.
    ///
    /// # Errors
    ///
    /// `StorageFull`: the user may watch no more. Else it can't be read, or is no directory.
    pub fn watch(&mut self, dir: &Path) -> io::Result<bool> {
        let mut places = self.shared.places();
        let number = self.shared.inotify.add_watch(dir, wanted())?;
        let other = places.add(number, dir);
        let is_another = other.is_some();
        if let Some(other) = other {
            self.shared.end(other);
        }
        Ok(is_another)
    }

    /// Whether another directory is at this path than the one that was watched. If so it is watched now.
    pub fn is_another(&mut self, dir: &Path) -> bool {
        self.watch(dir).unwrap_or(false)
    }

    /// Ends that; a directory that is not watched under this path stays as it is.
    pub fn unwatch(&mut self, dir: &Path) {
        if let Some(number) = self.shared.places().remove(dir) {
            self.shared.end(number);
        }
    }

    /// Whether there is something that was not told yet: we may have been asleep.
    pub fn has_more(&self) -> bool {
        let mut source = [PollFd::new(self.shared.inotify.as_fd(), PollFlags::POLLIN)];
        poll(&mut source, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: WatchDescriptor) {
        // An error means that the directory is gone, and its watch with it.
        let _ = self.inotify.rm_watch(number);
    }

    fn read(&self, closed: &PipeReader, mut handler: impl FnMut(Vec<Told>)) {
        while self.wait(closed) {
            match self.inotify.read_events() {
                Ok(events) => handler(self.told(events)),
                Err(Errno::EINTR) => {}
                Err(error) => return handler(vec![Told::Deaf(error.desc().to_owned())]),
            }
        }
    }

    /// Until there is something to read; `false` when nobody is interested any more.
    fn wait(&self, closed: &PipeReader) -> bool {
        let mut sources = [closed.as_fd(), self.inotify.as_fd()]
            .map(|source| PollFd::new(source, PollFlags::POLLIN));
        while poll(&mut sources, PollTimeout::NONE) == Err(Errno::EINTR) {}
        sources[0].any() == Some(false)
    }

    fn told(&self, events: Vec<InotifyEvent>) -> Vec<Told> {
        let mut places = self.places();
        let told = events.into_iter().filter_map(|event| places.told(event));
        told.collect()
    }
}

impl Places {
    /// Gives what is watched for nothing now: the directory that had this path before.
    fn add(&mut self, number: WatchDescriptor, dir: &Path) -> Option<WatchDescriptor> {
        let before = self.paths.insert(number, dir.to_owned());
        if let Some(other) = before.filter(|other| other != dir) {
            self.numbers.remove(&other);
        }
        let before = self.numbers.insert(dir.to_owned(), number)?;
        (before != number && self.paths.remove(&before).is_some()).then_some(before)
    }

    fn remove(&mut self, dir: &Path) -> Option<WatchDescriptor> {
        let number = self.numbers.remove(dir)?;
        self.paths.remove(&number).map(|_| number)
    }

    fn told(&mut self, event: InotifyEvent) -> Option<Told> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Told::Overflow);
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.forget(event.wd);
            return None;
        }
        let dir = self.paths.get(&event.wd)?;
        let path = match event.name {
            Some(name) => dir.join(name),
            None => dir.clone(),
        };
        Some(Told::Happened(path, how(event.mask)))
    }

    /// The kernel watches it no more: it is gone, or it was asked to.
    fn forget(&mut self, number: WatchDescriptor) {
        if let Some(path) = self.paths.remove(&number) {
            self.numbers.remove(&path);
        }
    }
}

fn how(mask: AddWatchFlags) -> How {
    if mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) {
        How::Whole
    } else if mask.contains(AddWatchFlags::IN_MODIFY) {
        How::Written
    } else {
        How::Other
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    fn watcher() -> (Watcher, Receiver<Told>) {
        let (sender, told) = channel();
        let watcher = Watcher::new(move |all| {
            for one in all {
                let _ = sender.send(one);
            }
        });
        (watcher.unwrap(), told)
    }

    /// All that is told until this file is made, which must be in a directory that is watched.
    fn until(told: &Receiver<Told>, mark: &Path) -> Vec<Told> {
        fs::create_dir(mark).unwrap();
        let end = Told::Happened(mark.to_owned(), How::Other);
        let mut all = Vec::new();
        loop {
            match told.recv_timeout(Duration::from_secs(20)).unwrap() {
                one if one == end => return all,
                one => all.push(one),
            }
        }
    }

    #[test]
    fn writing_closing_and_moving_are_told_apart_and_reading_is_not_told() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (mut watcher, told) = watcher();
        watcher.watch(dir.path()).unwrap();
        let mut file = File::create(path("a")).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        fs::read(path("a")).unwrap();
        fs::rename(path("a"), path("b")).unwrap();
        fs::remove_file(path("b")).unwrap();
        let happened = |name, how| Told::Happened(path(name), how);
        let expected = [
            happened("a", How::Other),
            happened("a", How::Written),
            happened("a", How::Whole),
            happened("a", How::Other),
            happened("b", How::Whole),
            happened("b", How::Other),
        ];
        assert_eq!(until(&told, &path("mark")), expected);
    }

    #[test]
    fn a_directory_that_was_moved_is_watched_where_it_is_now() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("old")).unwrap();
        let (mut watcher, told) = watcher();
        watcher.watch(dir.path()).unwrap();
        watcher.watch(&path("old")).unwrap();
        fs::rename(path("old"), path("new")).unwrap();
        watcher.watch(&path("new")).unwrap();
        // Of the same directory, which keeps its number.
        watcher.unwatch(&path("old"));
        until(&told, &path("mark"));
        fs::create_dir(path("old")).unwrap();
        watcher.watch(&path("old")).unwrap();
        File::create(path("new/x")).unwrap();
        File::create(path("old/y")).unwrap();
        let all = until(&told, &path("another"));
        for name in ["new/x", "old/y"] {
            assert!(all.contains(&Told::Happened(path(name), How::Whole)));
        }
    }

    #[test]
    fn another_directory_under_the_same_path_takes_the_place_of_the_first() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("a")).unwrap();
        let (mut watcher, told) = watcher();
        watcher.watch(dir.path()).unwrap();
        watcher.watch(&path("a")).unwrap();
        fs::rename(path("a"), path("away")).unwrap();
        fs::create_dir(path("a")).unwrap();
        assert!(watcher.watch(&path("a")).unwrap(), "it is another");
        assert!(!watcher.watch(&path("a")).unwrap(), "it is the same");
        until(&told, &path("mark"));
        File::create(path("away/x")).unwrap();
        File::create(path("a/y")).unwrap();
        let all = until(&told, &path("another"));
        let of = |name| Told::Happened(path(name), How::Whole);
        assert!(
            all.contains(&of("a/y")) && !all.contains(&of("a/x")),
            "{all:?}"
        );
    }

    #[test]
    fn what_is_no_directory_or_not_there_is_refused() {
        let dir = TempDir::new().unwrap();
        let (mut watcher, _told) = watcher();
        let error = watcher.watch(&dir.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        fs::write(dir.path().join("file"), "").unwrap();
        let error = watcher.watch(&dir.path().join("file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
