use super::*;

#[test]
fn the_footer_shows_that_connections_wait_before_a_generation_is_live() {
    let mut story = Story {
        model: Model::default(),
        now: ms(0),
        help: false,
        keys: true,
        error_page: true,
    };
    let address = "127.0.0.1:3000".into();
    story.report(Report::Listening {
        name: "http".into(),
        address,
        by: None,
        first: true,
    });
    story.build(ONE, Cause::Begin);
    story.report(Report::Progress {
        id: ONE,
        done: 3,
        all: 12,
    });
    story.wait(4_250).assert_shown(
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
fn the_footer_shows_the_live_generation() {
    Story::with_one_live().assert_shown(
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
fn the_footer_shows_the_progress_of_a_build() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    story.report(Report::Progress {
        id: TWO,
        done: 11,
        all: 12,
    });
    story.wait(1_250).assert_shown(
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
fn the_footer_shows_that_a_build_is_waiting_for_another_cargo() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Request);
    story.report(Report::BuildBlocked);
    story.wait(61_000).assert_shown(
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
fn the_footer_shows_a_starting_generation_below_the_live_one() {
    let mut story = Story::with_one_live();
    story.spawn(TWO, Cause::Change);
    story.wait(2_500).assert_shown(
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
fn the_footer_shows_how_long_a_generation_may_drain() {
    let mut story = Story::with_one_live();
    story.switch();
    story.wait(4_100).assert_shown(
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
fn the_footer_shows_how_long_a_generation_is_kept() {
    let mut story = Story::with_one_live();
    story.start(TWO, Cause::Change);
    let time = ms(300_000);
    story.notice(Notice::Generation(ONE, GenNotice::Kept { time }));
    story.wait(61_000).assert_shown(
        "
 ● gen 2 live   api · pid 4243 · up 1m · 127.0.0.1:3000
 ◌ gen 1 kept   4m left · 12 conns · pid 4242
 ✔ built in 1.04s · ready in 31ms · src/routes.rs and 1 more       r reload  p pause  k free  ? help
--------------------
 ● gen 2 live   api · pid 4243 · up 1m · 127.0.0.1:3000
 ◌ gen 1 kept   4m left · 12 conns · pid 4242
 ✔ built in 1.04s · ready in 31ms             k free  ? help
--------------------
 ● gen 2 live
 ◌ gen 1 kept
 ✔ built in 1.04s",
    );
    let lefts = [59_000, 1_000, 118_500].map(|wait| {
        story.wait(wait);
        let next = next_change(&story.model, story.now).unwrap();
        (
            next,
            story
                .shown(40, 10, false)
                .lines()
                .nth(1)
                .unwrap()
                .to_owned(),
        )
    });
    let row = |left| format!(" ◌ gen 1 kept   {left} left · 12 conns");
    assert_eq!(
        lefts,
        [
            (ms(60_000), row("3m")),
            (ms(59_000), row("3m")),
            (ms(500), row("2m")),
        ]
    );
    story.help = true;
    let shown = story.shown(60, 20, false);
    assert!(
        shown.contains(" drain the kept generation; twice: kill it\n"),
        "{shown}"
    );
    story.help = false;
    let cause = Cause::Undo;
    story.notice(Notice::Generation(ONE, GenNotice::Restored { cause }));
    let shown = story.shown(60, 10, false);
    assert!(shown.contains("✔ went back to gen 1 · undo"), "{shown}");
}

#[test]
fn the_footer_shows_that_a_drain_timeout_was_exceeded() {
    let mut story = Story::with_one_live();
    story.switch();
    story.wait(11_000).assert_shown(
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
    story.assert_shown(
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
fn the_footer_shows_as_many_errors_of_a_failed_build_as_fit() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    for number in 1..=6 {
        story.report(Report::Diagnostic {
            id: TWO,
            level: Level::Error,
            rendered: format!(
                "error: number {number}\n --> src/main.rs:{number}\n  |\n  = note\n\n"
            ),
        });
    }
    story.fail(GenFailure::Build).assert_shown(
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
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    story.report(Report::Diagnostic {
        id: TWO,
        level: Level::Error,
        rendered: "error: no\n".into(),
    });
    story.fail(GenFailure::Build);
    story.notice(Notice::Generation(
        ONE,
        GenNotice::Failed {
            failure: GenFailure::Crashed(Ended::Signal(11)),
            live: None,
        },
    ));
    let three = GenId(3);
    story.exit(ONE).run(three, Cause::Crash).assert_shown(
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
    story.go_live(three).assert_shown(
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
fn the_footer_shows_why_a_started_generation_failed() {
    let mut story = Story::with_one_live();
    story.spawn(TWO, Cause::Change);
    story
        .fail(GenFailure::ExitedEarly(Ended::Code(101)))
        .assert_shown(
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
fn the_footer_shows_the_share_of_a_new_generation_and_its_keys() {
    let mut story = Story::with_one_live();
    story.spawn(TWO, Cause::Change);
    story.notice(Notice::Generation(TWO, GenNotice::Ready { took: ms(31) }));
    story.notice(Notice::Generation(TWO, GenNotice::Sharing { percent: 10 }));
    story.wait(60_000);
    story.notice(Notice::Generation(TWO, GenNotice::Sharing { percent: 50 }));
    story.report(Report::Connections(TWO, 3));
    let shown = story.shown(110, 30, false);
    for row in [
        " ● gen 1 live   api · pid 4242 · up 4m",
        " ◑ gen 2 sharing 50%   api · pid 4243 · up 1m · 3 conns",
        "+ - share  s all",
    ] {
        assert!(shown.contains(row), "{shown}");
    }
    let narrow = story.shown(60, 10, false);
    assert!(narrow.contains(" ◑ gen 2 sharing 50%"), "{narrow}");
}
