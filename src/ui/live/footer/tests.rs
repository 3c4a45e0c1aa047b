//! The footer as text.
//!
//! Long because it shows every state of the footer at three terminal sizes.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::os::terminal::Size;
use crate::reload::{Cause, Ended, Failure, GenId, GenNotice, Notice, Stopped};
use crate::ui::{Level, Mode, Model, Options, Report};

const ONE: GenId = GenId::new(1);
const TWO: GenId = GenId::new(2);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The reports so far, and the current time.
struct Story {
    model: Model,
    now: Duration,
    help: bool,
    keys: bool,
    error_page: bool,
}

impl Story {
    /// Generation 1 has been live for three minutes.
    fn of_one_live() -> Self {
        let mut story = Self {
            model: Model::default(),
            now: ms(0),
            help: false,
            keys: true,
            error_page: true,
        };
        story.tell(Report::Listening {
            name: String::new(),
            address: "127.0.0.1:3000".into(),
            by: None,
            first: true,
        });
        story.start(ONE, Cause::Begin);
        story.tell(Report::Connections { id: ONE, count: 12 });
        story.now = ms(192_000);
        story
    }

    fn tell(&mut self, report: impl std::borrow::Borrow<Report>) -> &mut Self {
        self.model.fold(report.borrow(), self.now);
        self
    }

    fn notice(&mut self, notice: Notice) -> &mut Self {
        self.tell(Report::Notice(notice))
    }

    fn later(&mut self, millis: u64) -> &mut Self {
        self.now += ms(millis);
        self
    }

    fn build(&mut self, id: GenId, cause: Cause) -> &mut Self {
        if cause == Cause::Change {
            let paths = ["/app/src/routes.rs", "/app/src/main.rs"].map(PathBuf::from);
            self.tell(Report::Changed {
                paths: paths.to_vec(),
            });
        }
        self.notice(Notice::Generation(id, GenNotice::Building { cause }))
    }

    fn spawn(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.build(id, cause);
        self.notice(Notice::Generation(id, GenNotice::Built { took: ms(1_040) }));
        self.tell(Report::ArtifactKept { id });
        self.run(id, cause)
    }

    fn run(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.notice(Notice::Generation(id, GenNotice::Starting { cause }));
        self.tell(Report::Spawned {
            id,
            pid: 4241 + i32::try_from(id.get()).unwrap(),
            program: "api".into(),
        })
    }

    fn start(&mut self, id: GenId, cause: Cause) -> &mut Self {
        self.spawn(id, cause).serve(id)
    }

    fn serve(&mut self, id: GenId) -> &mut Self {
        self.notice(Notice::Generation(id, GenNotice::Ready { took: ms(31) }));
        self.notice(Notice::Generation(id, GenNotice::Live { took: ms(0) }))
    }

    /// Generation 2 is live, 1 drains with two connections.
    fn switch(&mut self) -> &mut Self {
        self.start(TWO, Cause::Change);
        let timeout = ms(10_000);
        self.notice(Notice::Generation(ONE, GenNotice::Draining { timeout }));
        self.tell(Report::Connections { id: ONE, count: 2 })
    }

    fn end(&mut self, id: GenId) -> &mut Self {
        self.notice(Notice::Generation(
            id,
            GenNotice::Gone {
                how: Stopped::Drained,
                took: ms(120),
            },
        ))
    }

    fn fail(&mut self, failure: Failure) -> &mut Self {
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
            ..Options::of(Mode::Live)
        };
        let frame = Frame {
            model: &self.model,
            options: &options,
            size: Size { columns, rows },
            now: self.now,
            help: self.help,
        };
        let rows = super::rows(&frame);
        let rows: Vec<String> = rows
            .iter()
            .map(|row| row.render(usize::from(columns), color))
            .collect();
        rows.join("\n")
    }

    /// Compares the footer at 100 by 30, 60 by 10 and 20 by 5.
    #[track_caller]
    fn looks(&self, expected: &str) {
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

#[test]
fn before_anything_is_live() {
    let mut story = Story {
        model: Model::default(),
        now: ms(0),
        help: false,
        keys: true,
        error_page: true,
    };
    let address = "127.0.0.1:3000".into();
    story.tell(Report::Listening {
        name: "http".into(),
        address,
        by: None,
        first: true,
    });
    story.build(ONE, Cause::Begin);
    story.tell(Report::Progress {
        id: ONE,
        done: 3,
        all: 12,
    });
    story.later(4_250).looks(
        "
 ○ nothing live   connections to 127.0.0.1:3000 wait
 ◔ building gen 1   ━━━━━━──────────────────   3/12 crates · 4.2s          r reload  p pause  ? help
--------------------
 ○ nothing live   connections to 127.0.0.1:3000 wait
 ◔ building gen 1   ━──────   3/12 crates · 4.2s      ? help
--------------------
 ○ nothing live
 ◔ building gen 1",
    );
}

#[test]
fn a_live_generation() {
    Story::of_one_live().looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms                                  r reload  p pause  ? help  q quit
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms           r reload  ? help
--------------------
 ● gen 1 live
 ✔ built in 1.04s",
    );
}

