//! Tests that suspend hotrun, with Ctrl-Z and in other ways. While it is suspended, the shell has the terminal. Afterwards,
//! hotrun continues as before.

use std::process::Command;
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{Project, Screen, until};

/// A program that exits at once on the stop signal.
const RUN: &str = "echo $$ > pid; echo running; exec sleep 1000";

/// Starts a shell without line editing. Such a shell does not change the terminal's modes itself.
fn shell(project: &Project) -> Screen {
    let mut shell = Command::new("dash");
    shell.arg("-i").env("PS1", "$ ");
    project.set_interactive(&mut shell);
    let screen = Screen::start(&shell, 80, 14);
    screen.until("a prompt", |text| text.ends_with('$'));
    screen
}

/// Types the command at the prompt.
fn run(screen: &mut Screen, command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let line = shlex::try_join(words.iter().map(AsRef::as_ref)).unwrap();
    screen.press(&format!("clear; {line}; echo code $? >code\n"));
}

#[test]
fn hotrun_can_be_suspended_and_resumed() {
    let project = Project::new("true", RUN);
    let mut screen = shell(&project);
    let before = screen.modes();
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1 to be live", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    let during = screen.modes();
    assert_ne!(during, before);
    let pid = std::fs::read_to_string(project.path("pid")).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    let stopped = || stat().contains(") T ");

    screen.press("\x1a");
    screen.until("the shell's prompt", |text| {
        text.ends_with('$') && !text.contains("gen 1")
    });
    assert_eq!(screen.modes(), before);
    screen.until("the program to be stopped", |_| stopped());
    screen.press("fg\n");
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    screen.until("the program to continue", |_| !stopped());
    assert_eq!(screen.modes(), during);

    // In the background, hotrun continues and leaves the terminal alone.
    screen.press("\x1a");
    screen.until("the shell's prompt", |text| !text.contains("gen 1 live"));
    screen.press("clear; bg\n");
    screen.until("the shell's prompt", |text| {
        text.contains("hotrun") && text.ends_with('$')
    });
    screen.until("the program to continue", |_| !stopped());
    screen.quiet_for(Duration::from_millis(700));
    assert_eq!(screen.modes(), before);
    assert!(!screen.text().contains("gen 1 live"));
    screen.press("fg\n");
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    screen.press("q");
    screen.until("hotrun to exit", |text| {
        text.ends_with('$') && !text.contains("gen 1 live")
    });
    assert_eq!(screen.modes(), before);
    screen.press("exit\n");
    screen.ended();
    assert_eq!(project.processes(), Vec::<String>::new());
}

/// hotrun notices only afterwards that `kill -STOP` or a debugger stopped it. In the meantime, the shell has the
/// terminal, and may or may not change its modes.
#[test]
fn hotrun_can_be_resumed_after_sigstop() {
    for sets in [false, true] {
        let project = Project::new("true", RUN);
        let mut screen = shell(&project);
        let before = screen.modes();
        run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
        screen.until("gen 1 to be live", |text| {
            text.contains("running") && text.contains("gen 1 live")
        });
        let during = screen.modes();
        let program = std::fs::read_to_string(project.path("pid")).unwrap();
        let parent = |pid| process_tree::status(pid).unwrap().parent;
        let hotrun = parent(parent(program.trim().parse().unwrap()));

        kill(Pid::from_raw(hotrun), Signal::SIGSTOP).unwrap();
        screen.until("the shell to report the stop", |text| {
            text.contains("topped")
        });
        if sets {
            screen.set_modes(&before);
        }
        screen.press("clear; fg\n");
        screen.until("gen 1 to be live", |text| {
            let shown = text.matches("gen 1 live").count();
            !text.contains("topped") && shown == 1 && screen.modes() == during
        });
        screen.press("?");
        screen.until("help", |text| {
            text.contains("reload now") && text.matches("gen 1 live").count() == 1
        });
        screen.press("\x1a");
        screen.until("the shell's prompt", |text| {
            text.ends_with('$') && !text.contains("gen 1 live")
        });
        assert_eq!(screen.modes(), before);
        screen.press("clear; fg\n");
        screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
        screen.press("q");
        screen.until("hotrun to exit", |text| text.ends_with('$'));
        assert_eq!(screen.modes(), before);
    }
}

