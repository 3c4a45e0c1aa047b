use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::reload::{Event, Request};
use crate::ui::{Level, Report, Ui, UiCommand};

use super::inbox::Inbox;
use super::words::Words;

/// How many pieces of output may wait to be shown. When there are more, whoever reads a program's output
/// waits, and so in the end does the program: output is never dropped and never piles up.
const WAITING_OUTPUT: usize = 256;

/// How long a terminal that takes nothing (Ctrl-S, a pager) may hold up the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The way to the user interface, which has a thread of its own: a terminal that takes nothing more must
/// not hold up a switch. What is told is shown in the order in which it was told, whoever told it.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    items: Sender<Item>,
    room: Arc<Semaphore>,
    words: Arc<Mutex<Words>>,
    leaving: Leaving,
}

/// Set while the terminal is to be left, before all that is still to be shown; told once it is.
type Leaving = Arc<Mutex<Option<oneshot::Sender<()>>>>;

#[derive(Debug)]
struct Item {
    what: What,
    /// Given back once the report has been shown.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum What {
    Report(Report),
    UiCommand(UiCommand),
}

/// The user interface's thread.
#[derive(Debug)]
pub(super) struct Screen {
    finished: oneshot::Receiver<()>,
    /// Whether a part of hotrun has panicked, and it ends because of that.
    panicked: Arc<AtomicBool>,
}

/// Gives the user interface a thread of its own.
pub(super) fn start(ui: Ui, inbox: Inbox) -> std::io::Result<(Feed, Screen)> {
    let (items, incoming) = mpsc::channel();
    let (finish, finished) = oneshot::channel();
    let room = Arc::new(Semaphore::new(WAITING_OUTPUT));
    let (words, leaving) = (Arc::default(), Leaving::default());
    let asked = leaving.clone();
    thread::Builder::new().name("ui".into()).spawn(move || {
        let _alarm = Alarm(inbox.clone());
        show(ui, &incoming, &inbox, &asked);
        // Nobody waits any more if the end took too long.
        let _ = finish.send(());
    })?;
    let feed = Feed {
        items,
        room,
        words,
        leaving,
    };
    let panicked = Arc::default();
    Ok((feed, Screen { finished, panicked }))
}

/// Nobody would see anything any more.
struct Alarm(Inbox);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.event(Event::Requested(Request::Quit));
        }
    }
}

fn show(mut ui: Ui, incoming: &Receiver<Item>, inbox: &Inbox, leaving: &Leaving) {
    loop {
        let mut item = match wait(incoming, ui.next_redraw()) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // All that is there is shown at once.
        let mut shown = Ok(());
        while let Some(Item { what, _room }) = item {
            let left = leave(&mut ui, leaving);
            shown = shown.and(left).and(match what {
                What::Report(report) => ui.report(&report),
                What::UiCommand(command) => ui.execute(command),
            });
            item = incoming.try_recv().ok();
        }
        if shown.and(ui.draw()).is_err() {
            // Whoever read this is gone (`| head -1`, a closed terminal): nobody will ever see more of it, and so it
            // goes with a program that hotrun runs: it ends. The user interface reports each such failure once,
            // and a full disk not at all.
            inbox.event(Event::Requested(Request::Quit));
        }
    }
    let _ = ui.finish();
}

/// Leaves the terminal, if that is asked for.
fn leave(ui: &mut Ui, leaving: &Leaving) -> std::io::Result<()> {
    let asked = leaving
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(done) = asked else {
        return Ok(());
    };
    let left = ui.execute(UiCommand::ReleaseTerminal);
    // Nobody waits any more if it took too long.
    let _ = done.send(());
    left
}

