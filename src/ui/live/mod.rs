//! The live terminal: a footer of a few rows at the bottom, and above it the programs' output, which scrolls into the
//! terminal's own scrollback.
//!
//! ```text
//! program output ─> filter ─> lines ───────────────╮
//! reports ─> model ─> footer (pure) ─> rows ───────┴─> viewport ─> terminal
//! ```
//!
//! Output is collected and written together with the footer, at most once per frame.

mod footer;
pub(super) mod line;
mod output_filter;
mod pending_output;
mod sgr;
mod viewport;

use std::io;
use std::time::Duration;

use crossterm::cursor::MoveTo;
use crossterm::terminal::{Clear, ClearType};

use self::footer::Frame;
use self::line::harmless;
use self::pending_output::PendingOutput;
use self::viewport::Viewport;
use super::log::{Printer, print_build};
use super::model::Model;
use super::terminal_guard::panic_for_test;
use super::writer::TolerantWriter;
use super::{Level, Options, OutputStream, TerminalGuard, UiCommand};
use crate::os::local_time;
use crate::os::terminal::Size;
use crate::reload::GenId;

/// The shortest time between two frames, unless much output is pending.
const FRAME: Duration = Duration::from_millis(8);
/// How many bytes of output force an early frame.
const FULL: usize = 32 * 1024;
/// How often to check whether hotrun is still in the background.
const CHECK_FOREGROUND: Duration = Duration::from_millis(500);
/// How many rows the unfinished lines of programs may take.
const MAX_UNFINISHED_ROWS: usize = 6;

/// The renderer for the live terminal.
pub(super) struct Live {
    options: Options,
    out: TolerantWriter,
    terminal: TerminalGuard,
    size: Size,
    viewport: Viewport,
    output: PendingOutput,
    help: bool,
    marks: u32,
    /// The rows of a failed build's errors in the last frame.
    errors: Vec<String>,
    /// Whether the screen may be out of date.
    dirty: bool,
    /// When the last frame was drawn.
    drawn: Duration,
    /// Whether the terminal was released, because hotrun is about to be suspended.
    released: bool,
}

impl Live {
    pub(super) fn new(options: Options, out: TolerantWriter, terminal: TerminalGuard) -> Self {
        Self {
            output: PendingOutput::new(options.color),
            options,
            out,
            size: terminal.size(),
            terminal,
            viewport: Viewport::default(),
            help: false,
            marks: 0,
            errors: Vec::new(),
            dirty: true,
            drawn: Duration::ZERO,
            released: false,
        }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.out.take_error()
    }

    pub(super) fn execute(&mut self, command: UiCommand, model: &Model) {
        self.dirty = true;
        match command {
            UiCommand::Resized => self.viewport.disturb(),
            UiCommand::ToggleHelp => self.help = !self.help,
            UiCommand::HideHelp => self.help = false,
            UiCommand::ShowBuildLog => self.show_build_log(model),
            UiCommand::Clear => self.clear(),
            UiCommand::Mark => self.mark(),
            // The command may arrive a second time, when the terminal already belongs to the shell.
            UiCommand::ReleaseTerminal if self.released => {}
            UiCommand::ReleaseTerminal => {
                self.released = true;
                self.release();
            }
            UiCommand::Resume { .. } => self.resume(),
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.released) {
            return;
        }
        // hotrun was stopped without releasing the terminal. What remains of the footer is below the cursor.
        self.viewport.forget();
        self.viewport.disturb();
        self.terminal.invalidate();
    }

    /// Prints the output of the build in progress or, if that build has printed nothing or the footer shows the errors
    /// of a failed build, of the last build that ended.
    fn show_build_log(&mut self, model: &Model) {
        let building = model.building.is_some() && model.broken_build.is_none();
        let log = match building && !model.build_log.is_empty() {
            true => &model.build_log,
            false => &model.last_build_log,
        };
        let options = self.options.clone();
        if log.is_empty() {
            self.lines(&options.lines(Level::Info, "no build has printed anything yet"));
        }
        for line in log.last_lines(usize::MAX) {
            print_build(self, &options, &line);
        }
    }

    fn mark(&mut self) {
        panic_for_test();
        self.marks += 1;
        let [hour, minute, second] = local_time();
        let text = format!(
            "── mark {} · {hour:02}:{minute:02}:{second:02} ",
            self.marks
        );
        let columns = usize::from(self.size.columns);
        let rule = "─".repeat(columns.saturating_sub(text.chars().count()).min(60));
        self.output.line(&format!("{text}{rule}"));
    }

