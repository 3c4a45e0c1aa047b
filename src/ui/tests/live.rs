//! Tests the live terminal through a terminal emulator.

use std::num::NonZero;

use super::*;

/// A user interface that draws on an emulator.
struct EmulatedTerminal {
    ui: Ui,
    recorder: Recorder,
    parser: vt100::Parser,
    read: usize,
}

impl EmulatedTerminal {
    fn new(options: Options, columns: u16, rows: u16) -> Self {
        let recorder = Recorder::default();
        let terminal = TerminalGuard::without_terminal(Size { columns, rows });
        let handles = Handles {
            terminal,
            ..handles(&recorder, true)
        };
        let size = |number| NonZero::new(number).unwrap();
        Self {
            ui: Ui::new(options, handles),
            recorder,
            parser: vt100::Parser::new(size(rows), size(columns), 1000),
            read: 0,
        }
    }

    /// Sends these reports, and draws.
    fn report(&mut self, reports: &[Report]) {
        for report in reports {
            self.ui.report(report).unwrap();
        }
        self.draw();
    }

    /// Draws until the screen is up to date, like the user interface's thread.
    fn draw(&mut self) {
        for _ in 0..10 {
            let Some(left) = self.ui.next_redraw().filter(|left| *left < ms(10)) else {
                return;
            };
            std::thread::sleep(left);
            self.ui.draw().unwrap();
        }
        panic!("the screen is still out of date after ten frames");
    }

    fn execute(&mut self, command: UiCommand) {
        self.ui.execute(command).unwrap();
    }

    /// The scrollback and the screen, from top to bottom.
    fn everything(&mut self) -> String {
        let all = self.recorder.all();
        self.parser.process(&all.as_bytes()[self.read..]);
        self.read = all.len();
        self.parser.screen_mut().set_scrollback(usize::MAX);
        let above = self.parser.screen().scrollback();
        let width = self.parser.screen().size().1.get();
        let mut rows: Vec<String> = Vec::new();
        for left in (1..=above).rev() {
            self.parser.screen_mut().set_scrollback(left);
            rows.extend(self.parser.screen().rows(0, width).next());
        }
        self.parser.screen_mut().set_scrollback(0);
        rows.extend(self.parser.screen().rows(0, width));
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        rows.join("\n").trim_end().to_owned()
    }
}

fn lines(from: usize, to: usize) -> String {
    (from..=to).map(|line| format!("line {line}\n")).collect()
}

fn terminal_with_one_live() -> EmulatedTerminal {
    let mut terminal = EmulatedTerminal::new(Options::of(UiMode::Live), 60, 8);
    terminal.report(&[begin(ONE, Cause::Begin), go_live(ONE)].concat());
    terminal
}

/// Asserts that the screen shows all lines in order, and the footer as often as expected.
#[track_caller]
fn assert_lines(screen: &str, last: usize, footers: usize) {
    let found: Vec<&str> = screen.lines().filter(|row| row.contains("line ")).collect();
    let expected: Vec<String> = (1..=last).map(|line| format!("line {line}")).collect();
    assert_eq!(found, expected, "{screen}");
    let footer = screen.matches("gen 1 live").count();
    assert_eq!(footer, footers, "{screen}");
}

#[test]
fn pending_output_is_printed_before_a_suspend() {
    let mut terminal = terminal_with_one_live();
    terminal.report(&[out(ONE, &lines(1, 3))]);
    assert_lines(&terminal.everything(), 3, 1);
    terminal.ui.report(&out(ONE, &lines(4, 20))).unwrap();
    terminal.execute(UiCommand::ReleaseTerminal);
    assert_lines(&terminal.everything(), 20, 0);
    terminal.execute(UiCommand::Resume { away: ms(0) });
    terminal.draw();
    assert_lines(&terminal.everything(), 20, 1);
}

