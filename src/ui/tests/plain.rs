use super::*;

#[test]
fn plain_lines_report_every_step_of_a_reload() {
    let reports = [
        vec![Report::Listening {
            name: "http".into(),
            address: "127.0.0.1:3000".into(),
            by: None,
            first: true,
        }],
        vec![Report::Watching(3)],
        begin(ONE, Cause::Begin),
        go_live(ONE),
        vec![Report::Changed(vec!["/app/src/routes.rs".into()])],
        begin(TWO, Cause::Change),
        go_live(TWO),
        drain(ONE),
        vec![notice(Notice::Quitting {
            timeout: ms(10_000),
        })],
    ];
    assert_eq!(
        plain(&reports.concat()),
        "\
hotrun: listening on 127.0.0.1:3000 (http)
hotrun: watching 3 directories
hotrun: gen 1 building
   Compiling app v0.1.0
hotrun: gen 1 built in 1.04s
hotrun: gen 1 live, ready in 31ms
hotrun: gen 2 building (files changed)
   Compiling app v0.1.0
hotrun: gen 2 built in 1.04s
hotrun: gen 2 live, ready in 31ms
hotrun: gen 1 draining, for up to 10s
hotrun: gen 1 drained in 120ms
hotrun: stopping, for up to 10s
"
    );
}

#[test]
fn only_the_first_four_addresses_of_a_program_are_named() {
    let listening = |port| Report::Listening {
        name: String::new(),
        address: format!("127.0.0.1:{port}"),
        by: Some(ONE),
        first: true,
    };
    let reports = [begin(ONE, Cause::Begin), (1..=5).map(listening).collect()].concat();
    let text = plain(&reports);
    let (_, addresses) = text.split_once("built in 1.04s\n").unwrap();
    assert_eq!(
        addresses,
        "\
hotrun: listening on 127.0.0.1:1
hotrun: listening on 127.0.0.1:2
hotrun: listening on 127.0.0.1:3
hotrun: listening on 127.0.0.1:4 (`-v` shows any further addresses)
"
    );
}

#[test]
fn failures_name_the_generation_that_is_still_live() {
    let failed =
        |failure, live| notice(Notice::Generation(TWO, GenNotice::Failed { failure, live }));
    let reports = [
        Report::Diagnostic {
            level: Level::Warning,
            id: TWO,
            rendered: "\u{1b}[31merror\u{1b}[0m: no\n".into(),
        },
        failed(GenFailure::Build, Some(ONE)),
        failed(GenFailure::ExitedEarly(Ended::Code(101)), Some(ONE)),
        failed(GenFailure::Crashed(Ended::Signal(11)), None),
        notice(Notice::Waiting),
        Report::Message {
            level: Level::Error,
            text: "cannot start `app`: not found".into(),
            hint: Some("check PATH".into()),
        },
        Report::Message {
            level: Level::Warning,
            text: "two\nlines\u{1b}[2J".into(),
            hint: None,
        },
    ];
    assert_eq!(
        plain(&reports),
        "\
error: no
hotrun: gen 2 failed to build; gen 1 still live
hotrun: gen 2 exited before it was ready (exit status 101); gen 1 still live
hotrun: gen 2 crashed (signal 11)
hotrun: waiting for a change
hotrun: error: cannot start `app`: not found
hotrun: hint: check PATH
hotrun: warning: two
hotrun: lines
"
    );
}

#[test]
fn a_kept_generation_ends_or_is_live_again() {
    let cause = Cause::Undo;
    let restored = notice(Notice::Generation(ONE, GenNotice::Restored { cause }));
    assert_eq!(
        plain(&[kept(), makes_room(), kept_ended(), restored]),
        "\
hotrun: gen 1 kept for 5m00s
hotrun: gen 1 makes room: the next generation may need 4.5 GiB of memory, but only 800 MiB are available
hotrun: gen 1 crashed (signal 9) and is no longer kept
hotrun: gen 1 live again (undo)
"
    );
}

