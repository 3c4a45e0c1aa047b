use std::path::PathBuf;
use std::time::SystemTime;

use super::InputSet;

/// What a build has taught about what to watch.
#[derive(Clone, Debug)]
pub struct WatchUpdate {
    /// In place of [`WatchSpec::roots`](super::WatchSpec::roots).
    pub roots: Vec<PathBuf>,
    /// In place of [`WatchSpec::ignored_dirs`](super::WatchSpec::ignored_dirs).
    pub ignored_dirs: Vec<PathBuf>,
    /// Only this counts, and what rules are about; `None`: all that is not ignored.
    pub exact: Option<InputSet>,
    /// When that build began: what did not count before, and has changed since, is a change now.
    pub since: SystemTime,
}