#[test]
fn a_suspend_does_not_count_as_uptime() {
    let mut terminal = terminal_with_one_live();
    terminal.execute(UiCommand::ReleaseTerminal);
    let away = Duration::from_secs(150);
    terminal.ui.started -= away;
    terminal.execute(UiCommand::Resume { away });
    terminal.draw();
    let shown = terminal.everything();
    assert!(shown.contains("up <1m"), "{shown}");
}

#[test]
fn the_footer_stays_intact_when_the_screen_is_cleared_while_output_is_pending() {
    let mut terminal = terminal_with_one_live();
    terminal.ui.report(&out(ONE, &lines(1, 20))).unwrap();
    terminal.execute(UiCommand::Clear);
    terminal.draw();
    // Clearing removes the eight rows on the screen, seven of which contain lines of output.
    assert_lines(&terminal.everything(), 13, 1);
    terminal.report(&[out(ONE, "after\n")]);
    assert!(terminal.everything().contains("\nafter\n"));
}

#[test]
fn finish_prints_the_unfinished_line_and_removes_the_footer() {
    let mut terminal = terminal_with_one_live();
    terminal.report(&[out(ONE, "line 1\nline 2")]);
    assert_lines(&terminal.everything(), 2, 1);
    terminal.ui.finish().unwrap();
    assert_eq!(terminal.everything(), "line 1\nline 2");
}

#[test]
fn the_key_help_stays_until_the_same_key_or_escape() {
    let mut terminal = terminal_with_one_live();
    for (command, shown) in [
        (UiCommand::ToggleHelp, true),
        (UiCommand::HideHelp, false),
        (UiCommand::HideHelp, false),
        (UiCommand::ToggleHelp, true),
        (UiCommand::ToggleHelp, false),
    ] {
        terminal.execute(command);
        terminal.draw();
        assert_eq!(terminal.everything().contains("reload now"), shown);
    }
}

#[test]
fn connections_that_were_cut_off_are_reported_above_the_footer() {
    let mut terminal = terminal_with_one_live();
    let (how, took) = (Stopped::TimedOut, ms(10_200));
    let gone = |in_use| {
        let in_use = Some(in_use);
        notice(Notice::Generation(
            ONE,
            GenNotice::Gone { how, in_use, took },
        ))
    };
    terminal.report(&[gone(0)]);
    assert!(!terminal.everything().contains("gen 1 killed"));
    terminal.report(&[gone(2)]);
    let all = terminal.everything();
    assert!(all.contains("gen 1 killed at its timeout"), "{all}");
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut terminal = terminal_with_one_live();
    let before = terminal.recorder.all().len();
    terminal.report(&[Report::Connections(ONE, 2)]);
    let after = terminal.recorder.all().len();
    assert!(after > before, "the new number is shown");
    terminal.report(&[Report::Connections(ONE, 2)]);
    assert_eq!(terminal.recorder.all().len(), after);
}

#[test]
fn lines_are_labelled_only_while_two_programs_run() {
    let mut terminal = terminal_with_one_live();
    terminal.report(&[out(ONE, "alone\n")]);
    terminal.report(&begin(TWO, Cause::Change));
    terminal.report(&[out(ONE, "be"), out(TWO, "two\n"), out(ONE, "side\n")]);
    terminal.report(&[go_live(TWO), drain(ONE), vec![out(TWO, "alone again\n")]].concat());
    let shown = terminal.everything();
    let said: Vec<&str> = shown.lines().take_while(|row| !row.is_empty()).collect();
    assert_eq!(said[..4], ["alone", "[2] two", "[1] beside", "alone again"]);
}

