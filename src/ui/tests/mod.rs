//! Tests the text that results from sequences of reports.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::os::terminal::Size;
use crate::reload::{Cause, Ended, GenFailure, GenId, GenNotice, Notice, Stopped};

mod json;
mod live;
mod notify;
mod output;
mod plain;

const ONE: GenId = GenId(1);
const TWO: GenId = GenId(2);

/// Records the written bytes in order, and the stream of each piece.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<WrittenPiece>>>);

type WrittenPiece = (OutputStream, Vec<u8>);

struct Handle(Recorder, OutputStream);

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().push((self.1, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Recorder {
    fn text(&self, wanted: &[OutputStream]) -> String {
        let pieces = self.0.lock().unwrap();
        let bytes: Vec<u8> = pieces
            .iter()
            .filter(|(stream, _)| wanted.contains(stream))
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        String::from_utf8(bytes).unwrap()
    }

    fn all(&self) -> String {
        self.text(&[OutputStream::Stdout, OutputStream::Stderr])
    }
}

fn handles(recorder: &Recorder, same: bool) -> Handles {
    let handle = |stream| Box::new(Handle(recorder.clone(), stream));
    Handles {
        stdout: handle(OutputStream::Stdout),
        stderr: handle(OutputStream::Stderr),
        same,
        clearable: true,
        terminal: TerminalGuard::without_terminal(Size {
            columns: 80,
            rows: 24,
        }),
    }
}

fn render(options: Options, same: bool, reports: &[Report]) -> Recorder {
    let recorder = Recorder::default();
    let mut ui = Ui::new(options, handles(&recorder, same));
    for report in reports {
        ui.report(report).unwrap();
    }
    ui.finish().unwrap();
    recorder
}

fn plain(reports: &[Report]) -> String {
    render(Options::of(UiMode::Plain), true, reports).all()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn notice(notice: Notice) -> Report {
    Report::Notice(notice)
}

fn begin(id: GenId, cause: Cause) -> Vec<Report> {
    vec![
        notice(Notice::Generation(id, GenNotice::Building { cause })),
        Report::BuildLine(id, "   Compiling app v0.1.0".into()),
        notice(Notice::Generation(id, GenNotice::Built { took: ms(1040) })),
        notice(Notice::Generation(id, GenNotice::Starting { cause })),
        Report::Spawned {
            id,
            pid: 4242,
            program: "api".into(),
        },
    ]
}

fn go_live(id: GenId) -> Vec<Report> {
    vec![
        notice(Notice::Generation(id, GenNotice::Ready { took: ms(31) })),
        notice(Notice::Generation(id, GenNotice::Live { took: ms(1) })),
    ]
}

fn kept() -> Report {
    let time = ms(300_000);
    notice(Notice::Generation(ONE, GenNotice::Kept { time }))
}

fn makes_room() -> Report {
    let (available, needed) = (800 << 20, 4_600 << 20);
    notice(Notice::Generation(
        ONE,
        GenNotice::MakesRoom { available, needed },
    ))
}

fn kept_ended() -> Report {
    let failure = GenFailure::Crashed(Ended::Signal(9));
    notice(Notice::Generation(ONE, GenNotice::KeptEnded { failure }))
}

fn drain(id: GenId) -> Vec<Report> {
    vec![
        notice(Notice::Generation(
            id,
            GenNotice::Draining {
                timeout: ms(10_000),
            },
        )),
        notice(Notice::Generation(
            id,
            GenNotice::Gone {
                how: Stopped::Drained,
                in_use: Some(0),
                took: ms(120),
            },
        )),
    ]
}

fn out(id: GenId, text: &str) -> Report {
    Report::Output(id, OutputStream::Stdout, text.into())
}

fn err(id: GenId, text: &str) -> Report {
    Report::Output(id, OutputStream::Stderr, text.into())
}

/// Generation 1 is live, and generation 2 has started.
fn two_running() -> Vec<Report> {
    [
        vec![notice(Notice::Generation(
            ONE,
            GenNotice::Starting {
                cause: Cause::Begin,
            },
        ))],
        go_live(ONE),
        vec![notice(Notice::Generation(
            TWO,
            GenNotice::Starting {
                cause: Cause::Change,
            },
        ))],
    ]
    .concat()
}