fn wait(
    incoming: &Receiver<Item>,
    patience: Option<Duration>,
) -> std::result::Result<Item, RecvTimeoutError> {
    match patience {
        Some(patience) => incoming.recv_timeout(patience),
        None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

impl Feed {
    /// Shows a fact. Never waits.
    pub(super) fn tell(&self, report: Report) {
        self.send(What::Report(report), None);
    }

    fn send(&self, what: What, room: Option<OwnedSemaphorePermit>) {
        if let What::Report(report) = &what {
            let words = self.words.lock();
            words.unwrap_or_else(PoisonError::into_inner).hear(report);
        }
        // The thread ends only when nobody has anything to tell.
        let _ = self.items.send(Item { what, _room: room });
    }

    /// What was said lately.
    pub(super) fn words(&self) -> Arc<Mutex<Words>> {
        self.words.clone()
    }

    /// Has something done to the screen. Never waits.
    pub(super) fn command(&self, command: UiCommand) {
        self.send(What::UiCommand(command), None);
    }

    /// Has the terminal left as it was found, whatever is still to be shown, and says whether that is done: it waits for
    /// a while only.
    pub(super) async fn leave(&self) -> bool {
        let (done, is_done) = oneshot::channel();
        let asked = |leaving: &mut Option<_>| *leaving = Some(done);
        asked(&mut self.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        // And in its turn, for that wakes the thread.
        self.command(UiCommand::ReleaseTerminal);
        let left = tokio::time::timeout(LAST_WORDS, is_done).await;
        matches!(left, Ok(Ok(())))
    }

    /// Shows output, once there is room for it.
    pub(super) async fn pass(&self, report: Report) {
        let room = self.room.clone().acquire_owned().await.ok();
        self.send(What::Report(report), room);
    }

    /// Shows it if there is room for it now.
    pub(super) fn offer(&self, report: Report) {
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            self.send(What::Report(report), Some(room));
        }
    }

    /// Shows a message.
    pub(super) fn message(&self, level: Level, text: impl Into<String>, hint: Option<String>) {
        self.tell(Report::Message {
            level,
            text: text.into(),
            hint,
        });
    }

    /// A message without a hint, for [`Feed::offer`].
    pub(super) fn text(level: Level, text: String) -> Report {
        Report::Message {
            level,
            text,
            hint: None,
        }
    }

    /// Shows that something failed.
    pub(super) fn error(&self, text: impl Into<String>, hint: Option<String>) {
        self.message(Level::Error, text, hint);
    }
}

impl Screen {
    /// Has hotrun end when a task panics. By itself that takes nothing else down, and hotrun would go on in front of a
    /// terminal that nothing is drawn on any more (see [`restore_permanently`](crate::ui::restore_permanently)).
    pub(super) fn ends_on_panic(&self, inbox: Inbox) {
        let (before, panicked) = (panic::take_hook(), self.panicked.clone());
        panic::set_hook(Box::new(move |info| {
            before(info);
            panicked.store(true, Ordering::Release);
            inbox.event(Event::Requested(Request::Quit));
        }));
    }

    /// Waits until everything was shown, for a while. To be called when the driver is dropped; what still holds
    /// a [`Feed`] are tasks that are about to end.
    ///
    /// # Errors
    /// It has panicked, and said so.
    pub(super) async fn finish(self) -> Result<()> {
        match tokio::time::timeout(LAST_WORDS, self.finished).await {
            Ok(Err(_)) => bail!("what shows all this has failed"),
            Ok(Ok(())) | Err(_) if self.panicked.load(Ordering::Acquire) => {
                bail!("a part of hotrun has failed")
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;
    use crate::driver::inbox;
    use crate::os::terminal::Size;
    use crate::reload::GenId;
    use crate::ui::{Handles, Mode, Options, Stream, TerminalGuard};

    /// Takes as much as it is let to.
    struct Slow(Receiver<()>);

    impl Write for Slow {
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
        let options = Options::of(Mode::Live);
        let size = Size {
            columns: 80,
            rows: 24,
        };
        let handles = Handles {
            stdout: Box::new(Slow(gate)),
            stderr: Box::new(io::sink()),
            same: true,
            clearable: true,
            terminal: TerminalGuard::without_terminal(size),
        };
        (Ui::new(options, handles), go)
    }

    #[tokio::test]
    async fn the_terminal_is_left_before_all_that_waits_to_be_shown() {
        let (ui, go) = slow();
        let (inbox, _inputs) = inbox::channel();
        let (feed, _screen) = start(ui, inbox).unwrap();
        for _ in 0..WAITING_OUTPUT {
            feed.tell(Report::Output {
                id: GenId::FIRST,
                stream: Stream::Stdout,
                bytes: [b"x".repeat(64 * 1024), b"\n".to_vec()].concat(),
            });
        }
        let (left, ()) = tokio::join!(feed.leave(), async {
            // What is being written, and what leaving takes.
            for _ in 0..2 {
                go.send(()).unwrap();
            }
        });
        assert!(left);
    }
}
