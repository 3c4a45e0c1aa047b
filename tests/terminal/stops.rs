//! Ctrl-Z and other stops: while hotrun is stopped the terminal is the shell's, and then it goes on as before.

use std::process::Command;
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{Project, Screen, until};

/// Ends at once when it is asked to.
const RUN: &str = "echo $$ > pid; echo running; exec sleep 1000";

/// A shell without line editing, and one that leaves the terminal's modes to those that change them: whatever the
/// modes are at its prompt, somebody else has left them so.
fn shell(project: &Project) -> Screen {
    let mut shell = Command::new("dash");
    shell.arg("-i").env("PS1", "$ ");
    project.at_home(&mut shell);
    let screen = Screen::start(&shell, 80, 14);
    screen.until("a prompt", |text| text.ends_with('$'));
    screen
}

/// Types the command at its prompt.
fn run(screen: &mut Screen, command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let line = shlex::try_join(words.iter().map(AsRef::as_ref)).unwrap();
    screen.press(&format!("clear; {line}; echo code $? >code\n"));
}

#[test]
fn suspended_and_back() {
    let project = Project::new("true", RUN);
    let mut screen = shell(&project);
    let before = screen.modes();
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    let during = screen.modes();
    assert_ne!(during, before);
    let pid = std::fs::read_to_string(project.path("pid")).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    let stopped = || stat().contains(") T ");

    screen.press("\x1a");
    screen.until("the shell", |text| {
        text.ends_with('$') && !text.contains("gen 1")
    });
    assert_eq!(screen.modes(), before);
    screen.until("the program to be stopped too", |_| stopped());
    screen.press("fg\n");
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    screen.until("the program to go on", |_| !stopped());
    assert_eq!(screen.modes(), during);

    // In the background it goes on and leaves the terminal alone.
    screen.press("\x1a");
    screen.until("the shell", |text| !text.contains("gen 1 live"));
    screen.press("clear; bg\n");
    screen.until("the shell", |text| {
        text.contains("hotrun") && text.ends_with('$')
    });
    screen.until("the program to go on", |_| !stopped());
    screen.quiet_for(Duration::from_millis(700));
    assert_eq!(screen.modes(), before);
    assert!(!screen.text().contains("gen 1 live"));
    screen.press("fg\n");
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    screen.press("q");
    screen.until("the end", |text| {
        text.ends_with('$') && !text.contains("gen 1 live")
    });
    assert_eq!(screen.modes(), before);
    screen.press("exit\n");
    screen.ended();
    assert_eq!(project.processes(), Vec::<String>::new());
}

/// `kill -STOP`, a debugger: nothing of that can be heard before it goes on, and in between the terminal is the shell's,
/// which sets it as it likes, or leaves it.
#[test]
fn stopped_by_what_cannot_be_caught_and_back() {
    for sets in [false, true] {
        let project = Project::new("true", RUN);
        let mut screen = shell(&project);
        let before = screen.modes();
        run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
        screen.until("gen 1", |text| {
            text.contains("running") && text.contains("gen 1 live")
        });
        let during = screen.modes();
        let program = std::fs::read_to_string(project.path("pid")).unwrap();
        let parent = |pid| process_tree::status(pid).unwrap().parent;
        let hotrun = parent(parent(program.trim().parse().unwrap()));

        kill(Pid::from_raw(hotrun), Signal::SIGSTOP).unwrap();
        screen.until("the shell", |text| text.contains("topped"));
        if sets {
            screen.set_modes(&before);
        }
        screen.press("clear; fg\n");
        screen.until("gen 1", |text| {
            let shown = text.matches("gen 1 live").count();
            !text.contains("topped") && shown == 1 && screen.modes() == during
        });
        screen.press("?");
        screen.until("help", |text| {
            text.contains("reload now") && text.matches("gen 1 live").count() == 1
        });
        screen.press("\x1a");
        screen.until("the shell", |text| {
            text.ends_with('$') && !text.contains("gen 1 live")
        });
        assert_eq!(screen.modes(), before);
        screen.press("clear; fg\n");
        screen.until("gen 1", |text| text.contains("gen 1 live"));
        screen.press("q");
        screen.until("the end", |text| text.ends_with('$'));
        assert_eq!(screen.modes(), before);
    }
}

