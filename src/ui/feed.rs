//! The user interface's thread, and the channel to it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::recent_output::RecentOutput;
use super::repeats::Repeats;
use super::{Level, Report, Ui, UiCommand};

/// The maximum number of pieces of output in the queue. While the queue is full, [`Feed::pass`] waits, and eventually
/// the program's own writes block. Therefore no output is dropped, and memory use is bounded.
const MAX_WAITING: usize = 256;

/// How long a terminal that accepts no output (Ctrl-S, a pager) may delay an exit or a suspend.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the thread waits for a report if nothing needs to be redrawn.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Called when hotrun must quit, because its output has no reader or a part of hotrun has panicked.
pub type OnQuit = Arc<dyn Fn() + Send + Sync>;

/// A sender to the user interface, which runs in its own thread because a blocked terminal must not delay a switch.
/// Reports appear in the order in which they are sent.
#[derive(Clone, Debug)]
pub struct Feed {
    items: Sender<Item>,
    room: Arc<Semaphore>,
    recent: Arc<Mutex<RecentOutput>>,
    repeats: Arc<Mutex<Repeats>>,
    release: Release,
}

/// A request to release the terminal before any waiting report is shown. The thread shows the report, if there is one,
/// then releases the terminal and confirms that through the sender.
type Release = Arc<Mutex<Option<(oneshot::Sender<()>, Option<Report>)>>>;

#[derive(Debug)]
enum Item {
    /// A report, with its permit if it has one, which is released once the report has been shown.
    Report(Report, Option<OwnedSemaphorePermit>),
    Command(UiCommand),
}

/// The user interface's thread.
#[derive(Debug)]
pub struct UiThread {
    finished: oneshot::Receiver<()>,
    panicked: Arc<AtomicBool>,
}

/// Starts the user interface's thread.
///
/// # Errors
/// The system allows no more threads.
pub fn start(ui: Ui, on_quit: OnQuit) -> std::io::Result<(Feed, UiThread)> {
    let (items, incoming) = mpsc::channel();
    let (finish, finished) = oneshot::channel();
    let release = Release::default();
    let requested = release.clone();
    thread::Builder::new().name("ui".into()).spawn(move || {
        let shown = AssertUnwindSafe(|| show(ui, &incoming, &on_quit, &requested));
        match panic::catch_unwind(shown) {
            // The receiver is gone if showing everything took too long.
            Ok(()) => drop(finish.send(())),
            // The user would no longer see anything.
            Err(_) => on_quit(),
        }
    })?;
    let feed = Feed {
        items,
        room: Arc::new(Semaphore::new(MAX_WAITING)),
        recent: Arc::default(),
        repeats: Arc::default(),
        release,
    };
    let panicked = Arc::default();
    Ok((feed, UiThread { finished, panicked }))
}

fn show(mut ui: Ui, incoming: &Receiver<Item>, on_quit: &OnQuit, release: &Release) {
    loop {
        let mut item = match incoming.recv_timeout(ui.next_redraw().unwrap_or(A_DAY)) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // Everything that is waiting is drawn in a single frame.
        let mut shown = Ok(());
        while let Some(next) = item {
            let released = release_terminal(&mut ui, release);
            shown = shown.and(released).and(match next {
                Item::Report(report, _room) => ui.report(&report),
                Item::Command(command) => ui.execute(command),
            });
            item = incoming.try_recv().ok();
        }
        if shown.and(ui.draw()).is_err() {
            // The reader is gone (`| head -1`, a closed terminal), so quit, as most programs would. The user interface
            // returns such an error once per stream. A full disk is not an error.
            on_quit();
        }
    }
    let _ = ui.finish();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Releases the terminal if a release is requested.
fn release_terminal(ui: &mut Ui, release: &Release) -> std::io::Result<()> {
    let requested = lock(release).take();
    let Some((done, last)) = requested else {
        return Ok(());
    };
    if let Some(last) = last {
        ui.report(&last)?;
    }
    let released = ui.execute(UiCommand::ReleaseTerminal);
    // The receiver is gone if the release took too long.
    let _ = done.send(());
    released
}

impl Feed {
    /// Shows a report. Never waits.
    pub fn report(&self, report: Report) {
        self.send(report, None);
    }

    fn send(&self, mut report: Report, room: Option<OwnedSemaphorePermit>) {
        if self.admits(&mut report) {
            lock(&self.recent).record(&report);
            // This fails only if the thread has panicked. Otherwise, the thread runs for as long as a `Feed` exists.
            let _ = self.items.send(Item::Report(report, room));
        }
    }

    /// Returns whether to show this. Appends to a warning how many similar ones were left out before it.
    fn admits(&self, report: &mut Report) -> bool {
        let Report::Message {
            level: Level::Warning | Level::Error,
            text,
            ..
        } = report
        else {
            return true;
        };
        let skipped = lock(&self.repeats).admit(text, Instant::now());
        if let Some(more @ 1..) = skipped {
            text.push_str(&format!(" ({more} more like this were not shown)"));
        }
        skipped.is_some()
    }

    /// The recent output, recorded from all reports.
    pub fn recent_output(&self) -> Arc<Mutex<RecentOutput>> {
        self.recent.clone()
    }

    /// Sends the user interface a command. Never waits.
    pub fn command(&self, command: UiCommand) {
        let _ = self.items.send(Item::Command(command));
    }

    /// Shows `last`, then restores the terminal to the state in which hotrun found it, before any waiting report is
    /// shown. Returns whether that succeeded within two seconds.
    pub async fn release_terminal(&self, last: Option<Report>) -> bool {
        let (done, is_done) = oneshot::channel();
        *lock(&self.release) = Some((done, last));
        // This wakes the thread.
        self.command(UiCommand::ReleaseTerminal);
        let released = tokio::time::timeout(END_TIMEOUT, is_done).await;
        matches!(released, Ok(Ok(())))
    }

    /// Shows output, after waiting until there is room in the queue.
    pub async fn pass(&self, report: Report) {
        let room = self.room.clone().acquire_owned().await.ok();
        self.send(report, room);
    }

    /// Shows a report if there is room in the queue; otherwise drops it.
    pub fn offer(&self, report: Report) {
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            self.send(report, Some(room));
        }
    }

    /// Shows a message.
    pub fn message(&self, level: Level, text: impl Into<String>, hint: Option<String>) {
        self.report(Report::Message {
            level,
            text: text.into(),
            hint,
        });
    }

    /// Builds a message without a hint, for [`Feed::offer`] and [`Feed::pass`].
    pub const fn text(level: Level, text: String) -> Report {
        Report::Message {
            level,
            text,
            hint: None,
        }
    }

    /// Shows an error message.
    pub fn error(&self, text: impl Into<String>, hint: Option<String>) {
        self.message(Level::Error, text, hint);
    }
}

