//! Writes the `--log` file: every event with the machine's reaction, and traces as comments.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::Failure;
use crate::reload::{Event, Policy, Reaction, Time, notation};

/// Writes events in a form that a test can replay (see [`notation`]), and the output of [`tracing`] as comments.
#[derive(Clone, Debug)]
pub(super) struct Log {
    started: Instant,
    sink: Arc<Mutex<Sink>>,
}

/// After a write has failed: its error, until it is reported.
type Sink = Result<File, Option<io::Error>>;

impl Log {
    /// Creates or truncates the file, and subscribes to hotrun's traces.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| {
            Failure::usage(format!("cannot open the log `{}`: {error}", path.display()))
                .hint("`--log` needs a file that hotrun can write to")
        })?;
        let log = Self {
            started: Instant::now(),
            sink: Arc::new(Mutex::new(Ok(file))),
        };
        let comments = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || comments.clone())
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .finish();
        // Fails only if there already is a subscriber, which then gets the traces.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(log)
    }

    pub(super) fn begin(&self, policy: &Policy, instances: u8) {
        let version = env!("CARGO_PKG_VERSION");
        self.line(&format!("# hotrun {version} on {}", std::env::consts::OS));
        self.line(&format!("{policy:?}"));
        if instances > 1 {
            self.line(&format!("instances {instances}"));
        }
    }

    pub(super) fn record(&self, now: Time, event: &Event, reaction: &Reaction) {
        self.line(&notation::line(now, event, reaction));
    }

    /// Returns the error of a failed write, but only once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.sink().as_mut().err()?.take()
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        let mut sink = self.sink();
        if let Ok(file) = &mut *sink
            && let Err(error) = file.write_all(format!("{text}\n").as_bytes())
        {
            *sink = Err(Some(error));
        }
    }
}

/// Writes each line as a comment.
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.started.elapsed().as_millis();
        for line in String::from_utf8_lossy(bytes).lines() {
            self.line(&format!("# {passed} {}", line.trim()));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::reload::Machine;
    use crate::reload::tests::replay;

    #[test]
    fn a_log_can_be_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path).unwrap();
        let policy = Policy::default();
        log.begin(&policy, 1);
        let mut machine = Machine::new(policy);
        let events = [
            "begin",
            "build-ended 1 built a1 kept",
            "ready 1",
            "switched 1",
            "requested quit",
            "exited 1 signal 15",
            "gone 1",
        ];
        for (event, micros) in events
            .into_iter()
            .zip([0_u64, 1_250, 2_000, 2_001, 5_000, 6_000, 7_000])
        {
            let (now, event) = (
                Time(Duration::from_micros(micros)),
                replay::event(event).unwrap(),
            );
            let reaction = machine.handle(now, event);
            log.record(now, &event, &reaction);
            let _ = writeln!(log, "steered");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(" steered\n"), "{text}");
        assert!(
            text.contains(
                "1.25ms build-ended 1 built a1 kept -> start 1 a1 | built 1 1.25ms, starting 1 begin\n"
            ),
            "{text}"
        );
        replay::replay(&text).unwrap();
        let other = text.replace("start 1 a1", "start 1 a2");
        let error = replay::replay(&other).unwrap_err();
        assert!(error.contains("start 1 a2"), "{error}");
    }

    /// `/dev/full` fails every write with `ENOSPC`.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported_once() {
        let log = Log::create(Path::new("/dev/full")).unwrap();
        assert!(log.failure().is_none());
        log.begin(&Policy::default(), 1);
        assert!(log.failure().unwrap().to_string().contains("No space left"));
        log.line("more");
        assert!(log.failure().is_none());
    }
}
