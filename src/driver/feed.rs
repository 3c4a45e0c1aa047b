use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::reload::{Event, Request};
use crate::ui::{Level, Report, Ui};

use super::inbox::Inbox;

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
}

#[derive(Debug)]
struct Item {
    report: Report,
    /// Given back once the report has been shown.
    _room: Option<OwnedSemaphorePermit>,
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
        show(ui, &incoming, &inbox);
        // Nobody waits any more if the end took too long.
        let _ = finish.send(());
    })?;
    Ok((Feed { items, room }, Screen { finished }))
}

fn show(mut ui: Ui, incoming: &Receiver<Item>, inbox: &Inbox) {
    while let Ok(item) = incoming.recv() {
        if ui.report(&item.report).is_err() {
            // Whoever read this is gone (`| head -1`, a closed terminal) or the disk is full: nobody will ever
            // see more of it, and so it goes with a program that hotrun runs: it ends. The user interface
            // reports each such failure once.
            inbox.event(Event::Requested(Request::Quit));
        }
    }
    let _ = ui.finish();
}

impl Feed {
    /// Shows a fact. Never waits.
    pub(super) fn tell(&self, report: Report) {
        // The thread ends only when nobody has anything to tell.
        let _ = self.items.send(Item {
            report,
            _room: None,
        });
    }

    /// Shows output, once there is room for it.
    pub(super) async fn pass(&self, report: Report) {
        let room = self.room.clone().acquire_owned().await.ok();
        let _ = self.items.send(Item {
            report,
            _room: room,
        });
    }

    /// Shows a message.
    pub(super) fn message(&self, level: Level, text: impl Into<String>, hint: Option<String>) {
        self.tell(Report::Message {
            level,
            text: text.into(),
            hint,
        });
    }

    /// A message without a hint, for [`Feed::pass`].
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
    pub(super) async fn finish(self) {
        let _ = tokio::time::timeout(LAST_WORDS, self.finished).await;
    }
}
