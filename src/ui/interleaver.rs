use std::collections::BTreeMap;
use std::io;

use crossterm::cursor::MoveTo;
use crossterm::terminal::{Clear, ClearType};

use super::OutputStream;
use super::log::Printer;
use super::model::Model;
use super::stdio::Handles;
use super::writer::TolerantWriter;
use crate::reload::GenId;

/// The maximum number of bytes of an unfinished line to hold back.
const MAX_HELD: usize = 64 * 1024;

/// Merges the output of several programs and hotrun's own lines, so that nothing is lost and no line mixes two sources.
///
/// The output of a single program passes through byte for byte, prompts included. While several programs are running,
/// each line is held back until it is complete, and is labelled with the number of its generation.
pub(super) struct Interleaver {
    stdout: TolerantWriter,
    stderr: TolerantWriter,
    same: bool,
    clearable: bool,
    /// For each stream, the generation whose line is unfinished.
    open: [Option<GenId>; 2],
    /// Unfinished lines that are held back.
    held: BTreeMap<(GenId, OutputStream), Vec<u8>>,
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
    pub(super) fn raw(&mut self, stream: OutputStream, bytes: &[u8]) {
        match stream {
            OutputStream::Stdout => self.stdout.write(bytes),
            OutputStream::Stderr => self.stderr.write(bytes),
        }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        let error = self.stdout.take_error();
        error.or_else(|| self.stderr.take_error())
    }

    /// Writes a piece of a line. If `label` is set, labels it unless it continues a line of the same program.
    fn piece(&mut self, id: GenId, stream: OutputStream, piece: &[u8], label: bool) {
        if piece.is_empty() {
            return;
        }
        let label = match label && !self.continues(id, stream) {
            true => format!("[{id}] "),
            false => String::new(),
        };
        self.start_line(stream, Some(id));
        let index = self.index(stream);
        self.open[index] = (!piece.ends_with(b"\n")).then_some(id);
        self.raw(stream, &[label.as_bytes(), piece].concat());
    }

    /// Writes the lines that were held back for a program, if that program is now the only one running.
    pub(super) fn release_alone(&mut self, model: &Model) {
        let held = self.held.keys().copied();
        let alone: Vec<_> = held.filter(|(id, _)| !model.overlaps(*id)).collect();
        for (id, stream) in alone {
            self.ended(id, stream, false);
        }
    }

    /// Writes everything that is held back.
    pub(super) fn finish(&mut self) {
        for ((id, stream), bytes) in std::mem::take(&mut self.held) {
            self.piece(id, stream, &bytes, true);
        }
    }

    fn index(&self, stream: OutputStream) -> usize {
        match stream {
            OutputStream::Stdout => 0,
            OutputStream::Stderr => usize::from(!self.same),
        }
    }

    fn continues(&self, id: GenId, stream: OutputStream) -> bool {
        self.open[self.index(stream)] == Some(id)
    }

    /// Ends the current line if another source started it. hotrun's own lines have the source `None`.
    fn start_line(&mut self, stream: OutputStream, source: Option<GenId>) {
        let index = self.index(stream);
        if self.open[index].is_some() && self.open[index] != source {
            self.open[index] = None;
            self.raw(stream, b"\n");
        }
    }
}

impl Printer for Interleaver {
    const HAS_FOOTER: bool = false;

    fn lines(&mut self, lines: &[String]) {
        self.start_line(OutputStream::Stderr, None);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.raw(OutputStream::Stderr, text.as_bytes());
    }

    fn output(&mut self, id: GenId, stream: OutputStream, bytes: &[u8], label: bool) {
        let mut all = self.held.remove(&(id, stream)).unwrap_or_default();
        all.extend_from_slice(bytes);
        if !label {
            return self.piece(id, stream, &all, false);
        }
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            let is_shown = line.ends_with(b"\n") || self.continues(id, stream);
            if is_shown || line.len() > MAX_HELD {
                self.piece(id, stream, line, true);
            } else {
                self.held.insert((id, stream), line.to_vec());
            }
        }
    }

    fn ended(&mut self, id: GenId, stream: OutputStream, label: bool) {
        if let Some(bytes) = self.held.remove(&(id, stream)) {
            self.piece(id, stream, &bytes, label);
        }
    }

    fn clear(&mut self) {
        if self.clearable {
            self.open = [None; 2];
            let clear = format!("{}{}", Clear(ClearType::All), MoveTo(0, 0));
            self.raw(OutputStream::Stdout, clear.as_bytes());
        }
    }
}
