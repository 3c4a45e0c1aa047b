//! `--ui json`: JSON objects on stdout, one per line.
//!
//! New versions only add events and fields; none is renamed, removed or given another meaning. Ignore events and fields that
//! you do not know. `--quiet`, `--verbose` and `--why` have no effect here.
//!
//! Every object has `time`, when it was written (RFC 3339, UTC, milliseconds), and `event`. `generation` is the
//! number of a generation. Fields that end in `_ms` are durations in milliseconds, with fractions.
//!
//! | `event` | other fields | meaning |
//! | --- | --- | --- |
//! | `watching` | `directories` | hotrun watches files in this many directories |
//! | `listening` | `name`, `address` | a socket is open |
//! | `changed` | `paths` | these files changed, and hotrun acts on it |
//! | `building` | `generation`, `cause` | a build began; `cause` is `start`, `change`, `request`, `undo`, `inherit_descriptors` (to receive stored descriptors), `roll_back` (to the previous build after a crash) or `crash` (a restart after a crash) |
//! | `build_output` | `generation`, `text` | the build printed a line |
//! | `diagnostic` | `generation`, `level`, `rendered` | a message of the compiler; `level` is `error`, `warning` or `info`; it has colours only with `--color always` |
//! | `progress` | `generation`, `done`, `total` | how many crates cargo has compiled |
//! | `build_cancelled` | `generation` | the build was cancelled |
//! | `built` | `generation`, `took_ms` | the build succeeded |
//! | `discarded` | `generation` | the build succeeded, but is not started because sources changed during the build |
//! | `unchanged` | `generation`, `same_as` | the build made the binary that generation `same_as` runs already; nothing is started |
//! | `reload_signal_sent` | `generation`, `signal` | the program got this signal, on which it reloads its configuration |
//! | `reload_signal_unhandled` | `generation`, `signal` | the program does not handle that signal and is restarted |
//! | `starting` | `generation`, `cause` | the program is being started |
//! | `spawned` | `generation`, `pid`, `program` | the program's process runs; `program` is its name |
//! | `main_process` | `generation`, `pid` | the program named another process as its main process (`MAINPID` of `sd_notify(3)`) |
//! | `status` | `generation`, `text` | the program reported its status (`STATUS`); empty: it cleared it |
//! | `stored_descriptors` | `generation` | the program stores descriptors (`FDSTORE`): from now on each generation stops before the next one starts. Reported once |
//! | `timeout_extended` | `generation`, `remaining_ms` | the program's start or stop may take this long from now on (`EXTEND_TIMEOUT_USEC`) |
//! | `aborting` | `generation`, `after_ms` | the program gets `SIGABRT`: it sent no watchdog ping for this long, or asked for it (`null`) (`WATCHDOG`) |
//! | `ready` | `generation`, `took_ms` | the program is ready, this long after its start |
//! | `live` | `generation`, `took_ms` | new connections go to it, this long after it was ready |
//! | `restored` | `generation` | new connections go to this draining generation again, because the newer one crashed |
//! | `restart_scheduled` | `generation`, `delay_ms` | it crashed, and its build is started again after this delay |
//! | `superseded` | `generation` | newer sources arrived before it was ready; it is being stopped |
//! | `draining` | `generation`, `timeout_ms` | it finishes its in-flight requests, for at most this long |
//! | `killing` | `generation`, `reason`, `after_ms` | it is being killed, this long after it was to stop; `reason` is `timed_out` or `killed` (by the user) |
//! | `gone` | `generation`, `outcome`, `took_ms` | it ended after this long; `outcome` is `drained` (in time, or crashed), `timed_out` or `killed` |
//! | `failed` | `generation`, `reason`, `text`, `live`, and `exit_code` or `signal` | it failed; `reason` is `build`, `start`, `exited_early`, `ready_timeout`, `switch`, `crashed` or `vanished`; `live` is the generation that is live, or `null` |
//! | `paused` | | changes are held back |
//! | `resumed` | | changes are acted on again |
//! | `nothing_to_undo` | | there is no earlier build to roll back to, or something else is about to be started |
//! | `waiting` | | nothing is live, and only a change or a request can help |
//! | `quitting` | `timeout_ms` | hotrun stops everything, for at most this long |
//! | `output` | `generation`, `stream`, `text`, and `lossy`, `partial` if true | the program printed a line to `stdout` or `stderr`; `lossy`: it was not UTF-8, and U+FFFD replaces the invalid bytes; `partial`: no line end follows (the stream ended, or the line is longer than 64 KiB and continues) |
//! | `message` | `level`, `text`, and `hint` if there is one | any other message; `level` is `detail`, `info`, `warning` or `error` |

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
    colour: bool,
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
            colour: options.colour,
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
        match event(report, self.colour) {
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
