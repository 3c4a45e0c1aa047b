//! `--ui json`: one JSON object a line on stdout.
//!
//! Fields are only ever added; none is renamed, removed or given another meaning. A reader ignores events and
//! fields that it does not know. `--quiet`, `--verbose` and `--why` change nothing here.
//!
//! Every object has `time`, when it was written (RFC 3339, UTC, milliseconds), and `event`. `generation` is the
//! number of the generation in question. Durations end in `_ms` and are milliseconds, with fractions.
//!
//! | `event` | other fields | meaning |
//! | --- | --- | --- |
//! | `watching` | `directories` | files in so many directories are watched |
//! | `listening` | `name`, `address` | a socket is open |
//! | `changed` | `paths` | these files changed, something is done about it |
//! | `building` | `generation`, `cause` | a build began; `cause` is `begin`, `change`, `request`, `undo`, `inherit` (to get what was stored), `go_back` or `crash` (back, or once more, after a crash) |
//! | `build_output` | `generation`, `text` | the build printed a line |
//! | `diagnostic` | `generation`, `level`, `rendered` | the compiler has something to say; `level` is `error`, `warning` or `info`; escape codes only with `--color always` |
//! | `progress` | `generation`, `done`, `all` | cargo has compiled so many crates of so many |
//! | `build_cancelled` | `generation` | the build was given up |
//! | `built` | `generation`, `took_ms` | the build succeeded |
//! | `outdated` | `generation` | built, and not started because something changed meanwhile |
//! | `unchanged` | `generation`, `like` | the executable is the one that generation `like` runs already; nothing is started |
//! | `signalled` | `generation`, `signal` | it was told by this signal to read its configuration again |
//! | `unhandled` | `generation`, `signal` | it does not handle that signal; it is restarted |
//! | `starting` | `generation`, `cause` | the program is being started |
//! | `spawned` | `generation`, `pid`, `program` | its process runs; `program` is its name |
//! | `main_process` | `generation`, `pid` | it names another process as its main one (`MAINPID` of `sd_notify(3)`) |
//! | `status` | `generation`, `text` | it says what it does (`STATUS`); empty: nothing any more |
//! | `stores` | `generation` | it stores descriptors (`FDSTORE`): from now on each generation ends before the next one starts. Told once |
//! | `extended` | `generation`, `left_ms` | its start or its end may take so long from now on (`EXTEND_TIMEOUT_USEC`) |
//! | `aborting` | `generation`, `after_ms` | it gave no sign of life for so long, or wants this itself (`null`): it gets `SIGABRT` (`WATCHDOG`) |
//! | `ready` | `generation`, `took_ms` | it is ready, so long after its start |
//! | `live` | `generation`, `took_ms` | new connections go to it, so long after it was ready |
//! | `restored` | `generation` | it was draining, and new connections go to it again: the newer one has crashed |
//! | `again` | `generation`, `after_ms` | it has crashed, and its build is started once more, so long from now |
//! | `superseded` | `generation` | newer sources came before it was ready; it is being stopped |
//! | `draining` | `generation`, `timeout_ms` | it finishes what it has, for at most so long |
//! | `killing` | `generation`, `why`, `after_ms` | it is being killed, so long after it was to leave; `why` is `timed_out` or `killed` |
//! | `gone` | `generation`, `how`, `took_ms` | it ended: `how` is `drained` (by itself, also in a crash), `timed_out` or `killed`, after so long |
//! | `failed` | `generation`, `reason`, `text`, `live`, and `exit_code` or `signal` | it failed: `reason` is `build`, `start`, `ended_early`, `ready_timeout`, `switch`, `crashed` or `lost`; `live` is the generation that serves, or `null` |
//! | `paused` | | changes wait |
//! | `resumed` | | changes are acted on again |
//! | `nothing_to_undo` | | there is no earlier build to go back to, or something else is about to be started |
//! | `waiting` | | nothing is live, and only a change or a request can help |
//! | `quitting` | `timeout_ms` | what runs is being stopped |
//! | `output` | `generation`, `stream`, `text`, and `lossy`, `partial` if true | the program printed a line to `stdout` or `stderr`; `lossy`: it was not UTF-8, and U+FFFD stands for what was not; `partial`: no line end follows (the stream ended, or the line is longer than 64 KiB and goes on) |
//! | `message` | `level`, `text`, and `hint` if there is one | anything else, in words; `level` is `detail`, `info`, `warning` or `error` |