#[test]
fn a_build_in_progress() {
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Change);
    story.tell(Report::Progress {
        id: TWO,
        done: 11,
        all: 12,
    });
    story.later(1_250).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   ━━━━━━━━━━━━━━━━━━━━━━──   11/12 crates · 1.2s         r reload  p pause  ? help
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   ━━━━━━─   11/12 crates · 1.2s     ? help
--------------------
 ● gen 1 live
 ◔ building gen 2",
    );
}

#[test]
fn a_build_that_waits_for_another_cargo() {
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Request);
    story.tell(Report::BuildBlocked { id: TWO });
    story.later(61_000).looks(
        "
 ● gen 1 live   api · pid 4242 · up 4m · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   1m01s · waiting for another cargo · requested          r reload  p pause  ? help
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   waiting for another cargo         ? help
--------------------
 ● gen 1 live
 ◔ building gen 2  …",
    );
}

#[test]
fn a_starting_generation() {
    let mut story = Story::of_one_live();
    story.spawn(TWO, Cause::Change);
    story.later(2_500).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ◔ gen 2 starting   api · pid 4243 · 2.5s
 ✔ built in 1.04s · src/routes.rs and 1 more                       r reload  p pause  ? help  q quit
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◔ gen 2 starting   api · pid 4243 · 2.5s
 ✔ built in 1.04s · src/routes.rs and 1 more          ? help
--------------------
 ● gen 1 live
 ◔ gen 2 starting
 ✔ built in 1.04s",
    );
}

#[test]
fn a_draining_generation() {
    let mut story = Story::of_one_live();
    story.switch();
    story.later(4_100).looks(
        "
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 draining   2 conns · 6s of 10s left · pid 4242
 ✔ built in 1.04s · ready in 31ms · src/routes.rs and 1 more       r reload  p pause  k kill  ? help
--------------------
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 draining   2 conns · 6s of 10s left · pid 4242
 ✔ built in 1.04s · ready in 31ms             k kill  ? help
--------------------
 ● gen 2 live
 ◐ gen 1 draining
 ✔ built in 1.04s",
    );
}

#[test]
fn a_generation_that_exceeds_its_drain_timeout() {
    let mut story = Story::of_one_live();
    story.switch();
    story.later(11_000).looks(
        "
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 draining   2 conns · 10s timeout exceeded · pid 4242
 ✔ built in 1.04s · ready in 31ms · src/routes.rs and 1 more       r reload  p pause  k kill  ? help
--------------------
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 draining   2 conns · 10s timeout exceeded
 ✔ built in 1.04s · ready in 31ms             k kill  ? help
--------------------
 ● gen 2 live
 ◐ gen 1 draining
 ✔ built in 1.04s",
    );
    story.notice(Notice::Generation(
        ONE,
        GenNotice::Killing {
            why: Stopped::TimedOut,
            after: ms(11_000),
        },
    ));
    story.looks(
        "
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 being killed   pid 4242
 ✔ built in 1.04s · ready in 31ms · src/routes.rs and 1 more       r reload  p pause  k kill  ? help
--------------------
 ● gen 2 live   api · pid 4243 · up <1m · 127.0.0.1:3000
 ◐ gen 1 being killed   pid 4242
 ✔ built in 1.04s · ready in 31ms             k kill  ? help
--------------------
 ● gen 2 live
 ◐ gen 1 being kill…
 ✔ built in 1.04s",
    );
}

