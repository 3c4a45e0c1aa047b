use super::*;

#[test]
fn the_output_of_a_single_program_passes_through_byte_for_byte() {
    let reports = [begin(ONE, Cause::Begin), go_live(ONE)].concat();
    let before = plain(&reports);
    let text = "\u{1b}[32mgreen\u{1b}[0m\r\n\n  prompt> ";
    let with_output = [reports, vec![out(ONE, text)]].concat();
    assert_eq!(plain(&with_output), before + text);
}

#[test]
fn output_keeps_its_stream() {
    let recorder = render(
        Options::of(UiMode::Plain),
        false,
        &[out(ONE, "a\n"), err(ONE, "b\n"), out(ONE, "c")],
    );
    assert_eq!(recorder.text(&[OutputStream::Stdout]), "a\nc");
    assert_eq!(recorder.text(&[OutputStream::Stderr]), "b\n");
}

#[test]
fn lines_of_two_programs_are_labelled_and_not_mixed() {
    let before = plain(&two_running());
    let output = [
        out(ONE, "old "),
        out(TWO, "new\nhalf"),
        out(ONE, "line\n"),
        err(TWO, "trouble\n"),
        out(TWO, " done\n"),
    ];
    let text = plain(&[two_running(), output.to_vec()].concat());
    assert_eq!(
        text.strip_prefix(&before).unwrap(),
        "[2] new\n[1] old line\n[2] trouble\n[2] half done\n"
    );
}

#[test]
fn hotruns_own_line_interrupts_an_unfinished_line_whose_rest_is_held_back() {
    let start = notice(Notice::Generation(
        ONE,
        GenNotice::Starting {
            cause: Cause::Begin,
        },
    ));
    let second = notice(Notice::Generation(
        TWO,
        GenNotice::Starting {
            cause: Cause::Begin,
        },
    ));
    let text = plain(&[
        start,
        out(ONE, "working"),
        second,
        out(ONE, ".."),
        out(TWO, "new\n"),
        out(ONE, ".\n"),
    ]);
    assert_eq!(
        text,
        "hotrun: gen 1 starting\nworking\nhotrun: gen 2 starting\n[2] new\n[1] ...\n"
    );
}

#[test]
fn an_unfinished_line_is_continued_without_a_label() {
    let separate = |reports: &[Report]| {
        render(Options::of(UiMode::Plain), false, reports).text(&[OutputStream::Stdout])
    };
    let start = |id| {
        notice(Notice::Generation(
            id,
            GenNotice::Starting {
                cause: Cause::Begin,
            },
        ))
    };
    let reports = [
        start(ONE),
        out(ONE, "one "),
        start(TWO),
        out(ONE, "line\nand"),
        out(TWO, "x\n"),
    ];
    assert_eq!(separate(&reports), "one line\n[2] x\n[1] and");
}

#[test]
fn held_back_output_is_printed_when_the_other_program_is_gone() {
    let recorder = Recorder::default();
    let mut ui = Ui::new(Options::of(UiMode::Plain), handles(&recorder, false));
    for report in [two_running(), go_live(TWO), vec![out(TWO, "prompt> ")]].concat() {
        ui.report(&report).unwrap();
    }
    assert_eq!(recorder.text(&[OutputStream::Stdout]), "");
    for report in drain(ONE) {
        ui.report(&report).unwrap();
    }
    assert_eq!(recorder.text(&[OutputStream::Stdout]), "prompt> ");
}

#[test]
fn held_back_output_is_printed_when_its_stream_ends() {
    let ended = Report::OutputEnded(ONE, OutputStream::Stdout);
    let reports = [
        two_running(),
        vec![out(ONE, "bye"), ended, out(TWO, "hello\n")],
    ]
    .concat();
    let recorder = render(Options::of(UiMode::Plain), false, &reports);
    assert_eq!(
        recorder.text(&[OutputStream::Stdout]),
        "[1] bye\n[2] hello\n"
    );
}

#[test]
fn an_overlong_line_is_not_held_back() {
    let long = "x".repeat(65 * 1024);
    let reports = [
        two_running(),
        vec![out(ONE, &long), out(TWO, "y\n"), out(ONE, "z\n")],
    ]
    .concat();
    let recorder = render(Options::of(UiMode::Plain), false, &reports);
    assert_eq!(
        recorder.text(&[OutputStream::Stdout]),
        format!("[1] {long}\n[2] y\n[1] z\n")
    );
}

#[test]
fn no_byte_is_lost_no_matter_how_the_output_is_split() {
    let text: String = (0..500).map(|number| format!("line {number}\n")).collect();
    for size in [1, 2, 7, 64, 1000] {
        let pieces = text
            .as_bytes()
            .chunks(size)
            .map(|piece| out(ONE, std::str::from_utf8(piece).unwrap()));
        let reports = two_running().into_iter().chain(pieces).collect::<Vec<_>>();
        let shown =
            render(Options::of(UiMode::Plain), false, &reports).text(&[OutputStream::Stdout]);
        assert_eq!(shown.replace("[1] ", ""), text);
        assert_eq!(shown.matches("[1] ").count(), 500);
    }
}

#[test]
fn mode_off_prints_only_the_programs_output() {
    let reports = [
        two_running(),
        vec![out(ONE, "a"), out(TWO, "b\n"), err(ONE, "c")],
    ]
    .concat();
    assert_eq!(
        render(Options::of(UiMode::Off), true, &reports).all(),
        "ab\nc"
    );
}

#[test]
fn a_closed_pipe_is_reported_once_and_the_other_stream_continues() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recorder = Recorder::default();
    let broken = Handles {
        stdout: Box::new(Closed),
        ..handles(&recorder, false)
    };
    let mut ui = Ui::new(Options::of(UiMode::Plain), broken);
    assert_eq!(
        ui.report(&out(ONE, "a\n")).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
    assert!(ui.report(&out(ONE, "b\n")).is_ok());
    ui.report(&err(ONE, "c\n")).unwrap();
    assert_eq!(recorder.all(), "c\n");
}