/// By default, a terminal discards pending output when a key sends a signal.
#[test]
fn ctrl_z_loses_no_output() {
    const LINES: usize = 3000;
    let line = |n| format!("line {n:040}");
    // `cat` writes large chunks. hotrun limits only the number of queued chunks, so it can take in more output than the
    // terminal accepts.
    let print =
        "echo up; while [ ! -e go ]; do sleep 0.02; done; cat lines; echo >all; exec sleep 1000";
    let project = Project::new("true", print);
    let lines: Vec<String> = (1..=LINES).map(line).collect();
    project.write("lines", &(lines.join("\n") + "\n"));
    let mut screen = shell(&project);
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    screen.stall(true);
    project.write("go", "");
    until("hotrun to accept all output", || {
        project.path("all").exists()
    });
    screen.press("\x1a");
    screen.stall(false);
    screen.until("the shell's prompt", |text| text.ends_with('$'));
    screen.press("fg\n");
    screen.until("the last line", |text| {
        text.contains(&line(LINES)) && text.contains("gen 1 live")
    });
    let bytes = String::from_utf8_lossy(&screen.bytes()).into_owned();
    let missing = (1..=LINES).find(|n| !bytes.contains(&line(*n)));
    assert_eq!(missing, None);
    screen.press("q");
    screen.until("hotrun to exit", |text| text.ends_with('$'));
}

/// The terminal accepts no output for a while, as over a stalled connection.
#[test]
fn hotrun_can_be_suspended_with_a_backlog() {
    let flood = "while :; do echo \"line $((n += 1))\"; echo $n > count; done";
    let project = Project::new("true", flood);
    let mut screen = shell(&project);
    let before = screen.modes();
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    assert_ne!(screen.modes(), before);
    screen.stall(true);
    // The program blocks once its output is no longer accepted.
    let count = || std::fs::read_to_string(project.path("count")).unwrap_or_default();
    until("a backlog", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(200));
        count() == before
    });
    // A user who sees no effect presses the key again. hotrun must ignore these key presses after the resume.
    let began = Instant::now();
    until("the shell's modes", || {
        if began.elapsed() < Duration::from_secs(1) {
            screen.press("\x1a");
        }
        screen.modes() == before
    });
    screen.stall(false);
    // A late key press may have removed the prompt.
    screen.press("clear\n");
    screen.until("the shell's prompt", |text| text.ends_with('$'));
    screen.press("fg\n");
    screen.until("the program to continue", |text| {
        text.contains("gen 1 live")
    });
    // If a stop signal were still pending, it would take effect before this key.
    screen.press("q");
    until("hotrun to exit", || project.path("code").exists());
    screen.until("hotrun to exit", |text| text.ends_with('$'));
    assert_eq!(screen.modes(), before);
}

/// Suspending works with every `--ui`. The time for which hotrun is suspended does not count towards timeouts.
#[test]
fn hotrun_can_be_suspended_without_a_footer() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let waits_for_go =
        "echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done; echo up; exec sleep 1000";
    for kind in ["plain", "json", "off"] {
        let project = Project::new("true", waits_for_go);
        let mut screen = shell(&project);
        let before = screen.modes();
        let timeout = format!("{}s", TIMEOUT.as_secs());
        let options = ["--ui", kind, "--ready-timeout", &timeout];
        run(&mut screen, &project.hotrun(&options));
        let pid = || std::fs::read_to_string(project.path("pid")).unwrap_or_default();
        until("the program to start", || pid().ends_with('\n'));
        let started = Instant::now();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid().trim()));
        // In state `D`, the shell is waiting for a stopped child that it has just forked (`vfork(2)`).
        let stopped = || {
            [") T ", ") D "]
                .iter()
                .any(|state| stat().unwrap().contains(state))
        };

        screen.press("\x1a");
        until("the program to be stopped", stopped);
        screen.until("the shell's prompt", |text| text.ends_with('$'));
        until("the timeout to pass", || started.elapsed() > TIMEOUT);
        screen.press("fg\n");
        until("the program to continue", || !stopped());
        project.write("go", "");
        screen.until("the program's output", |text| text.contains("up"));
        project.write("src/main", "2");
        let first = pid();
        until("generation 2 to start", || pid() != first);
        assert!(!screen.text().contains("not ready"), "{}", screen.text());
        screen.press("\x03");
        screen.until("hotrun to exit", |text| text.ends_with('$'));
        assert_eq!(screen.modes(), before);
        screen.press("exit\n");
        screen.ended();
        assert_eq!(project.processes(), Vec::<String>::new());
    }
}
