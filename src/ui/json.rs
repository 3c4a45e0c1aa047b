//! `--ui json`: JSON objects on stdout, one per line. [`guide::json`](crate::guide::json) describes the fields.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serializer as _;
use serde_json::{Value, json};

use super::writer::TolerantWriter;
use super::{Options, OutputStream, Report, text};
use crate::reload::{Cause, Ended, GenFailure, GenId, GenNotice, Notice, Stopped};

/// The maximum number of bytes of an unfinished line to hold back.
const MAX_HELD: usize = 64 * 1024;

/// The JSON renderer.
pub(super) struct Json {
    out: TolerantWriter,
    color: bool,
    /// Unfinished lines.
    held: BTreeMap<(GenId, OutputStream), Vec<u8>>,
}

impl Json {
    pub(super) fn new(options: &Options, out: Box<dyn Write + Send>) -> Self {
        Self {
            out: TolerantWriter::new(out),
            color: options.color,
            held: BTreeMap::new(),
        }
    }

    pub(super) fn show(&mut self, report: &Report) {
        if let Report::Output(id, stream, bytes) = report {
            self.output(*id, *stream, bytes);
        } else if let Report::OutputEnded(id, stream) = report {
            self.ended(*id, *stream);
        } else {
            self.write(event(report, self.color));
        }
    }

    pub(super) fn finish(&mut self) {
        for ((id, stream), bytes) in std::mem::take(&mut self.held) {
            self.write([output(id, stream, &bytes, true)]);
        }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.out.take_error()
    }

    fn output(&mut self, id: GenId, stream: OutputStream, bytes: &[u8]) {
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
        self.write(events);
    }

    fn ended(&mut self, id: GenId, stream: OutputStream) {
        let held = self.held.remove(&(id, stream));
        self.write(held.map(|bytes| output(id, stream, &bytes, true)));
    }

    fn write(&mut self, events: impl IntoIterator<Item = JsonEvent>) {
        let mut lines = Vec::new();
        for JsonEvent(fields) in events {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let fields = [("time", time.into())].into_iter().chain(fields);
            // Serializing strings and numbers to memory cannot fail.
            let _ = serde_json::Serializer::new(&mut lines).collect_map(fields);
            lines.push(b'\n');
        }
        self.out.write(&lines);
    }
}

/// The length of the incomplete UTF-8 character that the bytes end with, or 0 if there is none.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if incomplete { invalid.len() } else { 0 }
}

