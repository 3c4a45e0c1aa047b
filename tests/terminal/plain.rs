//! Tests that hotrun prints plain lines without escape sequences where it cannot draw on a terminal.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{Project, Screen, until};

const RUN: &str = "echo running; exec sleep 1000";

fn assert_no_escape_sequence(screen: &Screen) {
    let bytes = screen.bytes();
    assert!(
        !bytes.contains(&0x1b),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
}

fn assert_plain_lines(mut command: Command, change: impl FnOnce(&mut Command)) {
    change(&mut command);
    let mut screen = Screen::start(&command, 80, 12);
    screen.until("plain lines", |text| {
        text.contains("running") && text.contains("hotrun: gen 1 live")
    });
    // The pseudoterminal turns Ctrl-C into a signal.
    screen.press("\x03");
    assert_eq!(screen.ended().code(), Some(0));
    assert_no_escape_sequence(&screen);
}

#[test]
fn hotrun_prints_plain_lines_on_a_dumb_terminal_and_in_ci() {
    let project = Project::new("true", RUN);
    assert_plain_lines(project.hotrun(&[]), |command| {
        command.env("TERM", "dumb");
    });
    assert_plain_lines(project.hotrun(&[]), |command| {
        command.env("CI", "true").env("NO_COLOR", "1");
    });
}

#[test]
fn hotrun_prints_plain_lines_if_stdin_is_not_a_terminal() {
    let project = Project::new("true", RUN);
    let command = project.hotrun(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" </dev/null"]);
    shell.arg(command.get_program()).args(command.get_args());
    project.set_interactive(&mut shell);
    assert_plain_lines(shell, |_| {});
}

#[test]
fn no_color_is_respected_on_a_live_terminal() {
    let project = Project::new("true", RUN);
    let mut command = project.hotrun(&[]);
    command.env("NO_COLOR", "1");
    let mut screen = Screen::start(&command, 80, 12);
    screen.until("gen 1 to be live", |text| {
        text.contains("running") && text.contains("● gen 1 live")
    });
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
    let text = String::from_utf8_lossy(&screen.bytes()).into_owned();
    let coloured = regex::Regex::new("\x1b\\[[1-9][0-9;]*m").unwrap();
    assert!(!coloured.is_match(&text), "{text:?}");
}

#[track_caller]
fn assert_plain(text: &str) {
    assert!(
        !text.contains('\x1b') && !text.contains("panicked"),
        "{text}"
    );
}

/// A closed pipe is not an error.
#[test]
fn hotrun_prints_plain_lines_into_a_pipe_until_it_is_closed() {
    let project = Project::new("true", "while echo line; do :; done");
    let command = project.hotrun(&[]);
    let mut shell = Command::new("bash");
    let line = "\"$0\" \"$@\" 2>&1 | head -1; echo ${PIPESTATUS[0]}";
    shell.args(["-c", line]).arg(command.get_program());
    shell.args(command.get_args());
    project.set_interactive(&mut shell);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_plain(&text);
    assert_plain(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..], ["0"], "{text}");
    assert_eq!(project.processes(), Vec::<String>::new());
}

#[test]
fn hotrun_prints_plain_lines_into_a_file() {
    let project = Project::new("true", RUN);
    for (signal, code) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 143)] {
        let out = File::create(project.path("out")).unwrap();
        let mut command = project.hotrun(&[]);
        command.stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let mut child = command.spawn().unwrap();
        let text = || fs::read_to_string(project.path("out")).unwrap();
        until("gen 1 to be live", || {
            text().contains("running\n") && text().contains("gen 1 live")
        });
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let mut status = None;
        until("hotrun to exit", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code), "{}", text());
        assert_plain(&text());
    }
}

#[test]
fn the_option_stdin_program_passes_input_to_the_program() {
    let project = Project::new(
        "true",
        "echo running; read -r word; echo \"got $word\"; exec sleep 1000",
    );
    let mut screen = Screen::start(&project.hotrun(&["--stdin", "program"]), 80, 12);
    screen.until("gen 1 to be live", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    // hotrun must not enable bracketed paste here: only the program may do so.
    assert!(!screen.parsed(|parser| parser.screen().bracketed_paste()));
    screen.until("a footer without keys", |text| {
        text.contains("Ctrl-C quit") && !text.contains("? help")
    });
    screen.press("quit\n");
    screen.until("the program's answer", |text| {
        text.contains("\nquit\n") && text.contains("\ngot quit\n")
    });
    screen.press("\x03");
    assert_eq!(screen.ended().code(), Some(0));
}

#[test]
fn a_program_that_waits_for_the_terminal_is_reported_and_the_suggested_options_help() {
    let read = "echo running; read -r word </dev/tty; echo \"got $word\"; exec sleep 1000";
    let project = Project::new("true", read);
    let mut screen = Screen::start(&project.hotrun(&["--ui", "plain"]), 120, 12);
    screen.until("a message that the program is stopped", |text| {
        text.contains("is stopped: it is waiting for the terminal")
            && text.contains("`--ui live --stdin program`")
    });
    screen.press("\x03");
    assert_eq!(screen.ended().code(), Some(0));
    let options = ["--ui", "live", "--stdin", "program"];
    let mut screen = Screen::start(&project.hotrun(&options), 80, 12);
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    screen.press("word\n");
    screen.until("the program's answer", |text| text.contains("\ngot word\n"));
    screen.press("\x03");
    assert_eq!(screen.ended().code(), Some(0));
}