#[test]
fn a_program_that_ends_while_connections_are_or_may_be_in_use_is_not_called_drained() {
    let gone = |in_use| {
        let (how, in_use, took) = (Stopped::Drained, in_use, ms(4100));
        notice(Notice::Generation(
            ONE,
            GenNotice::Gone { how, in_use, took },
        ))
    };
    assert_eq!(
        plain(&[gone(Some(1)), gone(Some(4)), gone(None)]),
        "\
hotrun: gen 1 ended after 4.1s, cutting off 1 connection in use
hotrun: gen 1 ended after 4.1s, cutting off 4 connections in use
hotrun: gen 1 ended after 4.1s
"
    );
}

#[test]
fn a_program_that_does_not_stop_is_killed_at_its_timeout() {
    let reports = [
        notice(Notice::Generation(
            ONE,
            GenNotice::Draining {
                timeout: ms(10_000),
            },
        )),
        notice(Notice::Generation(
            ONE,
            GenNotice::Killing {
                why: Stopped::TimedOut,
                after: ms(12_010),
            },
        )),
        notice(Notice::Generation(
            ONE,
            GenNotice::Gone {
                how: Stopped::TimedOut,
                in_use: Some(1),
                took: ms(12_020),
            },
        )),
    ];
    assert_eq!(
        plain(&reports),
        "\
hotrun: gen 1 draining, for up to 10s
hotrun: gen 1 still running after 12.01s, killing it
hotrun: gen 1 killed at its timeout, after 12.02s, cutting off 1 connection in use
"
    );
}

#[test]
fn quiet_prints_failures_and_the_output_of_the_failed_build() {
    let mut quiet = Options::of(UiMode::Plain);
    quiet.verbosity = Verbosity::Quiet;
    let reports = [
        begin(ONE, Cause::Begin),
        go_live(ONE),
        vec![
            out(ONE, "hello\n"),
            notice(Notice::Generation(
                TWO,
                GenNotice::Building {
                    cause: Cause::Change,
                },
            )),
            Report::Diagnostic {
                level: Level::Warning,
                id: TWO,
                rendered: "error: no\n".into(),
            },
            notice(Notice::Generation(
                TWO,
                GenNotice::Failed {
                    failure: GenFailure::Build,
                    live: Some(ONE),
                },
            )),
        ],
    ];
    assert_eq!(
        render(quiet, true, &reports.concat()).all(),
        "hello\nerror: no\nhotrun: gen 2 failed to build; gen 1 still live\n"
    );
}

#[test]
fn quiet_prints_a_hint_only_with_its_message() {
    let mut quiet = Options::of(UiMode::Plain);
    quiet.verbosity = Verbosity::Quiet;
    let message = |level| Report::Message {
        level,
        text: "a".into(),
        hint: Some("b".into()),
    };
    let recorder = render(quiet, true, &[message(Level::Info), message(Level::Error)]);
    assert_eq!(recorder.all(), "hotrun: error: a\nhotrun: hint: b\n");
}

#[test]
fn verbose_adds_details() {
    let mut verbose = Options::of(UiMode::Plain);
    verbose.verbosity = Verbosity::Verbose;
    let reports = [begin(ONE, Cause::Request), go_live(ONE)];
    assert_eq!(
        render(verbose, true, &reports.concat()).all(),
        "\
hotrun: gen 1 building (requested)
   Compiling app v0.1.0
hotrun: gen 1 built in 1.04s
hotrun: gen 1 starting (requested)
hotrun: gen 1 has pid 4242
hotrun: gen 1 ready in 31ms
hotrun: gen 1 live, ready in 31ms
"
    );
}

#[test]
fn why_prints_a_limited_number_of_files() {
    let mut why = Options::of(UiMode::Plain);
    why.why = true;
    let paths = (0..22)
        .map(|number| PathBuf::from(format!("/app/{number}.rs")))
        .collect();
    let text = render(why, true, &[Report::Changed(paths)]).all();
    assert!(
        text.starts_with("hotrun: changed: 0.rs\nhotrun: changed: 1.rs\n"),
        "{text}"
    );
    assert!(
        text.ends_with("hotrun: changed: 19.rs\nhotrun: changed: and 2 more\n"),
        "{text}"
    );
}

