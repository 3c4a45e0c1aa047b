//! The live terminal: a footer of a few rows below, and the programs' output above it, in the terminal's own
//! scrollback.
//!
//! ```text
//! output of a program ─> filter ─> lines ──────────╮
//! reports ─> model ─> footer (pure) ─> rows ───────┴─> viewport ─> terminal
//! ```
//!
//! What is printed is gathered and written together with the footer below it, at most so many times a second.

mod footer;
mod help;
mod output_filter;
mod pending_output;
mod row;
mod sgr;
mod timing;
mod viewport;

use std::io;
use std::time::Duration;

use self::footer::Frame;
use self::pending_output::PendingOutput;
use self::viewport::Viewport;
use super::build_log::BuildLog;
use super::messages::{Importance, sentence};
use super::writer::TolerantWriter;
use super::{Model, Options, Report, TerminalGuard, UiCommand, Verbosity, plain, sanitize};
use crate::os::terminal::Size;
use crate::reload::{Cause, Failure, GenNotice, Notice};

/// The least time between two drawings.
const FRAME: Duration = Duration::from_millis(8);
/// So much output is written at once, whenever the last drawing was.
const ENOUGH: usize = 32 * 1024;
/// While hotrun is in the background: how often it looks whether it still is.
const LOOK: Duration = Duration::from_millis(500);

/// The renderer.
#[derive(Debug)]
pub(super) struct Live {
    options: Options,
    out: TolerantWriter,
    terminal: TerminalGuard,
    size: Size,
    viewport: Viewport,
    printed: PendingOutput,
    /// What the build printed that ended last, and was not given up.
    build: BuildLog,
    /// What the one printed that runs.
    running: BuildLog,
    help: bool,
    marks: u32,
    /// Something may look different.
    dirty: bool,
    drawn: Duration,
    /// hotrun is about to be stopped.
    left: bool,
}

impl Live {
    pub(super) fn new(options: Options, out: TolerantWriter, terminal: TerminalGuard) -> Self {
        Self {
            printed: PendingOutput::new(options.colour),
            options,
            out,
            size: terminal.size(),
            terminal,
            viewport: Viewport::default(),
            build: BuildLog::default(),
            running: BuildLog::default(),
            help: false,
            marks: 0,
            dirty: true,
            drawn: Duration::ZERO,
            left: false,
        }
    }

    /// Takes a report in. `model` is what was known before it.
    pub(super) fn show(&mut self, report: &Report, model: &Model) {
        self.dirty = true;
        match report {
            Report::Notice(notice) => self.notice(notice, model),
            Report::Changed { paths } if self.options.why => {
                let lines = plain::named(paths, &self.options);
                lines
                    .iter()
                    .for_each(|line| self.say(Importance::Normal, line));
            }
            // With the empty line that cargo puts behind it.
            Report::Diagnostic { rendered, .. } => self.build_text(&format!("{rendered}\n")),
            Report::BuildLine { text, .. } => self.build_text(text),
            Report::Output { id, bytes, .. } => {
                self.printed
                    .output(*id, bytes, model.overlaps(*id), self.size.columns);
            }
            Report::OutputEnded { id, .. } => self.printed.ended(*id, model.overlaps(*id)),
            Report::Message { level, text, hint } => {
                let lines = self.options.message(*level, text, hint.as_deref());
                lines.iter().for_each(|line| self.printed.own(line));
            }
            Report::Watching { .. }
            | Report::Listening { .. }
            | Report::Changed { .. }
            | Report::Spawned { .. }
            | Report::MainProcess { .. }
            | Report::Status { .. }
            | Report::Progress { .. }
            | Report::BuildBlocked { .. }
            | Report::ArtifactKept { .. }
            | Report::Connections { .. } => {}
        }
    }

    fn notice(&mut self, notice: &Notice, model: &Model) {
        if self.options.clear && plain::begins_anew(notice, model) {
            self.clear();
        }
        if let Notice::Generation(_, GenNotice::Building { .. }) = notice {
            self.running = BuildLog::default();
        }
        if let Notice::Generation(
            _,
            GenNotice::Built { .. }
            | GenNotice::Unchanged { .. }
            | GenNotice::Failed {
                failure: Failure::Build,
                ..
            },
        ) = notice
        {
            self.build = std::mem::take(&mut self.running);
        }
        let (importance, text) = sentence(notice, model);
        // What the footer shows need not be said, unless it is gone at a glance and explains what was printed.
        let on_screen = match notice {
            Notice::Generation(_, GenNotice::Failed { failure, .. }) => *failure == Failure::Build,
            // That what answers is not what was saved last must not be missed.
            Notice::Generation(_, GenNotice::Starting { cause }) => *cause != Cause::RollBack,
            Notice::Generation(
                _,
                GenNotice::Killing { .. }
                | GenNotice::Aborting { .. }
                | GenNotice::Restored
                | GenNotice::RestartScheduled { .. }
                | GenNotice::StoredFds
                | GenNotice::ReloadSignalSent { .. }
                | GenNotice::ReloadSignalUnhandled { .. },
            )
            | Notice::NothingToUndo => false,
            Notice::Generation(
                _,
                GenNotice::Building { .. }
                | GenNotice::BuildCancelled
                | GenNotice::Built { .. }
                | GenNotice::Outdated
                | GenNotice::Unchanged { .. }
                | GenNotice::Ready { .. }
                | GenNotice::Live { .. }
                | GenNotice::Draining { .. }
                | GenNotice::TimeoutExtended { .. }
                | GenNotice::Superseded
                | GenNotice::Gone { .. },
            )
            | Notice::Paused
            | Notice::Resumed
            | Notice::Waiting
            | Notice::Quitting { .. } => true,
        };
        if !on_screen || self.options.verbosity == Verbosity::Verbose {
            self.say(importance, &text);
        }
    }

