//! Changes in directories, by whatever the system has for that.

use std::io;
use std::path::{Path, PathBuf};

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::os::{How, Told};

/// Directories that the system watches.
#[derive(Debug)]
pub struct Watcher(RecommendedWatcher);

impl Watcher {
    /// # Errors
    ///
    /// The system gives no watch or no thread.
    pub fn new(mut handler: impl FnMut(Vec<Told>) + Send + 'static) -> io::Result<Self> {
        let config = Config::default().with_follow_symlinks(false);
        let handler = move |event: notify::Result<Event>| {
            handler(match event {
                Ok(event) => told(event),
                Err(error) => vec![Told::Deaf(error.to_string())],
            });
        };
        RecommendedWatcher::new(handler, config)
            .map(Self)
            .map_err(|error| plain(&error))
    }

    /// Watches a directory under this path. Nobody says here whether it is another than was watched before.
    ///
    /// # Errors
    ///
    /// `StorageFull`: the system watches no more. Else it can't be read, or is no directory.
    pub fn watch(&mut self, dir: &Path) -> io::Result<bool> {
        self.0
            .watch(dir, RecursiveMode::NonRecursive)
            .map(|()| false)
            .map_err(|error| plain(&error))
    }

    /// Whether another directory is at this path than the one that is watched. Nobody says so here, and to ask by watching
    /// it once more would cost events: `notify` begins its stream anew.
    #[allow(clippy::unused_self, reason = "elsewhere it is used")]
    pub fn is_another(&mut self, _dir: &Path) -> bool {
        false
    }

    /// Ends that; a directory that is not watched under this path stays as it is.
    pub fn unwatch(&mut self, dir: &Path) {
        // An error means that it was not watched, or is gone.
        let _ = self.0.unwatch(dir);
    }

    /// Whether there is something that was not told yet. Nobody can say here.
    #[allow(clippy::unused_self, reason = "elsewhere it is used")]
    pub fn has_more(&self) -> bool {
        false
    }
}

fn plain(error: &notify::Error) -> io::Error {
    match &error.kind {
        ErrorKind::MaxFilesWatch => io::ErrorKind::StorageFull.into(),
        ErrorKind::PathNotFound => io::ErrorKind::NotFound.into(),
        ErrorKind::Io(error) => io::Error::new(error.kind(), error.to_string()),
        ErrorKind::Generic(_) | ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => {
            io::Error::other(error.to_string())
        }
    }
}

fn told(event: Event) -> Vec<Told> {
    if event.need_rescan() {
        return vec![Told::Overflow];
    }
    let Some(how) = how(event.kind) else {
        return Vec::new();
    };
    let happened = |path: PathBuf| Told::Happened(path, how);
    event.paths.into_iter().map(happened).collect()
}

/// `None` for what leaves the content as it is: reading, a change of mode or time. That a file was closed is not told
/// here, so one that is written counts as one that is made.
fn how(kind: EventKind) -> Option<How> {
    match kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(How::Whole),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => Some(How::Other),
    }
}
