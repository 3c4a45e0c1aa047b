use super::*;

/// The filtered lines and the unfinished rest, which must not depend on how the input is split. `^` stands for `ESC`.
fn filtered(text: &str) -> (Vec<String>, String) {
    let bytes = text.replace('^', "\x1b").into_bytes();
    let whole = in_pieces(&bytes, bytes.len());
    for size in 1..4 {
        assert_eq!(in_pieces(&bytes, size), whole, "in pieces of {size}");
    }
    whole
}

fn filter_for(columns: usize) -> OutputFilter {
    let mut filter = OutputFilter::default();
    filter.line.terminal_columns = columns;
    filter
}

fn in_pieces(bytes: &[u8], size: usize) -> (Vec<String>, String) {
    let (mut filter, mut lines) = (filter_for(80), Vec::new());
    for piece in bytes.chunks(size) {
        filter.feed(piece, &mut |line| lines.push(line.replace('\x1b', "^")));
    }
    (lines, filter.line.text().replace('\x1b', "^"))
}

#[track_caller]
fn lines(text: &str, expected: &[&str]) {
    let (found, rest) = filtered(text);
    assert_eq!(found, expected);
    assert_eq!(rest, "");
}

#[test]
fn plain_text_passes_through_unchanged() {
    lines(
        "one\n\ttwo\r\n\ndrei\u{df}\n",
        &["one", "\ttwo", "", "drei\u{df}"],
    );
    assert_eq!(filtered("one\ntw").1, "tw");
}

#[test]
fn invalid_utf8_is_replaced_and_swallows_nothing() {
    for size in 1..8 {
        let (found, _) = in_pieces(b"a\xffb\n\xc3\nc\n", size);
        assert_eq!(
            found,
            ["a\u{fffd}b", "\u{fffd}", "c"],
            "in pieces of {size}"
        );
    }
}

#[test]
fn each_line_repeats_its_colors_and_leaves_none_on() {
    lines(
        "^[31mred\nstill\n^[0mplain\n",
        &["^[31mred^[0m", "^[31mstill^[0m", "^[31m^[0mplain"],
    );
    lines("^[38;2;1;2;3mx^[m\ny\n", &["^[38;2;1;2;3mx^[0m", "y"]);
    lines("^[4:3mwave\n", &["^[4:3mwave^[0m"]);
}

#[test]
fn links_are_kept_and_closed_at_the_end_of_each_line() {
    lines(
        "^]8;;http://a/^\\here\nthere^]8;;^\\\n",
        &[
            "^]8;;http://a/^\\here^]8;;^\\",
            "^]8;;http://a/^\\there^]8;;^\\",
        ],
    );
}

#[test]
fn sequences_that_change_the_screen_are_dropped() {
    lines(
        "^[2J^[5;5Ha^[?1049h^[3Ab^[?25l^]0;title\x07c^[6n\n",
        &["abc"],
    );
    lines("^(0a^7b^8^c\n", &["ab"]);
    lines("^P1$tx^\\a^_b^\\c\n", &["ac"]);
}

#[test]
fn a_rewritten_line_is_shown_in_its_final_state() {
    lines("10 %\r20 %\rdone\n", &["done"]);
    lines("10 %\r^[Kdone\n", &["done"]);
    lines("10 %^[2K^[Gdone\n", &["done"]);
    lines("ab\x08 \x08c\n", &["ac"]);
    assert_eq!(filtered("10 %\r").1, "10 %");
}

#[test]
fn moving_left_erases_nothing_until_text_follows() {
    lines("done 100%\x08\x08\x08\x08\n", &["done 100%"]);
    lines("at 10%^[3D20%^[3D30%\n", &["at 30%"]);
    lines("10%^[1000D20%^[1000D30%\n", &["30%"]);
    lines("abc^[2D^[Kx\n", &["ax"]);
    lines("abc\x08\x08^[C^[Cd\n", &["abcd"]);
    lines("abc\x08^[P\n", &["ab"]);
    lines("\u{65e5}\u{672c}\x08\x08x\n", &["\u{65e5}x"]);
    lines("abc\r^[5Cd\n", &["abc  d"]);
    // A color applies to the next text, no matter where the cursor is.
    lines("[    ]\x08\x08\x08\x08\x08^[32m#^[0m\n", &["[^[32m#^[0m"]);
    lines("abc\x08^[31m\nd\n", &["abc^[31m^[0m", "^[31md^[0m"]);
    lines("abc\x08^[31m^[K^[1md\n", &["ab^[31m^[1md^[0m"]);
    // Overwriting also works after a color or a link.
    lines("ab^[31m\x08c\n", &["a^[31mc^[0m"]);
    lines(
        "^]8;;http://a^\\ab^]8;;^\\\x08c\n",
        &["^]8;;http://a^\\a^]8;;^\\c"],
    );
    // A colored spinner, after text and alone.
    lines(
        "Building ^[36m|^[0m\x08^[36m/^[0m\x08^[36m-^[0m\x08\n",
        &["Building ^[0m^[36m-^[0m"],
    );
    lines("^[32m|^[0m\x08^[32m/^[0m\x08^[32m-^[0m\n", &["^[32m-^[0m"]);
}

#[test]
fn moving_right_stops_in_the_last_column() {
    let mut filter = filter_for(20);
    let mut lines = Vec::new();
    filter.feed(b"abc\x1b[999Cx\nabc\r\x1b[999Cx\n", &mut |line| {
        lines.push(line.to_owned());
    });
    let expected = format!("abc{}x", " ".repeat(16));
    assert_eq!(lines, [expected.clone(), expected]);
}

#[test]
fn a_color_at_the_start_of_a_line_erases_nothing() {
    lines("^[31mred\r^[0m\nnext\n", &["^[31mred^[0m", "next"]);
}

#[test]
fn an_unterminated_sequence_swallows_no_line() {
    lines("a^]0;title\nb\n", &["a", "b"]);
    lines("a^P1;2\nb\n^[12\nc\n^\nd\n", &["a", "b", "", "c", "", "d"]);
}

#[test]
fn the_bell_rings() {
    let mut filter = filter_for(80);
    filter.feed(b"a\x07\x07\n", &mut |_| {});
    assert!(filter.line.bell);
}

#[test]
fn erasing_to_the_left_keeps_the_width() {
    assert_eq!(filtered("half^[1Kx").1, "    x");
    assert_eq!(filtered("50%\r^[1K").1, "50%");
    assert_eq!(filtered("50%^[1K\r100%").1, "100%");
}

#[test]
fn a_line_that_is_rewritten_again_and_again_does_not_grow() {
    for text in ["\r\u{200b}x", "\x1b[32m\x1b[2K\r"] {
        let mut filter = filter_for(80);
        filter.feed(text.repeat(1000).as_bytes(), &mut |_| {});
        assert!(filter.line.len() < 20, "{}", text.escape_debug());
    }
}
