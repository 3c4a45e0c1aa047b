use super::*;

/// Some users cannot see colors, and terminals have backgrounds of any color.
#[test]
fn no_information_is_conveyed_by_color_alone() {
    let mut story = Story::with_one_live();
    story.switch();
    story.fail(GenFailure::ReadyTimeout);
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
    let mut story = Story::with_one_live();
    story.switch();
    story.build(GenId(3), Cause::Change);
    for rows in 1..12 {
        for columns in 1..60 {
            let shown = story.shown(columns, rows, false);
            assert!(shown.lines().count() <= usize::from(rows), "{shown}");
            let widest = shown.lines().map(console::measure_text_width).max();
            assert!(widest.unwrap_or(0) <= usize::from(columns), "{shown}");
        }
    }
}

#[test]
fn there_is_always_room_for_the_key_that_shows_the_help() {
    let mut story = Story::with_one_live();
    story.switch().exit(ONE);
    for columns in 41..130 {
        let shown = story.shown(columns, 10, false);
        assert!(shown.contains("? help"), "{columns} columns:\n{shown}");
    }
}

/// Each line of a build's output takes up one row on the terminal, and does not change the screen above that row.
#[test]
fn errors_are_sanitized_and_each_line_fits_in_one_row() {
    let lines = [
        "",
        "\x1b[2J\x1b[10Aboom\x1b[?1049h",
        "",
        &format!("\thave (\t{})", "0".repeat(100)),
        &format!("Fetch [{}]\rerror: failed to get", "=".repeat(100)),
        "\x1b[38:2::1:2:3mcolors with colons\x1b[0m and some more text",
        "\x1b]8;;http://a/m\x1b\\a link that is never closed, and cut",
        "\u{65e5}\u{672c}\u{8a9e}\tx\x08\x0c\u{9b}2J",
    ];
    let mut story = Story::with_one_live();
    story.build(TWO, Cause::Change);
    for line in lines {
        let text = line.to_owned();
        story.report(Report::BuildLine(TWO, text));
    }
    story.fail(GenFailure::Build);
    let wide = story.shown(130, 30, false);
    assert!(wide.contains("\n error: failed to get\n"), "{wide}");
    assert!(
        wide.contains("\n\n boom\n\n"),
        "empty lines are kept: {wide}"
    );
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

/// hotrun reads no keys if the program reads the terminal, or if stdin is not a terminal.
#[test]
fn only_ctrl_c_is_shown_if_hotrun_reads_no_keys() {
    let mut story = Story::with_one_live();
    story.keys = false;
    story.assert_shown(
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
        story.report(Report::BuildLine(TWO, text));
    }
    story.fail(GenFailure::Build);
    let shown = story.shown(100, 8, false);
    assert!(shown.contains("\n … 9 more lines\n"), "{shown}");
}

/// If the program opens its own sockets, the addresses of earlier generations are not shown.
#[test]
fn the_footer_shows_the_addresses_of_the_live_generation() {
    let mut story = Story {
        model: Model::default(),
        now: ms(0),
        help: false,
        keys: true,
        error_page: true,
    };
    let opened = |story: &mut Story, id, port| {
        story.report(Report::Listening {
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
    story.go_live(ONE);
    opened(&mut story, ONE, 3000);
    assert_eq!(ports(&story), ["3000"]);
    story.spawn(TWO, Cause::Change);
    opened(&mut story, TWO, 4000);
    assert_eq!(ports(&story), ["3000"]);
    story.go_live(TWO);
    let timeout = ms(10_000);
    story.notice(Notice::Generation(ONE, GenNotice::Draining { timeout }));
    assert_eq!(ports(&story), ["4000"]);
    story.exit(ONE).exit(TWO);
    assert_eq!(
        ports(&story),
        ["4000"],
        "connections wait at the last address"
    );
}

#[test]
fn a_generation_that_starts_or_drains_does_not_change_the_height_of_the_footer() {
    let mut story = Story::with_one_live();
    let height = |story: &Story| story.shown(100, 24, false).split('\n').count();
    let steady = height(&story);
    story.spawn(TWO, Cause::Change);
    assert_eq!(height(&story), steady, "starting");
    story.go_live(TWO);
    let timeout = ms(10_000);
    story.notice(Notice::Generation(ONE, GenNotice::Draining { timeout }));
    assert_eq!(height(&story), steady, "draining");
    story.exit(ONE);
    assert_eq!(height(&story), steady);
}

#[test]
fn the_footer_sums_up_many_addresses() {
    let mut story = Story::with_one_live();
    // The first of them is also an address of `--listen`.
    for port in [3000].into_iter().chain(4000..4040) {
        story.report(Report::Listening {
            name: String::new(),
            address: format!("127.0.0.1:{port}"),
            by: Some(ONE),
            first: true,
        });
    }
    let shown = story.shown(100, 24, false);
    assert!(
        shown.contains(" · 127.0.0.1:3000 · 40 more addresses · "),
        "{shown}"
    );
}

#[test]
fn the_footer_shows_a_few_instances_and_always_fits() {
    let mut story = Story::with_one_live();
    for number in 2..=6 {
        story.run(GenId(number), Cause::Follow);
        story.report(Report::Instance(
            GenId(number),
            usize::try_from(number).unwrap() - 1,
        ));
        story.go_live(GenId(number));
    }
    for rows in 1..12 {
        for columns in 1..60 {
            let shown = story.shown(columns, rows, false);
            assert!(shown.lines().count() <= usize::from(rows), "{shown}");
        }
    }
    story.assert_shown(
        "
 ● gen 1 live   api · pid 4242 · up 3m · 127.0.0.1:3000 · 12 conns
 ● gen 2 live   instance 1 · api · pid 4243 · up <1m · 127.0.0.1:3000
 ● gen 3 live   instance 2 · api · pid 4244 · up <1m · 127.0.0.1:3000
 ● gen 4 live   instance 3 · api · pid 4245 · up <1m · 127.0.0.1:3000
   and 2 more live
 ✔ built in 1.04s · ready in 31ms                                  r reload  p pause  ? help  q quit
--------------------
 ● gen 1 live   api · pid 4242 · 127.0.0.1:3000 · 12 conns
 ● gen 2 live   instance 1 · api · pid 4243 · 127.0.0.1:3000
 ● gen 3 live   instance 2 · api · pid 4244 · 127.0.0.1:3000
 ● gen 4 live   instance 3 · api · pid 4245 · 127.0.0.1:3000
   and 2 more live
 ✔ built in 1.04s · ready in 31ms           r reload  ? help
--------------------
 ● gen 3 live
 ● gen 4 live
   and 2 more live
 ✔ built in 1.04s
",
    );
}
