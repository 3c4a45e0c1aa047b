//! What a person or a program sees of hotrun.
//!
//! The driver hands over [`Report`]s; a [`Ui`] folds them into a [`Model`] and shows them: as plain lines, as JSON (the
//! fields are documented in [`json`]), on a live terminal, or not at all. Nothing here holds a handle to a process,
//! a socket or the machine. This is the one place that writes to stdout and stderr.

mod build_log;
mod command;
mod duration;
mod interleaver;
pub mod json;
pub mod keys;
mod live;
mod log_style;
mod messages;
mod model;
mod options;
mod plain;
mod report;
mod sanitize;
mod stdio;
mod terminal_guard;
mod writer;

use std::io;
use std::time::{Duration, Instant};

use crate::os::test_hook;

pub use command::UiCommand;
pub use duration::Human;
pub use interleaver::Handles;
pub use model::{Building, Generation, Last, Model, Problem};
pub use options::{Mode, Options, Verbosity};
pub use report::{Level, Report, Stream};
pub use stdio::{print, print_error, supports_colour, supports_live};
pub use terminal_guard::{TerminalGuard, restore_permanently, restore_terminal};

use interleaver::Interleaver;
use json::Json;
use live::Live;
use plain::Plain;
use writer::TolerantWriter;

/// Panics if the test hook `PANIC` is set, so that tests see what a panic leaves behind.
///
/// # Panics
///
/// If the test hook is set.
pub fn panic_for_test() {
    assert!(test_hook("PANIC").is_none(), "requested by a test");
}

/// Shows what happens.
///
/// Writing blocks while a terminal or pipe does not take more, so whoever must not wait gives the `Ui` a
/// thread of its own: it is `Send`.
#[derive(Debug)]
pub struct Ui {
    model: Model,
    face: Face,
    started: Instant,
}

#[derive(Debug)]
enum Face {
    Live(Box<Live>),
    Plain(Plain),
    Json(Json),
    Off(Interleaver),
}

impl Ui {
    /// A user interface that writes to hotrun's own stdout and stderr.
    pub fn standard(options: Options) -> Self {
        let handles = Handles::standard(&options);
        Self::new(options, handles)
    }

    /// A user interface that writes to these handles.
    pub fn new(options: Options, handles: Handles) -> Self {
        let face = match options.mode {
            Mode::Live => Face::Live(Box::new(Live::new(
                options,
                TolerantWriter::new(handles.stdout),
                handles.terminal,
            ))),
            Mode::Plain => Face::Plain(Plain::new(options, Interleaver::new(handles))),
            Mode::Json => Face::Json(Json::new(&options, handles.stdout)),
            Mode::Off => Face::Off(Interleaver::new(handles)),
        };
        Self {
            model: Model::default(),
            face,
            started: Instant::now(),
        }
    }

    /// Shows one more fact.
    ///
    /// # Errors
    ///
    /// The first failed write of each stream, once: from then on nothing is written to that stream and nothing is
    /// reported of it. [`io::ErrorKind::BrokenPipe`] means that the reader went away (`| head -1`), which
    /// is no fault and not worth a message.
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        let shown = match &mut self.face {
            Face::Live(live) => {
                live.show(report, &self.model);
                Ok(())
            }
            Face::Plain(plain) => plain.show(report, &self.model),
            Face::Json(json) => json.show(report),
            Face::Off(screen) => pass(screen, report),
        };
        self.model.fold(report, self.started.elapsed());
        let settled = match &mut self.face {
            Face::Plain(plain) => plain.settle(&self.model),
            Face::Live(live) if live.is_full() => live.draw(&self.model, self.started.elapsed()),
            Face::Live(_) | Face::Json(_) | Face::Off(_) => Ok(()),
        };
        shown.and(settled)
    }

    /// Does what the user wants of the screen.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn execute(&mut self, command: UiCommand) -> io::Result<()> {
        if let UiCommand::Resume { away } = command {
            self.started += away;
        }
        match &mut self.face {
            Face::Live(live) => live.execute(command, &self.model),
            Face::Plain(_) | Face::Json(_) | Face::Off(_) => Ok(()),
        }
    }

    /// Brings the screen up to date, if it is time for it. To be called when nothing more is there to be told, and when
    /// [`Ui::next_redraw`] is over.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn draw(&mut self) -> io::Result<()> {
        match &mut self.face {
            Face::Live(live) => live.draw(&self.model, self.started.elapsed()),
            Face::Plain(_) | Face::Json(_) | Face::Off(_) => Ok(()),
        }
    }

    /// How long until the screen changes by time alone; `None`: it does not.
    pub fn next_redraw(&self) -> Option<Duration> {
        match &self.face {
            Face::Live(live) => live.next_redraw(&self.model, self.started.elapsed()),
            Face::Plain(_) | Face::Json(_) | Face::Off(_) => None,
        }
    }

    /// Shows what was held back (lines without an end). The last call.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.face {
            Face::Live(live) => live.finish(),
            Face::Plain(plain) => plain.finish(),
            Face::Json(json) => json.finish(),
            Face::Off(_) => Ok(()),
        }
    }

    /// What is known of the generations.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

fn pass(screen: &mut Interleaver, report: &Report) -> io::Result<()> {
    if let Report::Output { stream, bytes, .. } = report {
        screen.raw(*stream, bytes)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
