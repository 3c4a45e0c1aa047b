//! What a person or a program sees of hotrun.
//!
//! The driver hands over [`Report`]s; a [`Ui`] folds them into a [`Model`] and shows them: as plain lines,
//! as JSON (the fields are documented in [`json`]), or not at all. Nothing here holds a handle to a process,
//! a socket or the machine. This is the one place that writes to stdout and stderr.

mod clean;
mod duration;
pub mod json;
mod model;
mod options;
mod plain;
mod report;
mod screen;
mod sink;
mod standard;
mod wording;

use std::io;

pub use duration::Human;
pub use model::{Generation, Model};
pub use options::{Kind, Options, Verbosity};
pub use report::{Level, Report, Stream};
pub use screen::Handles;
pub use standard::{print, print_error};

use json::Json;
use plain::Plain;
use screen::Screen;

/// Shows what happens.
///
/// Writing blocks while a terminal or pipe does not take more, so whoever must not wait gives the `Ui` a
/// thread of its own: it is `Send`.
#[derive(Debug)]
pub struct Ui {
    model: Model,
    face: Face,
}

#[derive(Debug)]
enum Face {
    Plain(Plain),
    Json(Json),
    Off(Screen),
}

impl Ui {
    /// A user interface that writes to hotrun's own stdout and stderr.
    pub fn standard(options: Options) -> Self {
        Self::new(options, Handles::standard())
    }

    /// A user interface that writes to these handles.
    pub fn new(options: Options, handles: Handles) -> Self {
        let face = match options.kind {
            Kind::Plain => Face::Plain(Plain::new(options, Screen::new(handles))),
            Kind::Json => Face::Json(Json::new(&options, handles.stdout)),
            Kind::Off => Face::Off(Screen::new(handles)),
        };
        Self {
            model: Model::default(),
            face,
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
            Face::Plain(plain) => plain.show(report, &self.model),
            Face::Json(json) => json.show(report),
            Face::Off(screen) => pass(screen, report),
        };
        self.model.fold(report);
        let settled = match &mut self.face {
            Face::Plain(plain) => plain.settle(&self.model),
            Face::Json(_) | Face::Off(_) => Ok(()),
        };
        shown.and(settled)
    }

    /// Shows what was held back (lines without an end). The last call.
    ///
    /// # Errors
    ///
    /// As for [`Ui::report`].
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.face {
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

fn pass(screen: &mut Screen, report: &Report) -> io::Result<()> {
    match report {
        Report::Output { stream, bytes, .. } => screen.raw(*stream, bytes),
        Report::Notice(_)
        | Report::Watching { .. }
        | Report::Listening { .. }
        | Report::Changed { .. }
        | Report::Diagnostic { .. }
        | Report::BuildLine { .. }
        | Report::Spawned { .. }
        | Report::OutputEnded { .. }
        | Report::Message { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests;
