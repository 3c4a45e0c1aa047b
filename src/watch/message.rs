use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::spec::InputSet;
use crate::os::fs_event::FsEvent;

/// The inputs of the watch thread.
#[derive(Debug)]
pub(super) enum WatchInput {
    /// The system has reported a file event.
    Fs(FsEvent),
    /// A build began at this time.
    Build(SystemTime),
    Update(WatchUpdate),
    /// The watch was dropped.
    Stop,
}

/// Changes what is watched after a build.
#[derive(Clone, Debug)]
pub struct WatchUpdate {
    /// Replaces [`WatchSpec::roots`](super::WatchSpec::roots).
    pub roots: Vec<PathBuf>,
    /// Replaces [`WatchSpec::ignored_dirs`](super::WatchSpec::ignored_dirs).
    pub ignored_dirs: Vec<PathBuf>,
    /// Replaces [`WatchSpec::inputs`](super::WatchSpec::inputs).
    pub inputs: Option<InputSet>,
    /// When the build began. A file that did not count before, and has changed since the build began, is reported as
    /// changed.
    pub since: SystemTime,
}

/// What the watch reports.
#[derive(Debug)]
pub enum WatchMessage {
    /// The watch is set up. No change is missed from now on.
    Watching {
        /// The number of watched directories.
        dirs: usize,
        /// The number of files in them that count.
        files: usize,
    },
    /// Files were created or removed, or their contents have changed.
    Changed {
        /// The files, sorted. Never empty.
        paths: Vec<PathBuf>,
        /// When the first and the last event for them arrived.
        seen: (Instant, Instant),
    },
    /// Something cannot be watched as intended, but everything else is watched.
    Trouble {
        /// The message for the user.
        text: String,
        /// What the user can do about it.
        hint: &'static str,
    },
}

impl WatchMessage {
    /// Reports that the system does not send file events, or has stopped sending them, so hotrun polls. `is_limit`
    /// tells whether the reason is the limit on inotify instances.
    pub(super) fn no_events(reason: &str, is_limit: bool) -> Self {
        Self::Trouble {
            text: format!("the system sends no file events ({reason}); polling instead"),
            hint: match is_limit {
                true => {
                    "changes are noticed a little later; `sudo sysctl fs.inotify.max_user_instances=1024` allows more watchers"
                }
                false => "changes are noticed a little later; restart hotrun to try again",
            },
        }
    }
}
