//! The user interface, for people and for programs.
//!
//! The driver sends [`Report`]s. A [`Ui`] folds them into a model and shows them as plain lines, as JSON (see [`json`]
//! for the fields), on a live terminal, or not at all. This module holds no handle to a process, a socket or the state
//! machine. No other module writes to stdout or stderr.

pub mod feed;
mod interleaver;
pub mod json;
pub mod keys;
mod live;
mod log;
mod messages;
mod model;
mod options;
mod recent_output;
mod repeats;
mod report;
mod stdio;
mod terminal_guard;
mod terminal_input;
mod text;
mod writer;

use std::io;
use std::time::{Duration, Instant};

pub use feed::Feed;
pub use options::{Options, UiMode, Verbosity};
pub use recent_output::{Conflict, RecentOutput};
pub use report::{Level, OutputStream, Report, UiCommand};
pub use stdio::{Handles, print, print_error, supports_color, supports_live};
pub use terminal_guard::{TerminalGuard, panic_for_test, restore_permanently, restore_terminal};
pub use terminal_input::{TerminalEvent, TerminalInput};
pub use text::{Bytes, Human, path};

use interleaver::Interleaver;
use json::Json;
use live::Live;
use model::Model;
use writer::TolerantWriter;

/// A user interface.
///
/// Each method returns the first write error of each stream; later writes to that stream are ignored.
/// [`io::ErrorKind::BrokenPipe`] means that the reader is gone (`| head -1`), which needs no message.
///
/// A write blocks while the terminal or pipe accepts no output, so run the `Ui`, which is `Send`, in its own thread.
pub struct Ui {
    options: Options,
    model: Model,
    renderer: Renderer,
    started: Instant,
}

enum Renderer {
    Live(Box<Live>),
    /// Also for [`UiMode::Off`], which prints only the programs' output.
    Plain(Interleaver),
    Json(Json),
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
            UiMode::Live => {
                let out = TolerantWriter::new(handles.stdout);
                Renderer::Live(Box::new(Live::new(options.clone(), out, handles.terminal)))
            }
            UiMode::Plain | UiMode::Off => Renderer::Plain(Interleaver::new(handles)),
            UiMode::Json => Renderer::Json(Json::new(&options, handles.stdout)),
        };
        Self {
            options,
            model: Model::default(),
            renderer,
            started: Instant::now(),
        }
    }

    /// Shows a report.
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        match &mut self.renderer {
            Renderer::Live(live) => log::print(&mut **live, &self.options, report, &self.model),
            Renderer::Plain(output) if self.options.mode == UiMode::Off => {
                if let Report::Output(_, stream, bytes) = report {
                    output.raw(*stream, bytes);
                }
            }
            Renderer::Plain(output) => log::print(output, &self.options, report, &self.model),
            Renderer::Json(json) => json.show(report),
        }
        let now = self.started.elapsed();
        self.model.fold(report, now);
        match &mut self.renderer {
            Renderer::Plain(output) => output.release_alone(&self.model),
            Renderer::Live(live) => live.changed(&self.model, now),
            Renderer::Json(_) => {}
        }
        self.result()
    }

    /// The first write error since the last call.
    fn result(&mut self) -> io::Result<()> {
        let error = match &mut self.renderer {
            Renderer::Live(live) => live.take_error(),
            Renderer::Json(json) => json.take_error(),
            Renderer::Plain(output) => output.take_error(),
        };
        error.map_or(Ok(()), Err)
    }

    /// Executes a command. Commands change only what the live terminal shows.
    pub fn execute(&mut self, command: UiCommand) -> io::Result<()> {
        if let UiCommand::Resume { away } = command {
            self.started += away;
        }
        if let Renderer::Live(live) = &mut self.renderer {
            live.execute(command, &self.model);
        }
        self.result()
    }

    /// Draws the next frame, unless the last one is too recent. Call this when no further report is waiting, and after
    /// the time returned by [`Ui::next_redraw`].
    pub fn draw(&mut self) -> io::Result<()> {
        if let Renderer::Live(live) = &mut self.renderer {
            live.draw(&self.model, self.started.elapsed());
        }
        self.result()
    }

    /// How long to wait for a report before calling [`Ui::draw`] again. `None` if nothing needs to be redrawn before
    /// the next report.
    pub fn next_redraw(&self) -> Option<Duration> {
        match &self.renderer {
            Renderer::Live(live) => live.next_redraw(&self.model, self.started.elapsed()),
            Renderer::Plain(_) | Renderer::Json(_) => None,
        }
    }

    /// Writes the unfinished lines that are held back. Must be the last call.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.renderer {
            Renderer::Live(live) => live.finish(),
            Renderer::Plain(output) => output.finish(),
            Renderer::Json(json) => json.finish(),
        }
        self.result()
    }
}

#[cfg(test)]
mod tests;
