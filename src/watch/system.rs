use std::io;
use std::path::Path;

use crate::os::changes::Watcher;

/// What watches directories for us: the system, or a test.
pub(super) trait System: Send {
    /// See [`Watcher::watch`].
    fn watch(&mut self, dir: &Path) -> io::Result<bool>;

    /// See [`Watcher::is_another`].
    fn is_another(&mut self, dir: &Path) -> bool;

    /// See [`Watcher::unwatch`].
    fn unwatch(&mut self, dir: &Path);

    /// See [`Watcher::has_more`].
    fn has_more(&self) -> bool;
}

impl System for Watcher {
    fn watch(&mut self, dir: &Path) -> io::Result<bool> {
        self.watch(dir)
    }

    fn is_another(&mut self, dir: &Path) -> bool {
        self.is_another(dir)
    }

    fn unwatch(&mut self, dir: &Path) {
        self.unwatch(dir);
    }

    fn has_more(&self) -> bool {
        self.has_more()
    }
}