    /// Records that the model has changed. Draws at once if much output is pending.
    pub(super) fn changed(&mut self, model: &Model, now: Duration) {
        self.dirty = true;
        if self.is_full() {
            self.draw(model, now);
        }
    }

    /// How long until [`Self::draw`] has something to do, unless a report arrives first.
    pub(super) fn next_redraw(&self, model: &Model, now: Duration) -> Option<Duration> {
        if self.released {
            return None;
        }
        if self.dirty {
            return Some((self.drawn + FRAME).saturating_sub(now));
        }
        if !self.terminal.is_active() {
            return Some(CHECK_FOREGROUND);
        }
        footer::next_change(model, now)
    }

    /// Whether so much output is pending that it should be written before more is accepted.
    fn is_full(&self) -> bool {
        self.output.len() > FULL
    }

    /// Brings the terminal up to date, unless the last frame is too recent.
    pub(super) fn draw(&mut self, model: &Model, now: Duration) {
        let early = now < self.drawn + FRAME && !self.is_full();
        if self.released || early && self.dirty {
            return;
        }
        self.drawn = now;
        self.dirty = false;
        if !self.terminal.acquire() {
            // In the background, print without a footer, below whatever is on the screen.
            self.viewport.forget();
            let text = self.output.take();
            self.out.write(text.as_bytes());
            return;
        }
        self.check_size();
        let mut above = String::new();
        // Errors that no longer apply become part of the output. Erasing them would leave a hole at the bottom of the
        // screen, because a terminal cannot bring back the lines that it has scrolled away.
        let mut errors = std::mem::take(&mut self.errors);
        if model.broken_build.is_none() && !self.options.clear && !errors.is_empty() {
            errors.extend(self.options.lines(Level::Detail, "these errors are fixed"));
            above.extend(errors.iter().map(|row| format!("{row}\r\n")));
        }
        above += &self.output.take();
        let rows = self.rows(model, now);
        let text = self.viewport.draw(&above, rows);
        self.out.write(text.as_bytes());
    }

    /// Checks the terminal's size, because the signal for a resize may not have arrived yet.
    fn check_size(&mut self) {
        let size = self.terminal.size();
        if size != self.size {
            self.size = size;
            self.viewport.disturb();
        }
    }

    /// The rows of the viewport: unfinished lines, then the footer.
    fn rows(&mut self, model: &Model, now: Duration) -> Vec<String> {
        let frame = Frame {
            model,
            options: &self.options,
            size: self.size,
            now,
            help: self.help,
        };
        let columns = usize::from(self.size.columns);
        let (footer, errors) = footer::rows(&frame);
        self.errors = footer[errors].to_vec();
        let room = usize::from(self.size.rows).saturating_sub(footer.len());
        let room = room.min(MAX_UNFINISHED_ROWS);
        let mut rows = self.output.unfinished(model, columns, room);
        rows.extend(footer);
        rows
    }

    /// Prints the unfinished lines, and releases the terminal.
    pub(super) fn finish(&mut self) {
        self.output.finish();
        self.release();
    }

    /// Releases the terminal, after replacing the footer with the remaining output.
    fn release(&mut self) {
        let text = self.viewport.erase() + &self.output.take();
        self.out.write(text.as_bytes());
        self.terminal.release();
    }
}

/// Output is collected, and written with the next frame.
impl Printer for Live {
    const HAS_FOOTER: bool = true;

    fn lines(&mut self, lines: &[String]) {
        self.dirty = true;
        lines
            .iter()
            .for_each(|line| self.output.line(&harmless(line)));
    }

    fn output(&mut self, id: GenId, _: OutputStream, bytes: &[u8], label: bool) {
        self.output.output(id, bytes, label, self.size.columns);
    }

    fn ended(&mut self, id: GenId, _: OutputStream, label: bool) {
        self.output.ended(id, label);
    }

    /// Clears the screen, unless another job has the terminal.
    fn clear(&mut self) {
        if self.terminal.is_active() {
            let clear = format!("{}{}", MoveTo(0, 0), Clear(ClearType::All));
            self.output.raw(&clear);
        }
    }
}
