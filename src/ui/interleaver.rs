use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use super::writer::TolerantWriter;
use super::{Model, Stream, TerminalGuard};
use crate::reload::GenId;

/// A line without an end is held back no longer than this, so that memory stays bounded.
const LONGEST_HELD: usize = 64 * 1024;

/// Where a user interface writes.
pub struct Handles {
    /// The program's stdout, or the JSON lines.
    pub stdout: Box<dyn Write + Send>,
    /// The program's stderr and hotrun's own lines.
    pub stderr: Box<dyn Write + Send>,
    /// Whether both lead to the same place, so that a line begun on one is in the way of the other.
    pub same: bool,
    /// Whether stdout may be cleared: a terminal that can, and nobody asked for less.
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

/// Passes output through so that nothing is lost and no two authors share a line.
///
/// A program that is alone is passed on byte for byte as it comes, prompts included. While several print, each
/// line is held until it is whole and carries the mark of its generation.
#[derive(Debug)]
pub(super) struct Interleaver {
    stdout: TolerantWriter,
    stderr: TolerantWriter,
    same: bool,
    clearable: bool,
    /// Who began the line that has no end yet.
    open: [Option<GenId>; 2],
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

    /// Passes on bytes whatever else is on the screen.
    pub(super) fn raw(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => self.stdout.write(bytes),
            Stream::Stderr => self.stderr.write(bytes),
        }
    }

    /// Writes whole lines of hotrun's own.
    pub(super) fn own(&mut self, lines: &str) -> io::Result<()> {
        let mut text = self.on_a_new_line(Stream::Stderr, None);
        text.extend_from_slice(lines.as_bytes());
        self.raw(Stream::Stderr, &text)
    }

    /// Clears the terminal and puts the cursor on top.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if !self.clearable {
            return Ok(());
        }
        self.open = [None; 2];
        self.raw(Stream::Stdout, b"\x1b[2J\x1b[H")
    }

    /// Writes what a program printed. `beside`: whether another program runs.
    pub(super) fn output(
        &mut self,
        id: GenId,
        stream: Stream,
        bytes: &[u8],
        beside: bool,
    ) -> io::Result<()> {
        let mut all = self.held.remove(&(id, stream)).unwrap_or_default();
        all.extend_from_slice(bytes);
        if !beside {
            return self.pass(id, stream, &all);
        }
        let mut text = Vec::with_capacity(all.len() + 16);
        let mut rest = all.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.piece(&mut text, id, stream, &rest[..=end]);
            rest = &rest[end + 1..];
        }
        if self.continues(id, stream) || rest.len() > LONGEST_HELD {
            self.piece(&mut text, id, stream, rest);
        } else if !rest.is_empty() {
            self.held.insert((id, stream), rest.to_vec());
        }
        self.raw(stream, &text)
    }

    /// Adds a piece of one line: marked, unless it goes on where the same program stopped.
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

    /// Shows what a program printed last without a line's end: its stream has ended.
    pub(super) fn ended(&mut self, id: GenId, stream: Stream, beside: bool) -> io::Result<()> {
        let Some(bytes) = self.held.remove(&(id, stream)) else {
            return Ok(());
        };
        if !beside {
            return self.pass(id, stream, &bytes);
        }
        let mut text = Vec::new();
        self.piece(&mut text, id, stream, &bytes);
        self.raw(stream, &text)
    }

    /// What was held back of a program that is alone now need not be any longer.
    pub(super) fn settle(&mut self, model: &Model) -> io::Result<()> {
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

    /// Shows everything that was held back.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let held: Vec<_> = self.held.keys().copied().collect();
        held.into_iter()
            .map(|(id, stream)| self.ended(id, stream, true))
            .fold(Ok(()), Result::and)
    }

    fn place(&self, stream: Stream) -> usize {
        match stream {
            Stream::Stdout => 0,
            Stream::Stderr => usize::from(!self.same),
        }
    }

    fn continues(&self, id: GenId, stream: Stream) -> bool {
        self.open[self.place(stream)] == Some(id)
    }

    /// The line's end that is missing if somebody else began the current line.
    fn on_a_new_line(&mut self, stream: Stream, author: Option<GenId>) -> Vec<u8> {
        let place = self.place(stream);
        if self.open[place].is_none() || self.open[place] == author {
            return Vec::new();
        }
        self.open[place] = None;
        b"\n".to_vec()
    }

    fn ended_with(&mut self, id: GenId, stream: Stream, bytes: &[u8]) {
        let place = self.place(stream);
        self.open[place] = (!bytes.ends_with(b"\n")).then_some(id);
    }
}
