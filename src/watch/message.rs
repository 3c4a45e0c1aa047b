use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::spec::InputSet;
use crate::os::fs_event::FsEvent;

/// What the thread of the watch waits for.
#[derive(Debug)]
pub(super) enum Input {
    /// The system reports something.
    Fs(FsEvent),
    /// A build began at this time.
    Build(SystemTime),
    Update(WatchUpdate),
    /// The watch was dropped.
    Stop,
}

/// What to watch after a build.
#[derive(Clone, Debug)]
pub struct WatchUpdate {
    /// Replaces [`WatchSpec::roots`](super::WatchSpec::roots).
    pub roots: Vec<PathBuf>,
    /// Replaces [`WatchSpec::ignored_dirs`](super::WatchSpec::ignored_dirs).
    pub ignored_dirs: Vec<PathBuf>,
    /// Replaces [`WatchSpec::inputs`](super::WatchSpec::inputs).
    pub inputs: Option<InputSet>,
    /// When the build began. A file that counts from now on, and has changed since, is reported as changed.
    pub since: SystemTime,
}

/// What the watch reports.
#[derive(Debug)]
pub enum Message {
    /// No change is missed from now on.
    Watching {
        /// The number of watched directories.
        dirs: usize,
        /// The number of files in them that count.
        files: usize,
    },
    /// Files were created, removed, or have other contents.
    Changed {
        /// The files. Sorted, never empty.
        paths: Vec<PathBuf>,
        /// When the first and the last event for them arrived.
        seen: (Instant, Instant),
    },
    /// Something cannot be watched as intended. Everything else is watched.
    Trouble {
        /// The message for the user.
        text: String,
        /// What the user can do about it.
        hint: &'static str,
    },
}

impl Message {
    /// The system sends no file events, or no more of them, so hotrun polls. `is_limit`: whether the reason is the limit
    /// of inotify instances.
    pub(super) fn no_events(reason: &str, is_limit: bool) -> Self {
        Self::Trouble {
            text: format!("the system sends no file events ({reason}); hotrun polls"),
            hint: match is_limit {
                true => {
                    "`sudo sysctl fs.inotify.max_user_instances=1024` allows more watchers; changes are seen a little later"
                }
                false => "changes are seen a little later; restart hotrun to try again",
            },
        }
    }
}
