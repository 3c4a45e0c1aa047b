//! Tests changes and failures while reloading is paused.

use std::thread;
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{Project, Screen, TIMEOUT, until};

const RUN: &str = "echo $$ > pid; echo running; exec sleep 1000";

struct Paused {
    project: Project,
    screen: Screen,
}

impl Paused {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let project = Project::new("exit 0", RUN);
        let command = project.hotrun(&[&["-l", "127.0.0.1:0"], options].concat());
        let mut screen = Screen::start(&command, 100, 20);
        screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
        screen.press("p");
        screen.until("the pause", |text| text.contains("‖ paused"));
        Self { project, screen }
    }

    fn program(&self) -> i32 {
        let text = std::fs::read_to_string(self.project.path("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    fn until(&self, words: &str) {
        self.screen.until(words, |text| text.contains(words));
    }

    /// Resumes reloading, and waits until the pending changes are built and live.
    fn resume(&mut self, generation: u32) {
        self.screen.press("p");
        self.until(&format!("gen {generation} live"));
    }

    /// Ends hotrun with a signal. Checks its exit code, and that the program exits too.
    fn end(mut self, signal: Signal, code: Option<i32>) {
        let program = self.program();
        kill(Pid::from_raw(self.screen.child.id().cast_signed()), signal).unwrap();
        assert_eq!(self.screen.ended().code(), code, "{signal}");
        let began = Instant::now();
        while process_tree::status(program).is_some() {
            assert!(began.elapsed() < TIMEOUT, "pid {program} is left behind");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn change_while_paused(paused: &Paused, text: &str) {
    paused.project.write("src/main", text);
    paused.until("paused, changes pending");
}

#[test]
fn a_program_killed_during_a_pause_is_replaced_on_resume() {
    let mut paused = Paused::new();
    kill(Pid::from_raw(paused.program()), Signal::SIGKILL).unwrap();
    paused.until("signal 9");
    change_while_paused(&paused, "2");
    paused.resume(2);
    paused.end(Signal::SIGINT, Some(0));
}

#[test]
fn a_program_that_dies_with_its_guardian_during_a_pause_is_replaced_on_resume() {
    let mut paused = Paused::new();
    let program = paused.program();
    let guardian = process_tree::status(program).unwrap().parent;
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    // The guardian is the session leader, so the program loses its terminal.
    paused.until("crashed (");
    assert!(process_tree::status(program).is_none());
    change_while_paused(&paused, "2");
    paused.resume(2);
    paused.end(Signal::SIGINT, Some(0));
}

#[test]
fn a_build_broken_during_a_pause_fails_on_resume() {
    let mut paused = Paused::new();
    paused.project.write("build", "exit 1");
    change_while_paused(&paused, "2");
    paused.screen.press("p");
    paused.until("gen 2 failed to build");
    paused.until("gen 1 still live");
    paused.project.write("build", "exit 0");
    paused.project.write("src/main", "3");
    paused.until("gen 3 live");
    paused.end(Signal::SIGTERM, Some(143));
}

#[test]
fn a_rule_command_waits_until_reloading_resumes_or_a_build_is_requested() {
    let mut paused = Paused::with(&["--on", "*.txt=run:echo made >>made"]);
    let made = |paused: &Paused| std::fs::read_to_string(paused.project.path("made"));
    paused.project.write("src/a.txt", "1");
    paused.until("paused, changes pending");
    // A requested build includes all pending changes.
    paused.screen.press("r");
    paused.until("gen 2 live");
    assert_eq!(made(&paused).unwrap(), "made\n", "the command ran once");
    paused.until("‖ paused");
    paused.project.write("src/a.txt", "2");
    paused.until("paused, changes pending");
    assert_eq!(made(&paused).unwrap(), "made\n");
    paused.screen.press("p");
    until("the command to run again", || {
        made(&paused).unwrap() == "made\nmade\n"
    });
    paused.end(Signal::SIGINT, Some(0));
}

#[test]
fn a_hundred_saves_during_a_pause_trigger_at_most_two_builds() {
    let mut paused = Paused::new();
    for n in 0..100 {
        change_while_paused(&paused, &format!("save {n}"));
    }
    paused.screen.press("p");
    // The quiet period after the last save may end only after the resume, which triggers one more build.
    paused.screen.until("the last save to be live", |text| {
        text.contains("gen 2 live") || text.contains("gen 3 live")
    });
    paused.end(Signal::SIGINT, Some(0));
}

#[test]
fn hc22_killing_a_paused_hotrun_ten_times_leaves_no_program_behind() {
    for _ in 0..10 {
        Paused::new().end(Signal::SIGKILL, None);
    }
}