impl UiThread {
    /// Makes hotrun quit when a task panics. A panic ends only its task, so hotrun would keep running but draw nothing,
    /// because a panic restores the terminal (see [`restore_permanently`](super::restore_permanently)).
    pub fn quit_on_panic(&self, on_quit: OnQuit) {
        let (before, panicked) = (panic::take_hook(), self.panicked.clone());
        panic::set_hook(Box::new(move |info| {
            before(info);
            panicked.store(true, Ordering::Release);
            on_quit();
        }));
    }

    /// Waits until everything has been shown, for at most two seconds. Drop all [`Feed`]s first.
    ///
    /// # Errors
    /// The user interface or a task has panicked.
    pub async fn finish(self) -> Result<()> {
        match tokio::time::timeout(END_TIMEOUT, self.finished).await {
            Ok(Err(_)) => bail!("the user interface panicked"),
            Ok(Ok(())) | Err(_) if self.panicked.load(Ordering::Acquire) => {
                bail!("a task panicked")
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;
    use crate::os::terminal::Size;
    use crate::reload::GenId;
    use crate::ui::{Handles, Options, OutputStream, TerminalGuard, UiMode};

    /// A writer that accepts one write for each message in the channel.
    struct SlowWriter(Receiver<()>);

    impl Write for SlowWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.0.recv().map_err(gone).map(|()| bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Ui, Sender<()>) {
        let (go, gate) = mpsc::channel();
        let options = Options::of(UiMode::Live);
        let size = Size {
            columns: 80,
            rows: 24,
        };
        let handles = Handles {
            stdout: Box::new(SlowWriter(gate)),
            stderr: Box::new(io::sink()),
            same: true,
            clearable: true,
            terminal: TerminalGuard::without_terminal(size),
        };
        (Ui::new(options, handles), go)
    }

    #[tokio::test]
    async fn a_flood_of_warnings_is_neither_shown_nor_kept_waiting() {
        let (items, incoming) = mpsc::channel();
        let feed = Feed {
            items,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            recent: Arc::default(),
            repeats: Arc::default(),
            release: Release::default(),
        };
        for pid in 0..10_000 {
            feed.message(Level::Warning, format!("ignored a message of {pid}"), None);
            feed.offer(Feed::text(Level::Error, format!("bad message of {pid}")));
        }
        feed.message(Level::Info, "something else", None);
        assert_eq!(incoming.try_iter().count(), 5 + 5 + 1);
    }

    #[tokio::test]
    async fn the_terminal_is_released_before_waiting_output_is_shown() {
        let (ui, go) = slow();
        let (feed, _thread) = start(ui, Arc::new(|| ())).unwrap();
        for _ in 0..MAX_WAITING {
            feed.report(Report::Output(
                GenId::FIRST,
                OutputStream::Stdout,
                [b"x".repeat(64 * 1024), b"\n".to_vec()].concat(),
            ));
        }
        let (released, ()) = tokio::join!(feed.release_terminal(None), async {
            // One write is already in progress, and another releases the terminal.
            for _ in 0..2 {
                go.send(()).unwrap();
            }
        });
        assert!(released);
    }
}
