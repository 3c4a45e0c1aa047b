//! Tests that hotrun restores the terminal no matter how hotrun ends.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{Project, Screen, TIMEOUT, until};

/// A program that exits at once on the stop signal.
const RUN: &str = "echo $$ > pid; echo running; exec sleep 1000";

struct Started {
    project: Project,
    screen: Screen,
    before: nix::sys::termios::Termios,
}

/// Starts hotrun and waits until generation 1 is live. The result contains the terminal's modes before the start.
fn start(panics: bool) -> Started {
    let project = Project::new("true", RUN);
    let mut command = project.hotrun(&["-l", "127.0.0.1:0", "--on", "*.txt=run:true"]);
    if panics {
        command.env("HOTRUN_TEST_PANIC", "1");
    }
    // hotrun starts only once a line is typed. Until then, the terminal has its original modes.
    let mut screen = Screen::start(&after_a_line(&project, &command), 80, 10);
    let before = screen.modes();
    screen.press("\n");
    screen.until("gen 1 to be live", |text| {
        text.contains("running") && text.contains("gen 1 live")
    });
    assert_ne!(screen.modes(), before, "hotrun should change the modes");
    Started {
        project,
        screen,
        before,
    }
}

/// Runs the command once a line has been typed.
fn after_a_line(project: &Project, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read -r line; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    project.set_interactive(&mut shell);
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
    fn assert_restored(&self) {
        assert_eq!(self.screen.modes(), self.before);
        // The emulator may not have processed the last output yet.
        self.screen.until("a restored screen", |text| {
            let (hidden, pasted) = self.screen.parsed(|parser| {
                let screen = parser.screen();
                (screen.hide_cursor(), screen.bracketed_paste())
            });
            !hidden && !pasted && !text.contains("gen 1 live")
        });
    }

    /// Asserts that the program and its guardian exit. If hotrun ended abruptly, this may take a moment.
    #[track_caller]
    fn assert_no_process_is_left(&self) {
        let began = Instant::now();
        loop {
            let left = self.project.processes();
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < TIMEOUT, "processes left: {left:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn the_terminal_is_restored_after_signals() {
    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 0),
        (Signal::SIGQUIT, 131),
    ] {
        let mut started = start(false);
        kill(started.pid(), signal).unwrap();
        assert_eq!(started.screen.ended().code(), Some(code), "{signal}");
        started.assert_restored();
        started.assert_no_process_is_left();
    }
}

#[test]
fn the_terminal_is_restored_after_keys_that_send_signals() {
    for (key, code) in [("\x03", 0), ("\x1c", 131), ("q", 0)] {
        let mut started = start(false);
        started.screen.press(key);
        assert_eq!(started.screen.ended().code(), Some(code), "{key:?}");
        started.assert_restored();
        started.assert_no_process_is_left();
    }
}

#[test]
fn the_terminal_is_restored_after_a_panic_in_the_driver_or_the_ui_thread() {
    for (key, code) in [("r", 101), ("\r", 1)] {
        let mut started = start(true);
        started.screen.press(key);
        assert_eq!(started.screen.ended().code(), Some(code), "{key:?}");
        started.assert_restored();
        assert!(
            started.screen.text().contains("panicked at"),
            "{}",
            started.screen.text()
        );
        started.assert_no_process_is_left();
    }
}

/// hotrun must quit, because it would otherwise silently continue without the task.
#[test]
fn the_terminal_is_restored_after_a_panic_in_a_task() {
    let mut started = start(true);
    started.project.write("src/a.txt", "1");
    assert_eq!(started.screen.ended().code(), Some(1));
    started.assert_restored();
    let text = started.screen.text();
    assert!(text.contains("panicked at"), "{text}");
    started.assert_no_process_is_left();
}

/// The user presses Ctrl-S before hotrun starts drawing.
#[test]
fn the_terminal_is_restored_after_a_start_on_a_stopped_terminal() {
    let project = Project::new("true", RUN);
    let command = project.hotrun(&["-l", "127.0.0.1:0"]);
    let mut screen = Screen::start(&after_a_line(&project, &command), 80, 10);
    let before = screen.modes();
    screen.press("\x13\n");
    until("the program to start", || project.path("pid").exists());
    screen.press("\x11");
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    assert_ne!(screen.modes(), before, "hotrun should change the modes");
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
    let started = Started {
        project,
        screen,
        before,
    };
    started.assert_restored();
}

/// hotrun eventually discards the output that the terminal does not accept, so that it can restore the terminal.
#[test]
fn the_terminal_is_restored_after_a_signal_on_a_stopped_terminal() {
    let mut started = start(false);
    let pid = || std::fs::read_to_string(started.project.path("pid")).unwrap();
    let first = pid();
    // When the reload happens, the terminal has already processed the preceding Ctrl-S.
    started.screen.press("\x13r");
    until("a reload", || pid() != first && !pid().is_empty());
    kill(started.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(started.screen.ended().code(), Some(143));
    started.assert_restored();
    started.assert_no_process_is_left();
}

/// While hotrun has a terminal, `SIGHUP` requests a reload.
#[test]
fn the_terminal_is_restored_after_a_sighup_without_a_hangup() {
    let mut started = start(false);
    let during = started.screen.modes();
    kill(started.pid(), Signal::SIGHUP).unwrap();
    started
        .screen
        .until("a reload", |text| text.contains("gen 2 live"));
    assert_eq!(started.screen.modes(), during);
    started.screen.press("q");
    assert_eq!(started.screen.ended().code(), Some(0));
    started.assert_restored();
    started.assert_no_process_is_left();
}

/// After the window was closed, there are no modes left to restore.
#[test]
fn hotrun_exits_after_the_terminal_is_closed() {
    let mut started = start(false);
    started.screen.close();
    assert_eq!(started.screen.ended().code(), Some(129));
    started.assert_no_process_is_left();
    assert_eq!(started.screen.modes_if_any(), Err(Errno::EIO));
}