#[test]
fn the_terminal_is_cleared_before_a_build_but_not_before_the_start_that_follows() {
    let mut clear = Options::of(UiMode::Plain);
    clear.clear = true;
    let text = render(clear, true, &begin(ONE, Cause::Begin)).all();
    assert!(
        text.starts_with("\u{1b}[2J\u{1b}[1;1Hhotrun: gen 1 building"),
        "{text:?}"
    );
    assert_eq!(text.matches("\u{1b}[2J").count(), 1);
}

#[test]
fn only_hotruns_own_lines_are_colored() {
    let mut color = Options::of(UiMode::Plain);
    color.color = true;
    let reports = [notice(Notice::Waiting), out(ONE, "plain\n")];
    let text = render(color, true, &reports).all();
    assert_eq!(
        text,
        "\u{1b}[2mhotrun:\u{1b}[0m waiting for a change\nplain\n"
    );
}

#[test]
fn a_message_is_printed_line_by_line_without_colors() {
    let message = |text: &str| Report::Message {
        level: Level::Info,
        text: text.into(),
        hint: None,
    };
    let reports = [
        message("\u{1b}[33mwarning\u{1b}[0m: a"),
        message(""),
        message("b\n"),
    ];
    assert_eq!(plain(&reports), "hotrun: warning: a\nhotrun: \nhotrun: b\n");
}

#[test]
fn a_key_without_effect_says_why() {
    let starting = |cause| notice(Notice::Generation(TWO, GenNotice::Starting { cause }));
    let reports = [
        begin(ONE, Cause::Begin),
        go_live(ONE),
        vec![notice(Notice::NothingToUndo), notice(Notice::NothingToKill)],
        vec![notice(Notice::NothingShared)],
        vec![starting(Cause::Undo), notice(Notice::NothingToUndo)],
    ];
    let shown = plain(&reports.concat());
    let expected = "\
hotrun: nothing to undo: no earlier build is kept (hotrun keeps executables that cargo or `--build` has built)
hotrun: nothing to kill: no generation is draining
hotrun: no generation has a share
hotrun: gen 2 starting (undo)
hotrun: cannot undo while a generation is starting
";
    assert!(shown.ends_with(expected), "{shown}");
    let reports = [
        begin(ONE, Cause::Begin),
        go_live(ONE),
        vec![starting(Cause::RollBack)],
        go_live(TWO),
        vec![notice(Notice::NothingToUndo)],
    ];
    let shown = plain(&reports.concat());
    let expected = "nothing to undo: hotrun has already rolled back to the earlier build\n";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn a_share_and_its_failure_are_reported() {
    let failed = |failure| {
        let live = Some(ONE);
        notice(Notice::Generation(TWO, GenNotice::Failed { failure, live }))
    };
    let sharing = notice(Notice::Generation(TWO, GenNotice::Sharing { percent: 10 }));
    let crash = failed(GenFailure::Crashed(Ended::Signal(9)));
    let reports = [
        begin(ONE, Cause::Begin),
        go_live(ONE),
        begin(TWO, Cause::Change),
        vec![sharing, crash, failed(GenFailure::ShareCheck)],
    ];
    let shown = plain(&reports.concat());
    let expected = "\
hotrun: gen 2 gets 10% of new connections
hotrun: gen 2 crashed (signal 9); gen 1 still live
hotrun: gen 2 failed its check; gen 1 still live
";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn an_instance_that_crashes_leaves_the_others_live() {
    let cause = Cause::Follow;
    let failure = GenFailure::Crashed(Ended::Signal(9));
    let live = Some(ONE);
    let reports = [
        go_live(ONE),
        vec![notice(Notice::Generation(
            TWO,
            GenNotice::Starting { cause },
        ))],
        go_live(TWO),
        vec![notice(Notice::Generation(
            TWO,
            GenNotice::Failed { failure, live },
        ))],
    ];
    let shown = plain(&reports.concat());
    let last = "hotrun: gen 2 crashed (signal 9); gen 1 still live\n";
    assert!(shown.ends_with(last), "{shown}");
}
