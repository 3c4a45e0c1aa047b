//! `--ui json`: JSON objects on stdout, one per line. [`guide::json`](crate::guide::json) describes the fields.

mod event;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;

use self::event::{Event, event, output};
use super::writer::TolerantWriter;
use super::{Options, Report, Stream};
use crate::reload::GenId;

/// The longest line to hold back until its end arrives, in bytes.
const MAX_HELD: usize = 64 * 1024;

/// The renderer.
#[derive(Debug)]
pub(super) struct Json {
    out: TolerantWriter,
    color: bool,
    now: fn() -> SystemTime,
    /// Lines without an end.
    held: BTreeMap<(GenId, Stream), Vec<u8>>,
}

#[derive(Serialize)]
struct Line {
    time: String,
    #[serde(flatten)]
    event: Event,
}

impl Json {
    pub(super) fn new(options: &Options, out: Box<dyn Write + Send>) -> Self {
        Self {
            out: TolerantWriter::new(out),
            color: options.color,
            now: SystemTime::now,
            held: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_clock(mut self, now: fn() -> SystemTime) -> Self {
        self.now = now;
        self
    }

    pub(super) fn show(&mut self, report: &Report) -> io::Result<()> {
        if let Report::Output { id, stream, bytes } = report {
            return self.output(*id, *stream, bytes);
        }
        if let Report::OutputEnded { id, stream } = report {
            return self.ended(*id, *stream);
        }
        match event(report, self.color) {
            Some(event) => self.write([event]),
            None => Ok(()),
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        let held: Vec<_> = self.held.keys().copied().collect();
        held.into_iter()
            .map(|(id, stream)| self.ended(id, stream))
            .fold(Ok(()), Result::and)
    }

    fn output(&mut self, id: GenId, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.held.remove(&(id, stream)).unwrap_or_default();
        all.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut rest = all.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            events.push(output(id, stream, &rest[..end], false));
            rest = &rest[end + 1..];
        }
        if rest.len() > MAX_HELD {
            let (whole, begun) = rest.split_at(rest.len() - incomplete(rest));
            events.push(output(id, stream, whole, true));
            rest = begun;
        }
        if !rest.is_empty() {
            self.held.insert((id, stream), rest.to_vec());
        }
        self.write(events)
    }

    fn ended(&mut self, id: GenId, stream: Stream) -> io::Result<()> {
        match self.held.remove(&(id, stream)) {
            Some(bytes) => self.write([output(id, stream, &bytes, true)]),
            None => Ok(()),
        }
    }

    fn write(&mut self, events: impl IntoIterator<Item = Event>) -> io::Result<()> {
        let mut lines = Vec::new();
        for event in events {
            let time = humantime::format_rfc3339_millis((self.now)()).to_string();
            // Strings and numbers are always serializable, and memory is always writable.
            let _ = serde_json::to_writer(&mut lines, &Line { time, event });
            lines.push(b'\n');
        }
        self.out.write(&lines)
    }
}

/// The length of the incomplete character at the end.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if incomplete { invalid.len() } else { 0 }
}