/// The log stays available even if the next build prints something or is cancelled.
#[test]
fn the_log_of_a_failed_build_is_available_during_the_next_build() {
    let (three, cause) = (GenId(3), Cause::Change);
    let line = |id, text: &str| Report::BuildLine(id, text.into());
    let build_log = |terminal: &mut EmulatedTerminal, mark: &str| {
        terminal.execute(UiCommand::Mark);
        terminal.execute(UiCommand::ShowBuildLog);
        terminal.draw();
        let all = terminal.everything();
        let (_, shown) = all.rsplit_once(mark).unwrap();
        let log = |line: &&str| !line.is_empty() && !line.contains("live");
        let lines = shown.lines().skip(1).take_while(log);
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut terminal = EmulatedTerminal::new(Options::of(UiMode::Live), 60, 20);
    assert_eq!(
        build_log(&mut terminal, "mark 1"),
        ["hotrun: no build has printed anything yet"]
    );
    terminal.report(&[begin(ONE, Cause::Begin), go_live(ONE)].concat());
    terminal.report(&[
        notice(Notice::Generation(TWO, GenNotice::Building { cause })),
        line(TWO, "so far"),
    ]);
    assert_eq!(build_log(&mut terminal, "mark 2"), ["so far"]);
    terminal.report(&[
        line(TWO, "the error"),
        notice(Notice::Generation(
            TWO,
            GenNotice::Failed {
                failure: GenFailure::Build,
                live: Some(ONE),
            },
        )),
        notice(Notice::Generation(three, GenNotice::Building { cause })),
        line(three, "the next build"),
    ]);
    assert_eq!(build_log(&mut terminal, "mark 3"), ["so far", "the error"]);
    terminal.report(&[notice(Notice::Generation(three, GenNotice::BuildCancelled))]);
    assert_eq!(build_log(&mut terminal, "mark 4"), ["so far", "the error"]);
    terminal.report(&begin(three, Cause::Change));
    assert_eq!(
        build_log(&mut terminal, "mark 5"),
        ["   Compiling app v0.1.0"]
    );
}

#[test]
fn nothing_is_written_after_the_terminal_is_released() {
    let mut terminal = terminal_with_one_live();
    terminal.execute(UiCommand::ReleaseTerminal);
    let before = terminal.recorder.all().len();
    terminal.ui.report(&out(ONE, &lines(1, 20))).unwrap();
    terminal.execute(UiCommand::ReleaseTerminal);
    assert_eq!(terminal.recorder.all().len(), before);
    terminal.execute(UiCommand::Resume { away: ms(0) });
    terminal.draw();
    assert_lines(&terminal.everything(), 20, 1);
}

/// The terminal is full when the errors appear, so that they push lines into its scrollback.
#[test]
fn the_errors_of_a_failed_build_leave_no_hole_on_the_screen() {
    let three = GenId(3);
    let mut terminal = EmulatedTerminal::new(Options::of(UiMode::Live), 60, 16);
    terminal.report(&[begin(ONE, Cause::Begin), go_live(ONE)].concat());
    terminal.report(&[out(ONE, &lines(1, 30))]);
    let cause = Cause::Change;
    terminal.report(&[notice(Notice::Generation(
        TWO,
        GenNotice::Building { cause },
    ))]);
    for number in 1..=8 {
        let text = format!("error {number}");
        terminal.report(&[Report::BuildLine(TWO, text)]);
    }
    let (failure, live) = (GenFailure::Build, Some(ONE));
    let failed = notice(Notice::Generation(TWO, GenNotice::Failed { failure, live }));
    terminal.report(&[failed]);
    assert_lines(&terminal.everything(), 30, 1);
    terminal.report(&[begin(three, cause), go_live(three), drain(ONE)].concat());
    let screen = terminal.everything();
    let rows: Vec<&str> = screen.lines().collect();
    assert_eq!(
        rows.iter().filter(|row| row.starts_with(" error ")).count(),
        8
    );
    let fixed = rows
        .iter()
        .skip_while(|row| !row.contains("error 8"))
        .nth(1);
    assert_eq!(fixed, Some(&"hotrun: these errors are fixed"), "{screen}");
    // Above the footer's three rows.
    assert_eq!(rows.len(), 30 + 8 + 1 + 3, "{screen}");
}
