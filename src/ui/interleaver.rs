use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use crossterm::cursor::MoveTo;
use crossterm::terminal::{Clear, ClearType};

use super::writer::TolerantWriter;
use super::{Model, Stream, TerminalGuard};
use crate::reload::GenId;

/// The longest line to hold back until its end arrives, in bytes.
const MAX_HELD: usize = 64 * 1024;

/// Where a user interface writes.
pub struct Handles {
    /// The program's stdout, or the JSON lines.
    pub stdout: Box<dyn Write + Send>,
    /// The program's stderr and hotrun's own lines.
    pub stderr: Box<dyn Write + Send>,
    /// Whether both are the same terminal, file or pipe, so that they share their lines.
    pub same: bool,
    /// Whether stdout is a terminal that may be cleared.
    pub clearable: bool,
    /// The terminal that the live user interface draws on.
    pub terminal: TerminalGuard,
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles")
            .field("same", &self.same)
            .field("clearable", &self.clearable)
            .finish_non_exhaustive()
    }
}

/// Merges the output of several programs and hotrun's own lines, so that nothing is lost and no line has two authors.
///
/// The output of a single program passes through byte for byte, prompts included. While several run, each line is held
/// back until it is complete, and is labelled with the number of its generation.
#[derive(Debug)]
pub(super) struct Interleaver {
    stdout: TolerantWriter,
    stderr: TolerantWriter,
    same: bool,
    clearable: bool,
    /// The generation that started the current line of each stream, if that line has no end yet.
    open: [Option<GenId>; 2],
    /// Lines that are held back.
    held: BTreeMap<(GenId, Stream), Vec<u8>>,
}

impl Interleaver {
    pub(super) fn new(handles: Handles) -> Self {
        Self {
            stdout: TolerantWriter::new(handles.stdout),
            stderr: TolerantWriter::new(handles.stderr),
            same: handles.same,
            clearable: handles.clearable,
            open: [None; 2],
            held: BTreeMap::new(),
        }
    }

    /// Writes bytes unchanged.
    pub(super) fn raw(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => self.stdout.write(bytes),
            Stream::Stderr => self.stderr.write(bytes),
        }
    }

    /// Writes whole lines of hotrun itself.
    pub(super) fn own(&mut self, lines: &str) -> io::Result<()> {
        let mut text = self.on_a_new_line(Stream::Stderr, None);
        text.extend_from_slice(lines.as_bytes());
        self.raw(Stream::Stderr, &text)
    }

    /// Clears the terminal.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if !self.clearable {
            return Ok(());
        }
        self.open = [None; 2];
        let clear = format!("{}{}", Clear(ClearType::All), MoveTo(0, 0));
        self.raw(Stream::Stdout, clear.as_bytes())
    }

    /// Writes a program's output. `label`: whether another program runs.
    pub(super) fn output(
        &mut self,
        id: GenId,
        stream: Stream,
        bytes: &[u8],
        label: bool,
    ) -> io::Result<()> {
        let mut all = self.held.remove(&(id, stream)).unwrap_or_default();
        all.extend_from_slice(bytes);
        if !label {
            return self.pass(id, stream, &all);
        }
        let mut text = Vec::with_capacity(all.len() + 16);
        let mut rest = all.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.piece(&mut text, id, stream, &rest[..=end]);
            rest = &rest[end + 1..];
        }
        if self.continues(id, stream) || rest.len() > MAX_HELD {
            self.piece(&mut text, id, stream, rest);
        } else if !rest.is_empty() {
            self.held.insert((id, stream), rest.to_vec());
        }
        self.raw(stream, &text)
    }

    /// Adds a piece of one line: labelled, unless it continues a line of the same program.
    fn piece(&mut self, text: &mut Vec<u8>, id: GenId, stream: Stream, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        if !self.continues(id, stream) {
            text.extend(self.on_a_new_line(stream, Some(id)));
            text.extend_from_slice(format!("[{id}] ").as_bytes());
        }
        text.extend_from_slice(piece);
        self.ended_with(id, stream, piece);
    }

    fn pass(&mut self, id: GenId, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut text = self.on_a_new_line(stream, Some(id));
        text.extend_from_slice(bytes);
        self.ended_with(id, stream, bytes);
        self.raw(stream, &text)
    }

    /// Writes a program's last line if it has no end: its stream has ended.
    pub(super) fn ended(&mut self, id: GenId, stream: Stream, label: bool) -> io::Result<()> {
        let Some(bytes) = self.held.remove(&(id, stream)) else {
            return Ok(());
        };
        if !label {
            return self.pass(id, stream, &bytes);
        }
        let mut text = Vec::new();
        self.piece(&mut text, id, stream, &bytes);
        self.raw(stream, &text)
    }

    /// Writes what is held back of a program that now runs alone.
    pub(super) fn release_alone(&mut self, model: &Model) -> io::Result<()> {
        let alone: Vec<_> = self
            .held
            .keys()
            .copied()
            .filter(|(id, _)| !model.overlaps(*id))
            .collect();
        alone
            .into_iter()
            .map(|(id, stream)| self.ended(id, stream, false))
            .fold(Ok(()), Result::and)
    }

    /// Writes everything that is held back.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let held: Vec<_> = self.held.keys().copied().collect();
        held.into_iter()
            .map(|(id, stream)| self.ended(id, stream, true))
            .fold(Ok(()), Result::and)
    }

    fn index(&self, stream: Stream) -> usize {
        match stream {
            Stream::Stdout => 0,
            Stream::Stderr => usize::from(!self.same),
        }
    }

    fn continues(&self, id: GenId, stream: Stream) -> bool {
        self.open[self.index(stream)] == Some(id)
    }

    /// A line end, if another author started the current line.
    fn on_a_new_line(&mut self, stream: Stream, author: Option<GenId>) -> Vec<u8> {
        let index = self.index(stream);
        if self.open[index].is_none() || self.open[index] == author {
            return Vec::new();
        }
        self.open[index] = None;
        b"\n".to_vec()
    }

    fn ended_with(&mut self, id: GenId, stream: Stream, bytes: &[u8]) {
        let index = self.index(stream);
        self.open[index] = (!bytes.ends_with(b"\n")).then_some(id);
    }
}