#[test]
fn errors_of_a_failed_build() {
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Change);
    for number in 1..=6 {
        story.tell(Report::Diagnostic {
            id: TWO,
            level: Level::Error,
            rendered: format!(
                "error: number {number}\n --> src/main.rs:{number}\n  |\n  = note\n\n"
            ),
        });
    }
    story.fail(Failure::Build).looks(
        "
 error: number 1
  --> src/main.rs:1
   |
   = note
 error: number 2
  --> src/main.rs:2
   |
   = note
 error: number 3
  --> src/main.rs:3
   |
   = note
 error: number 4
  --> src/main.rs:4
   |
   = note
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✘ gen 2 failed to build · 6 errors · 2 not shown · gen 1 still live      r reload  e errors  ? help
--------------------
 error: number 1
  --> src/main.rs:1
   |
   = note
 error: number 2
 … 11 more lines (e shows all)
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ✘ gen 2 failed to build · gen 1 still live           ? help
--------------------
 error: number 1
 … 15 more lines (e…
 ● gen 1 live
 ✘ gen 2 failed to …",
    );
}

#[test]
fn errors_stay_visible_when_the_live_generation_crashes() {
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Change);
    story.tell(Report::Diagnostic {
        id: TWO,
        level: Level::Error,
        rendered: "error: no\n".into(),
    });
    story.fail(Failure::Build);
    story.notice(Notice::Generation(
        ONE,
        GenNotice::Failed {
            failure: Failure::Crashed(Ended::Signal(11)),
            live: None,
        },
    ));
    let three = GenId::new(3);
    story.end(ONE).run(three, Cause::Crash).looks(
        "
 error: no
 ○ nothing live   connections to 127.0.0.1:3000 wait
 ◔ gen 3 starting   api · pid 4244 · 0.0s
 ✘ gen 1 crashed (signal 11)                             r reload  p pause  e errors  ? help  q quit
--------------------
 error: no
 ○ nothing live   connections to 127.0.0.1:3000 wait
 ◔ gen 3 starting   api · pid 4244 · 0.0s
 ✘ gen 1 crashed (signal 11)      r reload  e errors  ? help
--------------------
 error: no
 ○ nothing live
 ◔ gen 3 starting
 ✘ gen 1 crashed (s…",
    );
    story.serve(three).looks(
        "
 error: no
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✘ gen 2 failed to build · 1 error · gen 3 still live    r reload  p pause  e errors  ? help  q quit
--------------------
 error: no
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✘ gen 2 failed to build · gen 3 still live           ? help
--------------------
 error: no
 ● gen 3 live
 ✘ gen 2 failed to …",
    );
}

#[test]
fn a_failure_after_the_start() {
    let mut story = Story::of_one_live();
    story.spawn(TWO, Cause::Change);
    story.fail(Failure::ExitedEarly(Ended::Code(101))).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ◐ gen 2 stopping   pid 4243
 ✘ gen 2 exited before it was ready (exit status 101) · gen 1 still live    r reload  k kill  ? help
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◐ gen 2 stopping   pid 4243
 ✘ gen 2 exited before it was ready (exit status 101)
--------------------
 ● gen 1 live
 ◐ gen 2 stopping
 ✘ gen 2 exited bef…",
    );
}

#[test]
fn nothing_is_live_after_a_crash() {
    let mut story = Story::of_one_live();
    story.notice(Notice::Generation(
        ONE,
        GenNotice::Failed {
            failure: Failure::Crashed(Ended::Signal(11)),
            live: None,
        },
    ));
    story.end(ONE).notice(Notice::Waiting).looks(
        "
 ○ nothing live   127.0.0.1:3000 · HTTP requests get 503 with the error · other connections wait
 ✘ gen 1 crashed (signal 11) · waiting for a change                r reload  p pause  ? help  q quit
--------------------
 ○ nothing live   HTTP requests get 503 with the error
 ✘ gen 1 crashed (signal 11) · waiting for a change
--------------------
 ○ nothing live
 ✘ gen 1 crashed (s…",
    );
    story.error_page = false;
    let shown = story.shown(100, 30, false);
    let waits = "nothing live   connections to 127.0.0.1:3000 wait";
    assert!(shown.contains(waits), "{shown}");
    story.error_page = true;
    story.build(TWO, Cause::Change);
    let shown = story.shown(100, 30, false);
    assert!(shown.contains(waits), "{shown}");
}

#[test]
fn a_pause() {
    let mut story = Story::of_one_live();
    story.notice(Notice::Paused).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ‖ paused                                                         r reload  p resume  ? help  q quit
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ‖ paused                 r reload  p resume  ? help  q quit
--------------------
 ● gen 1 live
 ‖ paused     ? help",
    );
    story.build(TWO, Cause::Change);
    story.fail(Failure::Build).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✘ gen 2 failed to build · paused, changes pending · gen 1 still live     r reload  e errors  ? help
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ✘ gen 2 failed to build · paused, changes pending    ? help
--------------------
 ● gen 1 live
 ✘ gen 2 failed to …",
    );
}

