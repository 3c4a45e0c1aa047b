//! However hotrun ends, the terminal is as it was.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{PATIENCE, Project, Screen, until};

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
    let mut command = project.hotrun(&["-l", "127.0.0.1:0", "--on", "*.txt=run:true"]);
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

    /// Not the program, not its guardian. Either may end a moment after hotrun, if that could do nothing about it.
    #[track_caller]
    fn no_process_is_left(&self) {
        let began = Instant::now();
        loop {
            let left = self.project.processes();
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{left:?}");
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
        started.no_process_is_left();
    }
}

#[test]
fn after_keys_that_are_signals() {
    for (key, code) in [("\x03", 0), ("\x1c", 131), ("q", 0)] {
        let mut started = start(false);
        started.screen.press(key);
        assert_eq!(started.screen.ended().code(), Some(code), "{key:?}");
        started.is_as_it_was();
        started.no_process_is_left();
    }
}

#[test]
fn after_a_panic_of_either_thread() {
    for (key, code) in [("r", 101), ("\r", 1)] {
        let mut started = start(true);
        started.screen.press(key);
        assert_eq!(started.screen.ended().code(), Some(code), "{key:?}");
        started.is_as_it_was();
        assert!(
            started.screen.text().contains("panicked at"),
            "{}",
            started.screen.text()
        );
        started.no_process_is_left();
    }
}

/// It would go on without what the task was for, and show nothing of it.
#[test]
fn after_a_panic_of_a_task() {
    let mut started = start(true);
    started.project.write("src/a.txt", "1");
    assert_eq!(started.screen.ended().code(), Some(1));
    started.is_as_it_was();
    let text = started.screen.text();
    assert!(text.contains("panicked at"), "{text}");
    started.no_process_is_left();
}

/// Somebody presses Ctrl-S before hotrun has begun, and it can't begin to draw.
#[test]
fn after_a_beginning_on_a_stopped_terminal() {
    let project = Project::new("true", RUN);
    let command = project.hotrun(&["-l", "127.0.0.1:0"]);
    let mut screen = Screen::start(&wait_for_go(&project, &command), 80, 10);
    let before = screen.modes();
    screen.press("\x13\n");
    until("the program", || project.path("pid").exists());
    screen.press("\x11");
    screen.until("gen 1", |text| text.contains("gen 1 live"));
    assert_ne!(screen.modes(), before, "keys come one by one");
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
    let started = Started {
        project,
        screen,
        before,
    };
    started.is_as_it_was();
}

/// What could not be written is given up in the end, but for what makes the terminal usable.
#[test]
fn after_a_signal_on_a_stopped_terminal() {
    let mut started = start(false);
    let pid = || std::fs::read_to_string(started.project.path("pid")).unwrap();
    let first = pid();
    // The reload comes behind it, and so it is stopped when that is there.
    started.screen.press("\x13r");
    until("a reload", || pid() != first && !pid().is_empty());
    kill(started.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(started.screen.ended().code(), Some(143));
    started.is_as_it_was();
    started.no_process_is_left();
}

/// With the terminal still there it asks for a reload.
#[test]
fn after_a_hangup_that_is_none() {
    let mut started = start(false);
    let during = started.screen.modes();
    kill(started.pid(), Signal::SIGHUP).unwrap();
    started
        .screen
        .until("a reload", |text| text.contains("gen 2 live"));
    assert_eq!(started.screen.modes(), during);
    started.screen.press("q");
    assert_eq!(started.screen.ended().code(), Some(0));
    started.is_as_it_was();
    started.no_process_is_left();
}

/// A closed window: nobody is left to see anything, and there are no modes that could be as they were.
#[test]
fn after_the_terminal_is_gone() {
    let mut started = start(false);
    started.screen.close();
    assert_eq!(started.screen.ended().code(), Some(129));
    started.no_process_is_left();
    assert_eq!(started.screen.modes_if_any(), Err(Errno::EIO));
}
