//! What a build itself writes among its inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::reload::GenId;

/// When a build did what.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) id: GenId,
    started: Instant,
    /// When it was over.
    pub(super) ended: Option<Instant>,
    pub(super) began: SystemTime,
    /// When it had printed its first message: cargo begins to compile only once it has written `Cargo.lock`.
    pub(super) spoke: Arc<OnceLock<SystemTime>>,
}

impl Times {
    pub(super) fn from_now(id: GenId) -> Self {
        Self {
            id,
            started: Instant::now(),
            ended: None,
            began: SystemTime::now(),
            spoke: Arc::default(),
        }
    }

    /// Leaves out the `Cargo.lock` that cargo itself wrote in this build, for a manifest that asked for it.
    pub(super) fn without_own_lock(&self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        paths.retain(|path| !self.is_own_lock(path));
        paths
    }

    /// This build, and how long after its start something was heard, if that was while it ran. Of a file that the build
    /// wrote it is heard before its end is known, and of one that somebody saved because it has ended, after.
    pub(super) fn saw(&self, (first, last): (Instant, Instant)) -> Option<(GenId, Duration)> {
        let ran = self.started <= first && self.ended.is_none_or(|ended| last <= ended);
        ran.then(|| (self.id, first - self.started))
    }

    fn is_own_lock(&self, path: &Path) -> bool {
        if !path.ends_with("Cargo.lock") {
            return false;
        }
        let written = fs::metadata(path).and_then(|metadata| metadata.modified());
        let spoke = self.spoke.get();
        written.is_ok_and(|written| {
            // The kernel's clock for files lags behind by a tick.
            let written = written + TICK;
            self.began <= written && spoke.is_none_or(|spoke| written <= *spoke + TICK)
        })
    }
}

/// See `ktime_get_coarse_real_ts64`: 10 ms at the slowest setting.
const TICK: Duration = Duration::from_millis(10);