/// An event's fields, in order.
struct JsonEvent(Vec<(&'static str, Value)>);

impl JsonEvent {
    fn new(name: &'static str) -> Self {
        Self(vec![("event", name.into())])
    }

    fn of(id: GenId, name: &'static str) -> Self {
        Self::new(name).with("generation", id.0)
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds the field only if it is true.
    fn with_flag(self, name: &'static str, value: bool) -> Self {
        self.with_some(name, value.then_some(true))
    }
}

/// The event for a line of output. `partial`: the line is incomplete.
fn output(id: GenId, stream: OutputStream, bytes: &[u8], partial: bool) -> JsonEvent {
    let text = String::from_utf8_lossy(bytes);
    let lossy = matches!(text, std::borrow::Cow::Owned(_));
    JsonEvent::of(id, "output")
        .with("stream", json!(stream))
        .with("text", text)
        .with_flag("lossy", lossy)
        .with_flag("partial", partial)
}

/// The event for a report, if there is one. `color`: whether to keep the compiler's colors.
fn event(report: &Report, color: bool) -> Option<JsonEvent> {
    Some(match report {
        Report::Notice(Notice::Generation(id, notice)) => generation_event(*id, *notice),
        Report::Notice(Notice::Paused) => JsonEvent::new("paused"),
        Report::Notice(Notice::Resumed) => JsonEvent::new("resumed"),
        Report::Notice(Notice::NothingToUndo) => JsonEvent::new("nothing_to_undo"),
        Report::Notice(Notice::Undone { live }) => JsonEvent::new("undone").with("live", live.0),
        Report::Notice(Notice::NothingShared) => JsonEvent::new("nothing_shared"),
        Report::Notice(Notice::NothingToKill) => JsonEvent::new("nothing_to_kill"),
        Report::Notice(Notice::Waiting) => JsonEvent::new("waiting"),
        Report::Notice(Notice::Quitting { timeout }) => {
            JsonEvent::new("quitting").with("timeout_ms", ms(*timeout))
        }
        Report::Watching(directories) => {
            JsonEvent::new("watching").with("directories", *directories)
        }
        Report::Listening {
            name,
            address,
            first: true,
            ..
        } => JsonEvent::new("listening")
            .with("name", name.as_str())
            .with("address", address.as_str()),
        Report::Changed(paths) => changed(paths),
        Report::Diagnostic {
            id,
            level,
            rendered,
        } => JsonEvent::of(*id, "diagnostic")
            .with("level", json!(level))
            .with("rendered", text::colors(rendered, color)),
        Report::BuildLine(id, text) => {
            JsonEvent::of(*id, "build_output").with("text", text::colors(text, color))
        }
        Report::Progress { id, done, all } => JsonEvent::of(*id, "progress")
            .with("done", *done)
            .with("total", *all),
        Report::Spawned { id, pid, program } => JsonEvent::of(*id, "spawned")
            .with("pid", *pid)
            .with("program", program.as_str()),
        Report::Instance(id, number) => JsonEvent::of(*id, "instance").with("number", *number),
        Report::EarlierBuild(id, build) => JsonEvent::of(*id, "earlier_build").with("of", build.0),
        Report::MainProcess(id, pid) => JsonEvent::of(*id, "main_process").with("pid", *pid),
        Report::Status(id, text) => JsonEvent::of(*id, "status").with("text", text.as_str()),
        Report::Source(name, down) => source(name, down.as_deref()),
        Report::Message { level, text, hint } => JsonEvent::new("message")
            .with("level", json!(level))
            .with("text", text.as_str())
            .with_some("hint", hint.as_deref()),
        // There is no event for a blocked build, because cargo itself prints a line about it, nor for connection
        // counts, because they change too often.
        Report::Listening { first: false, .. }
        | Report::Connections(..)
        | Report::BuildBlocked
        | Report::ArtifactKept(..)
        | Report::Output(..)
        | Report::OutputEnded(..) => return None,
    })
}

fn changed(paths: &[PathBuf]) -> JsonEvent {
    let paths = paths.iter().map(|path| path.to_string_lossy());
    JsonEvent::new("changed").with("paths", paths.collect::<Value>())
}

fn source(name: &str, down: Option<&str>) -> JsonEvent {
    JsonEvent::new("source")
        .with("name", name)
        .with("up", down.is_none())
        .with_some("reason", down)
}

fn generation_event(id: GenId, notice: GenNotice) -> JsonEvent {
    let event = |name| JsonEvent::of(id, name);
    match notice {
        GenNotice::Building { cause } => event("building").with("cause", cause_name(cause)),
        GenNotice::BuildCancelled => event("build_cancelled"),
        GenNotice::Built { took } => event("built").with("took_ms", ms(took)),
        GenNotice::Outdated => event("discarded"),
        GenNotice::Unchanged { like } => event("unchanged").with("same_as", like.0),
        GenNotice::ReloadSignalSent { signal } => {
            event("reload_signal_sent").with("signal", signal)
        }
        GenNotice::ReloadSignalUnhandled { signal } => {
            event("reload_signal_unhandled").with("signal", signal)
        }
        GenNotice::Starting { cause } => event("starting").with("cause", cause_name(cause)),
        GenNotice::Ready { took } => event("ready").with("took_ms", ms(took)),
        GenNotice::Sharing { percent } => event("sharing").with("percent", percent),
        GenNotice::Live { took } => event("live").with("took_ms", ms(took)),
        GenNotice::Restored { cause } => event("restored").with("cause", cause_name(cause)),
        GenNotice::Superseded => event("superseded"),
        GenNotice::Kept { time } => event("kept").with("time_ms", ms(time)),
        GenNotice::MakesRoom { available, needed } => event("makes_room")
            .with("available_bytes", available)
            .with("needed_bytes", needed),
        GenNotice::KeptEnded { failure } => kept_ended(id, failure),
        GenNotice::Draining { timeout } => event("draining").with("timeout_ms", ms(timeout)),
        GenNotice::TimeoutExtended { left } => {
            event("timeout_extended").with("remaining_ms", ms(left))
        }
        GenNotice::StoredFds => event("stored_descriptors"),
        GenNotice::Aborting { after } => event("aborting").with("after_ms", after.map(ms)),
        GenNotice::Killing { why, after } => event("killing")
            .with("reason", outcome(why))
            .with("after_ms", ms(after)),
        GenNotice::Gone { how, in_use, took } => {
            let outcome = match (how, in_use) {
                (Stopped::Drained, Some(1..)) => "unfinished",
                (Stopped::Drained, None) => "ended",
                (_, _) => outcome(how),
            };
            event("gone")
                .with("outcome", outcome)
                .with("took_ms", ms(took))
                .with_some("connections_in_use", in_use.filter(|in_use| *in_use > 0))
        }
        GenNotice::Failed { failure, live } => failed(id, failure, live),
        GenNotice::NotReplaced => event("not_replaced"),
        GenNotice::RestartScheduled { after } => {
            event("restart_scheduled").with("delay_ms", ms(after))
        }
    }
}

fn failed(id: GenId, failure: GenFailure, live: Option<GenId>) -> JsonEvent {
    let (reason, ended) = reason(failure);
    let event = JsonEvent::of(id, "failed")
        .with("reason", reason)
        .with("text", failure.to_string())
        .with("live", live.map(|id| id.0));
    with_end(event, ended)
}

fn kept_ended(id: GenId, failure: GenFailure) -> JsonEvent {
    let (reason, ended) = reason(failure);
    let event = JsonEvent::of(id, "kept_ended")
        .with("reason", reason)
        .with("text", failure.to_string());
    with_end(event, ended)
}

/// The name of a failure, and how the program ended if that is part of it.
const fn reason(failure: GenFailure) -> (&'static str, Option<Ended>) {
    match failure {
        GenFailure::Build => ("build", None),
        GenFailure::Start => ("start", None),
        GenFailure::ExitedEarly(ended) => ("exited_early", Some(ended)),
        GenFailure::ReadyTimeout => ("ready_timeout", None),
        GenFailure::WarmUp => ("warm_up", None),
        GenFailure::Switch => ("switch", None),
        GenFailure::ShareCheck => ("share_check", None),
        GenFailure::Crashed(ended) => ("crashed", Some(ended)),
        GenFailure::Vanished => ("vanished", None),
    }
}

fn with_end(event: JsonEvent, ended: Option<Ended>) -> JsonEvent {
    match ended {
        Some(Ended::Code(code)) => event.with("exit_code", code),
        Some(Ended::Signal(number)) => event.with("signal", number),
        None => event,
    }
}

/// Milliseconds, with microsecond precision.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Begin => "start",
        Cause::Change => "change",
        Cause::Request => "request",
        Cause::Undo => "undo",
        Cause::InheritFds => "inherit_descriptors",
        Cause::RollBack => "roll_back",
        Cause::Crash => "crash",
        Cause::Follow => "follow",
        Cause::Unhealthy => "unhealthy",
    }
}

const fn outcome(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Drained => "drained",
        Stopped::TimedOut => "timed_out",
        Stopped::Killed => "killed",
    }
}