#[test]
fn a_pause_during_a_build() {
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Change);
    story.tell(Report::Progress {
        id: TWO,
        done: 3,
        all: 12,
    });
    story.notice(Notice::Paused).later(1_250).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   ━━━━━━──────────────────   paused · 3/12 crates · 1.2s          r reload  ? help
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◔ building gen 2   ━──────   paused · 3/12 crates    ? help
--------------------
 ● gen 1 live
 ◔ building gen 2",
    );
}

#[test]
fn the_live_generation_is_visible_in_every_terminal() {
    let mut story = Story::of_one_live();
    story.switch();
    let three = GenId::new(3);
    story.start(three, Cause::Change);
    let timeout = ms(10_000);
    story.notice(Notice::Generation(TWO, GenNotice::Draining { timeout }));
    let four = GenId::new(4);
    story.spawn(four, Cause::Change);
    let live = " ● gen 3 live\n ◔ gen 4 starting\n";
    for (rows, draining) in [
        (4, ""),
        (5, " ◐ 2 draining\n"),
        (6, " ◐ gen 2 draining\n ◐ gen 1 draining\n"),
    ] {
        let shown = story.shown(20, rows, false);
        assert_eq!(shown, format!("{live}{draining} ✔ built in 1.04s"));
    }
    let five = GenId::new(5);
    story.start(five, Cause::Change);
    story.notice(Notice::Generation(three, GenNotice::Draining { timeout }));
    let shown = story.shown(20, 6, false);
    assert!(
        shown.contains("gen 5 live") && shown.contains("gen 3 draining\n   and 2 more\n"),
        "{shown}"
    );
}

#[test]
fn an_undo() {
    let mut story = Story::of_one_live();
    story.switch().end(ONE);
    let three = GenId::new(3);
    story.run(three, Cause::Undo).serve(three).end(TWO);
    story.looks(
        "
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✔ started · ready in 31ms · undo                          r reload  p pause  u undo  ? help  q quit
--------------------
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✔ started · ready in 31ms · undo           r reload  ? help
--------------------
 ● gen 3 live
 ✔ started    ? help",
    );
}

#[test]
fn the_key_help() {
    let mut story = Story::of_one_live();
    story.help = true;
    story.looks(
        "
   r       reload now, even without changes
   p       pause reloading, or resume it
   u       undo: roll back to the previous build
   e       errors: print the whole output of the last build
   k       kill draining generations
   c       clear the screen
   Enter   print a mark
   Ctrl-Z  suspend together with the program; `fg` resumes
   q       quit, like Ctrl-C; twice: quit now
   Esc     close this help
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms                                  r reload  p pause  ? help  q quit
--------------------
   r       reload now, even without changes
   p       pause reloading, or resume it
   u       undo: roll back to the previous build
   e       errors: print the whole output of the last build
   k       kill draining generations
   Ctrl-Z  suspend together with the program; `fg` resumes
   q       quit, like Ctrl-C; twice: quit now
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms           r reload  ? help
--------------------
 r reload now, even…
 p pause reloading,…
 ● gen 1 live
 ✔ built in 1.04s",
    );
}

#[test]
fn quitting() {
    let mut story = Story::of_one_live();
    let timeout = ms(10_000);
    story.notice(Notice::Quitting { timeout });
    story.later(300).looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ◌ stopping   10s of 10s left · Ctrl-C again to quit now
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ◌ stopping   10s of 10s left · Ctrl-C again to quit now
--------------------
 ● gen 1 live
 ◌ stopping",
    );
}

/// For users who see no colors, and for backgrounds of any color.
#[test]
fn color_alone_carries_no_meaning() {
    let mut story = Story::of_one_live();
    story.switch();
    story.fail(Failure::ReadyTimeout);
    let colored = story.shown(100, 30, true);
    assert!(colored.contains("\x1b[31m"), "{colored:?}");
    let text = console::strip_ansi_codes(&colored).into_owned();
    assert_eq!(text, story.shown(100, 30, false));
    let codes = regex::Regex::new("\x1b\\[([0-9;]*)m").unwrap();
    let readable = ["0", "1", "2", "31", "32", "36"];
    for code in codes.captures_iter(&colored) {
        assert!(readable.contains(&&code[1]), "{code:?}");
    }
}

