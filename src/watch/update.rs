use std::path::PathBuf;
use std::time::SystemTime;

use super::InputSet;

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