    fn say(&mut self, importance: Importance, text: &str) {
        if self.options.says(importance) {
            let lines = self.options.lines(importance, text);
            lines.iter().for_each(|line| self.printed.own(line));
        }
    }

    fn build_text(&mut self, text: &str) {
        let text = sanitize::colours(text, self.options.colour);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if self.options.verbosity == Verbosity::Verbose {
            text.lines().for_each(|line| self.printed.foreign(line));
        }
        self.running.add(text);
    }

    /// Does what the user wants of the screen.
    pub(super) fn execute(&mut self, command: UiCommand, model: &Model) -> io::Result<()> {
        self.dirty = true;
        match command {
            UiCommand::Resized(size) => {
                self.size = size;
                self.viewport.disturb();
            }
            UiCommand::ToggleHelp => self.help = !self.help,
            UiCommand::HideHelp => self.help = false,
            UiCommand::ShowBuildLog => self.errors(model),
            UiCommand::Clear => self.clear(),
            UiCommand::Mark => self.mark(),
            // It may come twice. Whoever has been told that nothing is written any more may have stopped us already.
            UiCommand::ReleaseTerminal if self.left => {}
            UiCommand::ReleaseTerminal => {
                self.left = true;
                return self.leave();
            }
            UiCommand::Resume { .. } => self.returned(),
        }
        Ok(())
    }

    fn returned(&mut self) {
        if std::mem::take(&mut self.left) {
            return;
        }
        // Nobody has had us leave. If there is still anything of ours on the screen it is below the cursor.
        self.viewport.forget();
        self.viewport.disturb();
        self.terminal.invalidate();
    }

    /// What is wrong with the sources, as long as that is in sight, and not what the next build has said so far.
    fn errors(&mut self, model: &Model) {
        let runs = model.building.is_some() && model.broken.is_none();
        let build = match runs && !self.running.is_empty() {
            true => &self.running,
            false => &self.build,
        };
        if build.is_empty() {
            return self.say(Importance::Normal, "no build has printed anything");
        }
        build.lines().for_each(|line| self.printed.foreign(&line));
    }

    /// Not while somebody else has the terminal: it is his screen.
    fn clear(&mut self) {
        if self.terminal.is_active() {
            self.printed.raw("\x1b[H\x1b[2J");
        }
    }

    fn mark(&mut self) {
        super::panic_for_test();
        self.marks += 1;
        let text = format!("── mark {} ", self.marks);
        let columns = usize::from(self.size.columns);
        let rule = "─".repeat(columns.saturating_sub(text.chars().count()).min(60));
        self.printed.own(&format!("{text}{rule}"));
    }

    /// How long until [`Self::draw`] has something to do, if nothing is told meanwhile.
    pub(super) fn next_redraw(&self, model: &Model, now: Duration) -> Option<Duration> {
        if self.left {
            return None;
        }
        if self.dirty {
            return Some((self.drawn + FRAME).saturating_sub(now));
        }
        if !self.terminal.is_active() {
            return Some(LOOK);
        }
        timing::next_change(model, now)
    }

    /// Whether so much was printed that it should be written before more is taken in.
    pub(super) fn is_full(&self) -> bool {
        self.printed.len() > ENOUGH
    }

    /// Brings the terminal up to date.
    pub(super) fn draw(&mut self, model: &Model, now: Duration) -> io::Result<()> {
        let early = now < self.drawn + FRAME && !self.is_full();
        if self.left || early && self.dirty {
            return Ok(());
        }
        self.drawn = now;
        self.dirty = false;
        if !self.terminal.acquire() {
            // Somebody else has the terminal: no footer. Lines go below whatever is there.
            self.viewport.forget();
            let text = self.printed.take();
            return self.out.write(text.as_bytes());
        }
        self.measure();
        let above = self.printed.take();
        let rows = self.rows(model, now, above.matches('\n').count());
        let text = self.viewport.draw(&above, rows);
        self.out.write(text.as_bytes())
    }

    /// It may be another size already, and nobody has told.
    fn measure(&mut self) {
        let size = self.terminal.size();
        if size != self.size {
            self.size = size;
            self.viewport.disturb();
        }
    }

    /// The rows of the viewport: lines without an end, then as many empty ones as keep the footer where it is when it
    /// gets lower, then the footer.
    fn rows(&self, model: &Model, now: Duration, above: usize) -> Vec<String> {
        let frame = Frame {
            model,
            options: &self.options,
            size: self.size,
            now,
            help: self.help,
        };
        let columns = usize::from(self.size.columns);
        let footer = frame.rows();
        let footer = footer
            .iter()
            .map(|row| row.render(columns, self.options.colour));
        let footer: Vec<String> = footer.collect();
        let room = usize::from(self.size.rows).saturating_sub(footer.len());
        let mut rows = self.printed.unfinished(model, columns, room.min(6));
        let before = self.viewport.height().saturating_sub(above);
        let gap = before
            .min(usize::from(self.size.rows))
            .saturating_sub(rows.len() + footer.len());
        rows.extend(std::iter::repeat_n(String::new(), gap));
        rows.extend(footer);
        rows
    }

    /// Shows what was held back, and leaves the terminal.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.printed.finish();
        self.leave()
    }

    /// The footer goes first: what is still to be printed begins in its place.
    fn leave(&mut self) -> io::Result<()> {
        let text = self.viewport.erase() + &self.printed.take();
        let written = self.out.write(text.as_bytes());
        self.terminal.release();
        written
    }
}
