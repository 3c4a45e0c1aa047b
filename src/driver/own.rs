//! What a build itself, or the command of a rule, writes among its inputs.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::reload::GenId;

/// When something that changes files ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    started: Instant,
    /// When it was over.
    ended: Option<(Instant, SystemTime)>,
}

/// When a build did what.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) id: GenId,
    pub(super) span: Span,
    pub(super) began: SystemTime,
    /// When it had printed its first message: cargo begins to compile only once it has written `Cargo.lock`.
    pub(super) spoke: Arc<OnceLock<SystemTime>>,
}

impl Times {
    pub(super) fn from_now(id: GenId) -> Self {
        Self {
            id,
            span: Span::from_now(),
            began: SystemTime::now(),
            spoke: Arc::default(),
        }
    }

    /// Leaves out the `Cargo.lock` that cargo itself wrote in this build, for a manifest that asked for it.
    pub(super) fn without_own_lock(&self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        paths.retain(|path| !self.is_own_lock(path));
        paths
    }

    fn is_own_lock(&self, path: &Path) -> bool {
        if !path.ends_with("Cargo.lock") {
            return false;
        }
        let written = fs::metadata(path).and_then(|metadata| metadata.modified());
        // One that printed nothing has written it before its end, at the latest.
        let until = self.spoke.get().copied();
        let until = until.or(self.span.ended.map(|(_, at)| at));
        written.is_ok_and(|written| {
            // The kernel's clock for files lags behind by a tick.
            self.began <= written + TICK && until.is_none_or(|until| written <= until)
        })
    }
}

impl Span {
    pub(super) fn from_now() -> Self {
        Self {
            started: Instant::now(),
            ended: None,
        }
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        self.ended = Some((Instant::now(), SystemTime::now()));
    }

    /// How long after its start something was heard of these files, if they changed while it ran. Of what it wrote itself
    /// it is mostly heard before its end is known, and of what somebody saved because it has ended, after.
    pub(super) fn saw(
        &self,
        paths: &[PathBuf],
        (first, last): (Instant, Instant),
    ) -> Option<Duration> {
        let ran = self.ended.is_none_or(|(ended, at)| {
            // Whoever hears of it may have been late.
            last <= ended || paths.iter().all(|path| changed_before(path, at))
        });
        (self.started <= first && ran).then(|| first - self.started)
    }
}

/// For certain; one that is gone may have gone at any time.
fn changed_before(path: &Path, time: SystemTime) -> bool {
    let changed = fs::symlink_metadata(path).map(|metadata| changed_at(&metadata));
    changed.is_ok_and(|changed| changed + TICK < time)
}

fn changed_at(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).unwrap_or(0))
}

/// See `ktime_get_coarse_real_ts64`: 10 ms at the slowest setting.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A build that began ten seconds ago, and where a `Cargo.lock` may be.
    fn build() -> (Times, TempDir) {
        let mut times = Times::from_now(GenId::FIRST);
        times.began -= SECOND * 10;
        (times, TempDir::new().unwrap())
    }

    /// Whether one that is written so long after the beginning counts.
    fn counts(times: &Times, dir: &TempDir, name: &str, after: Duration) -> bool {
        let path = dir.path().join(name);
        let file = fs::File::create(&path).unwrap();
        file.set_modified(times.began + after).unwrap();
        !times.without_own_lock(vec![path]).is_empty()
    }

    #[test]
    fn a_lock_file_is_cargos_own_until_it_has_said_something() {
        let (times, dir) = build();
        times.spoke.set(times.began + SECOND * 3).unwrap();
        assert!(!counts(&times, &dir, "Cargo.lock", SECOND));
        assert!(counts(&times, &dir, "Cargo.lock", SECOND * 4));
        assert!(counts(&times, &dir, "Cargo.toml", SECOND));
    }

    #[test]
    fn a_lock_file_that_is_written_after_a_build_that_said_nothing_counts() {
        let (mut times, dir) = build();
        assert!(!counts(&times, &dir, "Cargo.lock", SECOND * 4), "it runs");
        times.span.ended = Some((Instant::now(), times.began + SECOND * 3));
        assert!(!counts(&times, &dir, "Cargo.lock", SECOND), "in the build");
        assert!(counts(&times, &dir, "Cargo.lock", SECOND * 4), "after it");
    }

    #[test]
    fn what_changed_in_a_build_is_its_own_however_late_it_is_heard_of() {
        let (times, dir) = build();
        let path = dir.path().join("made");
        fs::write(&path, "").unwrap();
        let mut span = times.span;
        let end = span.started + SECOND * 5;
        let [soon, late] = [SECOND, SECOND * 9];
        let saw = |span: Span, after| {
            let heard = span.started + after;
            span.saw(std::slice::from_ref(&path), (heard, heard))
        };
        span.ended = Some((end, SystemTime::now() + SECOND));
        assert_eq!((saw(span, soon), saw(span, late)), (Some(soon), Some(late)));
        span.ended = Some((end, SystemTime::now() - SECOND));
        assert_eq!((saw(span, soon), saw(span, late)), (Some(soon), None));
    }
}