mod event;
mod names;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;

use self::event::{Event, Message, Output, notice_event};
use super::writer::TolerantWriter;
use super::{Options, Report, Stream, sanitize};
use crate::reload::GenId;
use names::level_name;

/// A line without an end is held back no longer than this.
const LONGEST_HELD: usize = 64 * 1024;

/// The renderer.
#[derive(Debug)]
pub(super) struct Json {
    out: TolerantWriter,
    colour: bool,
    now: fn() -> SystemTime,
    held: BTreeMap<(GenId, Stream), Vec<u8>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: Event<'a>,
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
        match report {
            Report::Output { id, stream, bytes } => self.output(*id, *stream, bytes),
            Report::OutputEnded { id, stream } => self.ended(*id, *stream),
            Report::Notice(notice) => self.write(notice_event(notice)),
            Report::Watching { directories } => self.write(Event::Watching {
                directories: *directories,
            }),
            Report::Listening { first: false, .. } => Ok(()),
            Report::Listening { name, address, .. } => {
                self.write(Event::Listening { name, address })
            }
            Report::Changed { paths } => self.write(Event::Changed {
                paths: paths.iter().map(|path| path.to_string_lossy()).collect(),
            }),
            Report::Diagnostic {
                id,
                level,
                rendered,
            } => {
                let rendered = sanitize::colours(rendered, self.colour);
                self.write(Event::Diagnostic {
                    generation: id.get(),
                    level: level_name(*level),
                    rendered,
                })
            }
            Report::BuildLine { id, text } => {
                let text = sanitize::colours(text, self.colour);
                self.write(Event::BuildOutput {
                    generation: id.get(),
                    text,
                })
            }
            Report::Spawned { id, pid, program } => self.write(Event::Spawned {
                generation: id.get(),
                pid: *pid,
                program,
            }),
            Report::Progress { id, done, all } => self.write(Event::Progress {
                generation: id.get(),
                done: *done,
                all: *all,
            }),
            Report::MainProcess { id, pid } => self.write(Event::MainProcess {
                generation: id.get(),
                pid: *pid,
            }),
            Report::Status { id, text } => self.write(Event::Status {
                generation: id.get(),
                text,
            }),
            // For a screen that is looked at. That a build is blocked the build itself says, in a line.
            Report::Connections { .. }
            | Report::BuildBlocked { .. }
            | Report::ArtifactKept { .. } => Ok(()),
            Report::Message { level, text, hint } => self.write(Event::Message(Message {
                level: level_name(*level),
                text,
                hint: hint.as_deref(),
            })),
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
        let mut lines = Vec::new();
        let mut rest = all.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.render(
                &mut lines,
                Event::Output(output_event(id, stream, &rest[..end], false)),
            );
            rest = &rest[end + 1..];
        }
        if rest.len() > LONGEST_HELD {
            let (whole, begun) = rest.split_at(rest.len() - begun(rest));
            self.render(
                &mut lines,
                Event::Output(output_event(id, stream, whole, true)),
            );
            rest = begun;
        }
        if !rest.is_empty() {
            self.held.insert((id, stream), rest.to_vec());
        }
        self.out.write(&lines)
    }

    fn ended(&mut self, id: GenId, stream: Stream) -> io::Result<()> {
        match self.held.remove(&(id, stream)) {
            Some(bytes) => self.write(Event::Output(output_event(id, stream, &bytes, true))),
            None => Ok(()),
        }
    }

    fn write(&mut self, event: Event<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        self.render(&mut line, event);
        self.out.write(&line)
    }

    fn render(&self, lines: &mut Vec<u8>, event: Event<'_>) {
        let time = humantime::format_rfc3339_millis((self.now)()).to_string();
        // Strings and numbers into memory: serde_json has nothing to refuse.
        let _ = serde_json::to_writer(&mut *lines, &Line { time, event });
        lines.push(b'\n');
    }
}

/// How many bytes at the end are a character of which more is to come.
fn begun(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if is_begun { invalid.len() } else { 0 }
}

fn output_event(id: GenId, stream: Stream, bytes: &[u8], partial: bool) -> Output<'_> {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let text = String::from_utf8_lossy(bytes);
    let lossy = matches!(text, Cow::Owned(_));
    Output {
        generation: id.get(),
        stream,
        text,
        lossy,
        partial,
    }
}
