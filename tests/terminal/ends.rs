//! However hotrun ends or stops, the terminal is as it was.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{PATIENCE, Project, Screen};

/// Ends at once when it is asked to.
const RUN: &str = "echo $$ > pid; echo running; exec sleep 1000";

struct Started {
    project: Project,
    screen: Screen,
    before: nix::sys::termios::Termios,
}

/// hotrun in front of which the shell's modes are known, with generation 1 live.
fn start(panics: bool) -> Started {
    let project = Project::new("true", RUN);
    let mut command = project.hotrun(&["-l", "127.0.0.1:0"]);
    if panics {
        command.env("HOTRUN_TEST_PANIC", "1");
    }
    // The modes of a new terminal are those that a program finds: nobody has been there before.
    let mut screen = Screen::start(&wait_for_go(&project, &command), 80, 10);
    let before = screen.modes();
    screen.press("\n");
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    assert_ne!(screen.modes(), before, "keys come one by one");
    Started {
        project,
        screen,
        before,
    }
}

/// The command, once a line was typed.
fn wait_for_go(project: &Project, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read -r line; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    project.at_home(&mut shell);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

impl Started {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.screen.child.id().cast_signed())
    }

    fn program(&self) -> Pid {
        let text = std::fs::read_to_string(self.project.path("pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap())
    }

    #[track_caller]
    fn is_as_it_was(&self) {
        assert_eq!(self.screen.modes(), self.before);
        // What it wrote last may still be on its way to the emulator.
        self.screen.until("a screen as it was", |text| {
            let (hidden, pasted) = self.screen.parsed(|parser| {
                let screen = parser.screen();
                (screen.hide_cursor(), screen.bracketed_paste())
            });
            !hidden && !pasted && !text.contains("gen 1 live")
        });
    }

    #[track_caller]
    fn no_program_is_left(&self) {
        let (pid, began) = (self.program(), Instant::now());
        while kill(pid, None).is_ok() {
            assert!(began.elapsed() < PATIENCE, "{pid} is left");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn after_signals() {
    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 0),
        (Signal::SIGQUIT, 131),
    ] {
        let mut started = start(false);
        kill(started.pid(), signal).unwrap();
        assert_eq!(started.screen.ended().code(), Some(code), "{signal}");
        started.is_as_it_was();
        started.no_program_is_left();
    }
}

#[test]
fn after_keys_that_are_signals() {
    for (key, code) in [("\x03", 0), ("\x1c", 131), ("q", 0)] {
        let mut started = start(false);
        started.screen.press(key);
        assert_eq!(started.screen.ended().code(), Some(code), "{key:?}");
        started.is_as_it_was();
        started.no_program_is_left();
    }
}

#[test]
fn after_a_panic_of_either_thread() {
    for key in ["r", "\r"] {
        let mut started = start(true);
        started.screen.press(key);
        assert_ne!(started.screen.ended().code(), Some(0), "{key:?}");
        started.is_as_it_was();
        assert!(
            started.screen.text().contains("panicked at"),
            "{}",
            started.screen.text()
        );
        started.no_program_is_left();
    }
}

/// A closed window: nobody is left to see anything.
#[test]
fn after_the_terminal_is_gone() {
    let mut started = start(false);
    kill(started.pid(), Signal::SIGHUP).unwrap();
    started
        .screen
        .until("a reload", |text| text.contains("gen 2 live"));
    started.screen.close();
    started.screen.ended();
    started.no_program_is_left();
}

#[test]
fn suspended_and_back() {
    let project = Project::new("true", RUN);
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ");
    project.at_home(&mut shell);
    let mut screen = Screen::start(&shell, 80, 14);
    screen.until("a prompt", |text| text.ends_with('$'));
    let command = project.hotrun(&["-l", "127.0.0.1:0"]);
    let words = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let line = shlex::try_join(words.iter().map(String::as_str)).unwrap();
    let program = command.get_program().to_string_lossy().into_owned();
    screen.press(&format!(
        "stty -g >before; clear; {program} {line}; echo code $?; stty -g >after\n"
    ));
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    screen.press("\x1a");
    screen.until("the shell", |text| {
        text.contains("Stopped") && !text.contains("gen 1")
    });
    screen.press("stty -g >suspended\n");
    let pid: i32 = std::fs::read_to_string(project.path("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    screen.until("the program to be stopped too", |_| stat().contains(") T "));
    screen.press("fg\n");
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    screen.until("the program to go on", |_| !stat().contains(") T "));
    // In the background it goes on and leaves the terminal alone.
    screen.press("\x1a");
    screen.until("the shell", |text| !text.contains("gen 1 live"));
    screen.press("clear; bg\n");
    screen.until("the shell", |text| {
        text.contains("hotrun") && text.ends_with('$')
    });
    screen.press("fg\n");
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    screen.press("q");
    screen.until("the end", |text| !text.contains("gen 1 live"));
    screen.press("stty -g >after\n exit\n");
    screen.ended();
    let modes = |name: &str| std::fs::read_to_string(project.path(name)).unwrap();
    assert_eq!(modes("before"), modes("suspended"));
    assert_eq!(modes("before"), modes("after"));
}
