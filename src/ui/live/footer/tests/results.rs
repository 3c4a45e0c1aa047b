use super::*;

#[test]
fn the_footer_shows_that_nothing_is_live_after_a_crash() {
    let mut story = Story::with_one_live();
    story.notice(Notice::Generation(
        ONE,
        GenNotice::Failed {
            failure: GenFailure::Crashed(Ended::Signal(11)),
            live: None,
        },
    ));
    story.exit(ONE).notice(Notice::Waiting).assert_shown(
        "
 ○ nothing live   127.0.0.1:3000 · HTTP requests get 503 with the error · other connections wait
 ✘ gen 1 crashed (signal 11) · waiting for a change                r reload  p pause  ? help  q quit
--------------------
 ○ nothing live   HTTP requests get 503 with the error
 ✘ gen 1 crashed (signal 11)       r reload  p pause  ? help
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
fn the_footer_shows_a_pause_and_pending_changes() {
    let mut story = Story::with_one_live();
    story.notice(Notice::Paused).assert_shown(
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
    story.fail(GenFailure::Build).assert_shown(
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
fn the_footer_shows_a_pause_during_a_build() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    story.report(Report::Progress {
        id: TWO,
        done: 3,
        all: 12,
    });
    story.notice(Notice::Paused).wait(1_250).assert_shown(
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
fn the_live_generation_is_visible_even_on_a_small_terminal() {
    let mut story = Story::with_one_live();
    story.switch();
    let three = GenId(3);
    story.start(three, Cause::Change);
    let timeout = ms(10_000);
    story.notice(Notice::Generation(TWO, GenNotice::Draining { timeout }));
    let four = GenId(4);
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
    let five = GenId(5);
    story.start(five, Cause::Change);
    story.notice(Notice::Generation(three, GenNotice::Draining { timeout }));
    let shown = story.shown(20, 6, false);
    assert!(
        shown.contains("gen 5 live") && shown.contains("gen 3 draining\n   and 2 more\n"),
        "{shown}"
    );
}

#[test]
fn the_footer_shows_that_an_undo_started_the_live_generation() {
    let mut story = Story::with_one_live();
    story.switch().exit(ONE);
    let three = GenId(3);
    story.run(three, Cause::Undo);
    story.report(Report::EarlierBuild(three, ONE));
    story.go_live(three).exit(TWO);
    story.assert_shown(
        "
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✔ started the build of gen 1 · ready in 31ms · undo       r reload  p pause  u undo  ? help  q quit
--------------------
 ● gen 3 live   api · pid 4244 · up <1m · 127.0.0.1:3000
 ✔ started the build of gen 1 · ready in 31ms         ? help
--------------------
 ● gen 3 live
 ✔ started the buil…",
    );
}

#[test]
fn the_footer_shows_an_undo_during_a_pause() {
    let mut story = Story::with_one_live();
    story.switch().exit(ONE).notice(Notice::Paused);
    let three = GenId(3);
    story.run(three, Cause::Undo);
    story.report(Report::EarlierBuild(three, ONE));
    story.go_live(three).exit(TWO);
    let shown = story.shown(100, 30, false);
    let row = " ‖ paused   started the build of gen 1 · ready in 31ms · undo  ";
    assert!(shown.contains(row), "{shown}");
}

#[test]
fn the_footer_shows_that_a_reload_was_cancelled() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    story.notice(Notice::Undone { live: ONE });
    story.notice(Notice::Generation(TWO, GenNotice::BuildCancelled));
    let shown = story.shown(100, 30, false);
    let row = " ✔ reload cancelled, gen 1 kept · undo  ";
    assert!(shown.contains(row), "{shown}");
}

#[test]
fn the_key_help_shows_the_most_important_keys_on_a_small_terminal() {
    let mut story = Story::with_one_live();
    story.help = true;
    story.assert_shown(
        "
   r       reload now, even without changes
   p       pause reloading, or resume it
   u       undo: cancel the reload, or go back one build
   e       errors: print the whole output of the last build
   + - s   give a sharing generation more, less or all
   k       kill draining generations
   c       clear the screen
   Enter   print a mark with the time
   Ctrl-Z  suspend together with the program; `fg` resumes
   q       quit, like Ctrl-C; twice: quit now
   Esc     close this help

 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ✔ built in 1.04s · ready in 31ms                                  r reload  p pause  ? help  q quit
--------------------
   r       reload now, even without changes
   p       pause reloading, or resume it
   u       undo: cancel the reload, or go back one build
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
fn the_footer_shows_how_long_hotrun_may_take_to_quit() {
    let mut story = Story::with_one_live();
    let timeout = ms(10_000);
    story.notice(Notice::Quitting { timeout });
    story.wait(300).assert_shown(
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

/// The user must see which changes the running program lacks.
#[test]
fn the_footer_names_the_build_that_is_live_after_a_rollback() {
    let mut story = Story::with_one_live();
    story.start(TWO, Cause::Change).exit(ONE);
    let crashed = GenFailure::Crashed(Ended::Signal(11));
    let (failure, live, three) = (crashed, None, GenId(3));
    story.notice(Notice::Generation(TWO, GenNotice::Failed { failure, live }));
    story.run(three, Cause::RollBack);
    story.report(Report::EarlierBuild(three, ONE));
    story.go_live(three).exit(TWO);
    let shown = story.shown(100, 30, false);
    let result = "gen 2 crashed (signal 11) · gen 3 live with the build of gen 1";
    assert!(shown.contains(result), "{shown}");
}

#[test]
fn the_key_for_warnings_is_shown_only_beside_their_number() {
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    let (level, rendered) = (Level::Warning, "warning: unused".to_owned());
    let id = TWO;
    story.report(Report::Diagnostic {
        id,
        level,
        rendered,
    });
    story.notice(Notice::Generation(
        TWO,
        GenNotice::Built { took: ms(1_040) },
    ));
    story.run(TWO, Cause::Change).go_live(TWO).exit(ONE);
    let shown = story.shown(100, 30, false);
    assert!(shown.contains("1 warning") && shown.contains("e warnings"));
    let failure = GenFailure::Crashed(Ended::Signal(6));
    let live = None;
    story.notice(Notice::Generation(TWO, GenNotice::Failed { failure, live }));
    let shown = story.shown(100, 30, false);
    assert!(!shown.contains("warning"), "{shown}");
}