/// The keys that are signals make a terminal throw away what is on its way to the screen, unless it is told not to.
#[test]
fn what_is_on_its_way_to_the_screen_is_there_after_ctrl_z() {
    const LINES: usize = 3000;
    let line = |n| format!("line {n:040}");
    // In great pieces, for it is these that are counted: what there is room for is more than the terminal takes.
    let print =
        "echo up; while [ ! -e go ]; do sleep 0.02; done; cat lines; echo >all; exec sleep 1000";
    let project = Project::new("true", print);
    let lines: Vec<String> = (1..=LINES).map(line).collect();
    project.write("lines", &(lines.join("\n") + "\n"));
    let mut screen = shell(&project);
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    screen.stall(true);
    project.write("go", "");
    until("all of it", || project.path("all").exists());
    screen.press("\x1a");
    screen.stall(false);
    screen.until("the shell", |text| text.ends_with('$'));
    screen.press("fg\n");
    screen.until("the last line", |text| {
        text.contains(&line(LINES)) && text.contains("gen 1 live")
    });
    let bytes = String::from_utf8_lossy(&screen.bytes()).into_owned();
    let missing = (1..=LINES).find(|n| !bytes.contains(&line(*n)));
    assert_eq!(missing, None);
    screen.press("q");
    screen.until("the end", |text| text.ends_with('$'));
}

/// A terminal at the end of a connection that takes nothing for a while.
#[test]
fn suspended_behind_a_backlog() {
    let flood = "while :; do echo \"line $((n += 1))\"; echo $n > count; done";
    let project = Project::new("true", flood);
    let mut screen = shell(&project);
    let before = screen.modes();
    run(&mut screen, &project.hotrun(&["-l", "127.0.0.1:0"]));
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    assert_ne!(screen.modes(), before);
    screen.stall(true);
    // Once nobody takes what it prints, the program waits.
    let count = || std::fs::read_to_string(project.path("count")).unwrap_or_default();
    until("a backlog", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(200));
        count() == before
    });
    // Whoever sees nothing come of it presses it again, which must not count once it has gone on.
    let began = Instant::now();
    until("the modes of the shell", || {
        if began.elapsed() < Duration::from_secs(1) {
            screen.press("\x1a");
        }
        screen.modes() == before
    });
    screen.stall(false);
    // Its prompt may be gone, if the key came a moment after it.
    screen.press("clear\n");
    screen.until("the shell", |text| text.ends_with('$'));
    screen.press("fg\n");
    screen.until("the program to go on", |text| text.contains("gen 1 live"));
    // A signal that was still there would have been heard before the key.
    screen.press("q");
    until("the end of hotrun", || project.path("code").exists());
    screen.until("the end", |text| text.ends_with('$'));
    assert_eq!(screen.modes(), before);
}

/// Whatever is shown. No time counts in which nothing could go on.
#[test]
fn suspended_without_a_footer() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let once_it_may =
        "echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done; echo up; exec sleep 1000";
    for kind in ["plain", "json", "off"] {
        let project = Project::new("true", once_it_may);
        let mut screen = shell(&project);
        let before = screen.modes();
        let timeout = format!("{}s", TIMEOUT.as_secs());
        let options = ["--ui", kind, "--ready-timeout", &timeout];
        run(&mut screen, &project.hotrun(&options));
        let pid = || std::fs::read_to_string(project.path("pid")).unwrap_or_default();
        until("the program", || pid().ends_with('\n'));
        let started = Instant::now();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid().trim()));
        // Or it waits for one that it has forked, and that is (`vfork(2)`).
        let stopped = || {
            [") T ", ") D "]
                .iter()
                .any(|state| stat().unwrap().contains(state))
        };

        screen.press("\x1a");
        until("the program to be stopped", stopped);
        screen.until("the shell", |text| text.ends_with('$'));
        until("its time to be over", || started.elapsed() > TIMEOUT);
        screen.press("fg\n");
        until("the program to go on", || !stopped());
        project.write("go", "");
        screen.until("the program", |text| text.contains("up"));
        project.write("src/main", "2");
        let first = pid();
        until("a second one", || pid() != first);
        assert!(!screen.text().contains("not ready"), "{}", screen.text());
        screen.press("\x03");
        screen.until("the end", |text| text.ends_with('$'));
        assert_eq!(screen.modes(), before);
        screen.press("exit\n");
        screen.ended();
        assert_eq!(project.processes(), Vec::<String>::new());
    }
}
