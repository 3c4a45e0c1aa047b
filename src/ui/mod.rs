//! The user interface: what people and programs see of hotrun.
//!
//! The driver sends [`Report`]s. A [`Ui`] folds them into a model and shows them as plain lines, as JSON (see [`json`] for the
//! fields), on a live terminal, or not at all. This module holds no handle to a process, a socket or the state machine, and
//! nothing else writes to stdout and stderr.

mod build_log;
mod command;
mod duration;
pub mod feed;
mod interleaver;
pub mod json;
pub mod keys;
mod live;
mod log_style;
mod messages;
mod model;
mod notices;
mod options;
mod plain;
mod recent_output;
mod report;
mod sanitize;
mod stdio;
mod terminal_guard;
mod terminal_input;
mod writer;

use std::io;
use std::time::{Duration, Instant};

use crate::os::test_hook;

pub use command::UiCommand;
pub use duration::Human;
pub use feed::Feed;
pub use interleaver::Handles;
pub use options::{Mode, Options, Verbosity};
pub use recent_output::RecentOutput;
pub use report::{Level, Report, Stream};
pub use stdio::{print, print_error, supports_color, supports_live};
pub use terminal_guard::{TerminalGuard, restore_permanently, restore_terminal};
pub use terminal_input::{TerminalEvent, TerminalInput};

use interleaver::Interleaver;
use json::Json;
use live::Live;
use model::Model;
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

/// A user interface.
///
/// Writing blocks while a terminal or pipe accepts no output, so run the `Ui` in a thread of its own: it is `Send`.
#[derive(Debug)]
pub struct Ui {
    model: Model,
    renderer: Renderer,
    started: Instant,
}

#[derive(Debug)]
enum Renderer {
    Live(Box<Live>),
    Plain(Plain),
    Json(Json),
    Off(Interleaver),
}

impl Ui {
    /// A user interface on stdout and stderr.
    pub fn standard(options: Options) -> Self {
        let handles = Handles::standard(&options);
        Self::new(options, handles)
    }

    /// A user interface that writes to these handles.
    pub fn new(options: Options, handles: Handles) -> Self {
        let renderer = match options.mode {
            Mode::Live => Renderer::Live(Box::new(Live::new(
                options,
                TolerantWriter::new(handles.stdout),
                handles.terminal,
            ))),
            Mode::Plain => Renderer::Plain(Plain::new(options, Interleaver::new(handles))),
            Mode::Json => Renderer::Json(Json::new(&options, handles.stdout)),
            Mode::Off => Renderer::Off(Interleaver::new(handles)),
        };
        Self {
            model: Model::default(),
            renderer,
            started: Instant::now(),
        }
    }

    /// Shows a report.
    ///
    /// # Errors
    ///
    /// The first failed write of each stream; after that, writes to this stream are ignored. [`io::ErrorKind::BrokenPipe`]
    /// means that the reader is gone (`| head -1`), which deserves no message.
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        let shown = match &mut self.renderer {
            Renderer::Live(live) => {
                live.show(report, &self.model);
                Ok(())
            }
            Renderer::Plain(plain) => plain.show(report, &self.model),
            Renderer::Json(json) => json.show(report),
            Renderer::Off(output) => pass_through(output, report),
        };
        let now = self.started.elapsed();
        self.model.fold(report, now);
        let drawn = match &mut self.renderer {
            Renderer::Plain(plain) => plain.release_alone(&self.model),
            Renderer::Live(live) if live.is_full() => live.draw(&self.model, now),
            Renderer::Live(_) | Renderer::Json(_) | Renderer::Off(_) => Ok(()),
        };
        shown.and(drawn)
    }

    /// Executes a command. Only the live terminal has any.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn execute(&mut self, command: UiCommand) -> io::Result<()> {
        if let UiCommand::Resume { away } = command {
            self.started += away;
        }
        match &mut self.renderer {
            Renderer::Live(live) => live.execute(command, &self.model),
            Renderer::Plain(_) | Renderer::Json(_) | Renderer::Off(_) => Ok(()),
        }
    }

    /// Draws the next frame if it is due. Call this when no further report is waiting, and after [`Ui::next_redraw`].
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn draw(&mut self) -> io::Result<()> {
        match &mut self.renderer {
            Renderer::Live(live) => live.draw(&self.model, self.started.elapsed()),
            Renderer::Plain(_) | Renderer::Json(_) | Renderer::Off(_) => Ok(()),
        }
    }

    /// How long until the screen changes without a further report; `None`: never.
    pub fn next_redraw(&self) -> Option<Duration> {
        match &self.renderer {
            Renderer::Live(live) => live.next_redraw(&self.model, self.started.elapsed()),
            Renderer::Plain(_) | Renderer::Json(_) | Renderer::Off(_) => None,
        }
    }

    /// Shows what is held back (lines without an end). Must be the last call.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.renderer {
            Renderer::Live(live) => live.finish(),
            Renderer::Plain(plain) => plain.finish(),
            Renderer::Json(json) => json.finish(),
            Renderer::Off(_) => Ok(()),
        }
    }
}

fn pass_through(output: &mut Interleaver, report: &Report) -> io::Result<()> {
    if let Report::Output { stream, bytes, .. } = report {
        output.raw(*stream, bytes)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
