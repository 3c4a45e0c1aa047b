use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::reload::{Event, Request};
use crate::ui::{Level, Order, Report, Ui};

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
}

#[derive(Debug)]
struct Item {
    what: What,
    /// Given back once the report has been shown.
    _room: Option<OwnedSemaphorePermit>,
    /// Told once it is done.
    done: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum What {
    Report(Report),
    Order(Order),
}

/// The user interface's thread.
#[derive(Debug)]
pub(super) struct Screen {
    finished: oneshot::Receiver<()>,
}

/// Gives the user interface a thread of its own.
pub(super) fn start(ui: Ui, inbox: Inbox) -> std::io::Result<(Feed, Screen)> {
    let (items, incoming) = mpsc::channel();
    let (finish, finished) = oneshot::channel();
    let room = Arc::new(Semaphore::new(WAITING_OUTPUT));
    thread::Builder::new().name("ui".into()).spawn(move || {
        let _alarm = Alarm(inbox.clone());
        show(ui, &incoming, &inbox);
        // Nobody waits any more if the end took too long.
        let _ = finish.send(());
    })?;
    let words = Arc::default();
    Ok((Feed { items, room, words }, Screen { finished }))
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

fn show(mut ui: Ui, incoming: &Receiver<Item>, inbox: &Inbox) {
    loop {
        let mut item = match wait(incoming, ui.patience()) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // All that is there is shown at once.
        let mut shown = Ok(());
        while let Some(Item { what, done, _room }) = item {
            shown = shown.and(match what {
                What::Report(report) => ui.report(&report),
                What::Order(order) => ui.obey(order),
            });
            let _ = done.map(|done| done.send(()));
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
        self.send(What::Report(report), None, None);
    }

    fn send(
        &self,
        what: What,
        room: Option<OwnedSemaphorePermit>,
        done: Option<oneshot::Sender<()>>,
    ) {
        if let What::Report(report) = &what {
            let words = self.words.lock();
            words.unwrap_or_else(PoisonError::into_inner).hear(report);
        }
        // The thread ends only when nobody has anything to tell.
        let _ = self.items.send(Item {
            what,
            _room: room,
            done,
        });
    }

    /// What was said lately.
    pub(super) fn words(&self) -> Arc<Mutex<Words>> {
        self.words.clone()
    }

    /// Has something done to the screen. Never waits.
    pub(super) fn order(&self, order: Order) {
        self.send(What::Order(order), None, None);
    }

    /// Has something done to the screen, and waits until it is, for a while.
    pub(super) async fn order_done(&self, order: Order) {
        let (done, is_done) = oneshot::channel();
        self.send(What::Order(order), None, Some(done));
        let _ = tokio::time::timeout(LAST_WORDS, is_done).await;
    }

    /// Shows output, once there is room for it.
    pub(super) async fn pass(&self, report: Report) {
        let room = self.room.clone().acquire_owned().await.ok();
        self.send(What::Report(report), room, None);
    }

    /// Shows it if there is room for it now.
    pub(super) fn offer(&self, report: Report) {
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            self.send(What::Report(report), Some(room), None);
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
    /// Waits until everything was shown, for a while. To be called when the driver is dropped; what still holds
    /// a [`Feed`] are tasks that are about to end.
    ///
    /// # Errors
    /// It has panicked, and said so.
    pub(super) async fn finish(self) -> Result<()> {
        match tokio::time::timeout(LAST_WORDS, self.finished).await {
            Ok(Err(_)) => bail!("what shows all this has failed"),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