#[test]
fn the_footer_always_fits() {
    let mut story = Story::of_one_live();
    story.switch();
    story.build(GenId::new(3), Cause::Change);
    for rows in 1..12 {
        for columns in 1..60 {
            let shown = story.shown(columns, rows, false);
            assert!(shown.lines().count() <= usize::from(rows), "{shown}");
            let widest = shown.lines().map(console::measure_text_width).max();
            assert!(widest.unwrap_or(0) <= usize::from(columns), "{shown}");
        }
    }
}

/// Each line of a build takes one row of the terminal, and leaves the screen above it alone.
#[test]
fn errors_are_sanitized_and_fit() {
    let lines = [
        "\x1b[2J\x1b[10Aboom\x1b[?1049h",
        &format!("\thave (\t{})", "0".repeat(100)),
        &format!("Fetch [{}]\rerror: failed to get", "=".repeat(100)),
        "\x1b[38:2::1:2:3mcolors with colons\x1b[0m and some more of it",
        "\x1b]8;;http://a/m\x1b\\a link that is never closed, and cut",
        "\u{65e5}\u{672c}\u{8a9e}\tx\x08\x0c\u{9b}2J",
    ];
    let mut story = Story::of_one_live();
    story.build(TWO, Cause::Change);
    for line in lines {
        let text = line.to_owned();
        story.tell(Report::BuildLine { id: TWO, text });
    }
    story.fail(Failure::Build);
    let wide = story.shown(130, 30, false);
    assert!(wide.contains("\n error: failed to get\n"), "{wide}");
    let size = |number: usize| std::num::NonZero::new(u16::try_from(number).unwrap()).unwrap();
    for (columns, color) in (1..130).flat_map(|columns| [(columns, false), (columns, true)]) {
        let rows = story.shown(columns, 30, color);
        let count = rows.split('\n').count();
        let mut parser = vt100::Parser::new(size(40), size(columns.into()), 0);
        parser.process(format!("X\r\n{}", rows.replace('\n', "\r\n")).as_bytes());
        let screen = parser.screen();
        let (row, _) = screen.cursor_position();
        assert_eq!(usize::from(row), count, "at {columns}: {rows:?}");
        assert!(screen.contents().starts_with('X') && !screen.alternate_screen());
        assert!(!rows.ends_with("3m"), "a color is left on: {rows:?}");
    }
}

/// The program reads the terminal, or stdin is no terminal.
#[test]
fn no_keys_are_shown_if_hotrun_reads_none() {
    let mut story = Story::of_one_live();
    story.keys = false;
    story.looks(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms                                                        Ctrl-C quit
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms                Ctrl-C quit
--------------------
 ● gen 1 live
 ✔ built in 1.04s",
    );
    story.build(TWO, Cause::Change);
    for _ in 0..12 {
        let text = "an error".to_owned();
        story.tell(Report::BuildLine { id: TWO, text });
    }
    story.fail(Failure::Build);
    let shown = story.shown(100, 8, false);
    assert!(shown.contains("\n … 9 more lines\n"), "{shown}");
}

/// Not those of earlier generations, if the program itself opens them.
#[test]
fn the_addresses_are_those_of_the_live_generation() {
    let mut story = Story {
        model: Model::default(),
        now: ms(0),
        help: false,
        keys: true,
        error_page: true,
    };
    let opened = |story: &mut Story, id, port| {
        story.tell(Report::Listening {
            name: String::new(),
            address: format!("127.0.0.1:{port}"),
            by: Some(id),
            first: true,
        });
    };
    let ports = |story: &Story| {
        let shown = story.shown(100, 30, false);
        let all = shown.match_indices("127.0.0.1:");
        all.map(|(at, ip)| shown[at + ip.len()..][..4].to_owned())
            .collect::<Vec<_>>()
    };
    story.spawn(ONE, Cause::Begin);
    opened(&mut story, ONE, 3000);
    assert_eq!(ports(&story), ["3000"], "starting");
    story.serve(ONE);
    opened(&mut story, ONE, 3000);
    assert_eq!(ports(&story), ["3000"]);
    story.spawn(TWO, Cause::Change);
    opened(&mut story, TWO, 4000);
    assert_eq!(ports(&story), ["3000"]);
    story.serve(TWO);
    let timeout = ms(10_000);
    story.notice(Notice::Generation(ONE, GenNotice::Draining { timeout }));
    assert_eq!(ports(&story), ["4000"]);
    story.end(ONE).end(TWO);
    assert_eq!(ports(&story), ["4000"], "where connections wait");
}
