//! Compares the footer with the expected text.

mod layout;
mod results;
mod states;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::os::terminal::Size;
use crate::reload::{Cause, Ended, GenFailure, GenId, GenNotice, Notice, Stopped};
use crate::ui::{Level, Model, Options, Report, UiMode};

const ONE: GenId = GenId(1);
const TWO: GenId = GenId(2);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The model after the reports so far, the current time, and the options.
struct Story {
    model: Model,
    now: Duration,
    help: bool,
    keys: bool,
    error_page: bool,
}

impl Story {
    /// A story in which generation 1 has been live for three minutes.
    fn with_one_live() -> Self {
        let mut story = Self {
            model: Model::default(),
            now: ms(0),
            help: false,
            keys: true,
            error_page: true,
        };
        story.report(Report::Listening {
            name: String::new(),
            address: "127.0.0.1:3000".into(),
            by: None,
            first: true,
        });
        story.start(ONE, Cause::Begin);
        story.report(Report::Connections(ONE, 12));
        story.now = ms(192_000);
        story
    }

    fn report(&mut self, report: impl std::borrow::Borrow<Report>) -> &mut Self {
        self.model.fold(report.borrow(), self.now);
        self
    }

    fn notice(&mut self, notice: Notice) -> &mut Self {
        self.report(Report::Notice(notice))
    }

    fn wait(&mut self, millis: u64) -> &mut Self {
        self.now += ms(millis);
        self
    }

    fn build(&mut self, id: GenId, cause: Cause) -> &mut Self {
        if cause == Cause::Change {
            let paths = ["/app/src/routes.rs", "/app/src/main.rs"].map(PathBuf::from);
            self.report(Report::Changed(paths.to_vec()));
        }
        self.notice(Notice::Generation(id, GenNotice::Building { cause }))
    }

    fn spawn(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.build(id, cause);
        self.notice(Notice::Generation(id, GenNotice::Built { took: ms(1_040) }));
        self.report(Report::ArtifactKept(id));
        self.run(id, cause)
    }

    fn run(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.notice(Notice::Generation(id, GenNotice::Starting { cause }));
        self.report(Report::Spawned {
            id,
            pid: 4241 + i32::try_from(id.0).unwrap(),
            program: "api".into(),
        })
    }

    fn start(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.spawn(id, cause).go_live(id)
    }

    fn go_live(&mut self, id: GenId) -> &mut Self {
        self.notice(Notice::Generation(id, GenNotice::Ready { took: ms(31) }));
        self.notice(Notice::Generation(id, GenNotice::Live { took: ms(0) }))
    }

    /// Makes generation 2 live, and lets generation 1 drain with two connections.
    fn switch(&mut self) -> &mut Self {
        self.start(TWO, Cause::Change);
        let timeout = ms(10_000);
        self.notice(Notice::Generation(ONE, GenNotice::Draining { timeout }));
        self.report(Report::Connections(ONE, 2))
    }

    fn exit(&mut self, id: GenId) -> &mut Self {
        self.notice(Notice::Generation(
            id,
            GenNotice::Gone {
                how: Stopped::Drained,
                in_use: None,
                took: ms(120),
            },
        ))
    }

    fn fail(&mut self, failure: GenFailure) -> &mut Self {
        self.notice(Notice::Generation(
            TWO,
            GenNotice::Failed {
                failure,
                live: Some(ONE),
            },
        ))
    }

    fn shown(&self, columns: u16, rows: u16, color: bool) -> String {
        let options = Options {
            color,
            keys: self.keys,
            error_page: self.error_page,
            ..Options::of(UiMode::Live)
        };
        let frame = Frame {
            model: &self.model,
            options: &options,
            size: Size { columns, rows },
            now: self.now,
            help: self.help,
        };
        super::rows(&frame).0.join("\n")
    }

    /// Compares the footer on terminals of 100 by 30, 60 by 10 and 20 by 5 characters.
    #[track_caller]
    fn assert_shown(&self, expected: &str) {
        let sizes = [(100, 30), (60, 10), (20, 5)];
        let shown = sizes.map(|(columns, rows)| self.shown(columns, rows, false));
        let shown = shown.map(|text| text.trim_start_matches('\n').to_owned());
        let ruler = format!("{}\n", "-".repeat(20));
        let found = shown.join(&format!("\n{ruler}"));
        let expected = expected.trim_matches('\n');
        assert!(
            found == expected,
            "expected:\n{expected}\n\nfound:\n{found}"
        );
    }
}
