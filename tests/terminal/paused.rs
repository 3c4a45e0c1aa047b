//! Faults while changes wait, which only a key brings about.

use std::thread;
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::screen::{PATIENCE, Project, Screen, until};

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
        screen.until("gen 1", |text| text.contains("gen 1 live"));
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

    /// What has waited is built, and live.
    fn goes_on(&mut self, generation: u32) {
        self.screen.press("p");
        self.until(&format!("gen {generation} live"));
    }

    /// Nothing is left of it.
    fn ends(mut self, signal: Signal, code: Option<i32>) {
        let program = self.program();
        kill(Pid::from_raw(self.screen.child.id().cast_signed()), signal).unwrap();
        assert_eq!(self.screen.ended().code(), code, "{signal}");
        let began = Instant::now();
        while process_tree::status(program).is_some() {
            assert!(began.elapsed() < PATIENCE, "{program} is left");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn wait_with_a_change(paused: &Paused, text: &str) {
    paused.project.write("src/main", text);
    paused.until("paused, changes pending");
}

#[test]
fn a_program_that_is_killed_while_paused_is_followed_once_it_goes_on() {
    let mut paused = Paused::new();
    kill(Pid::from_raw(paused.program()), Signal::SIGKILL).unwrap();
    paused.until("signal 9");
    wait_with_a_change(&paused, "2");
    paused.goes_on(2);
    paused.ends(Signal::SIGINT, Some(0));
}

#[test]
fn a_guardian_that_is_killed_while_paused_takes_its_program_along() {
    let mut paused = Paused::new();
    let program = paused.program();
    let guardian = process_tree::status(program).unwrap().parent;
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    // The session loses its leader, and the program its terminal.
    paused.until("crashed (");
    assert!(process_tree::status(program).is_none());
    wait_with_a_change(&paused, "2");
    paused.goes_on(2);
    paused.ends(Signal::SIGINT, Some(0));
}

#[test]
fn a_build_that_breaks_while_paused_fails_once_it_goes_on() {
    let mut paused = Paused::new();
    paused.project.write("build", "exit 1");
    wait_with_a_change(&paused, "2");
    paused.screen.press("p");
    paused.until("gen 2 failed to build");
    paused.until("gen 1 still live");
    paused.project.write("build", "exit 0");
    paused.project.write("src/main", "3");
    paused.until("gen 3 live");
    paused.ends(Signal::SIGTERM, Some(143));
}

#[test]
fn a_command_of_a_rule_waits_as_every_change_does() {
    let mut paused = Paused::with(&["--on", "*.txt=run:echo made >>made"]);
    let made = |paused: &Paused| std::fs::read_to_string(paused.project.path("made"));
    paused.project.write("src/a.txt", "1");
    paused.until("paused, changes pending");
    // Whoever builds now has all of it.
    paused.screen.press("r");
    paused.until("gen 2 live");
    assert_eq!(made(&paused).unwrap(), "made\n", "once, and not before");
    paused.until("‖ paused");
    paused.project.write("src/a.txt", "2");
    paused.until("paused, changes pending");
    assert_eq!(made(&paused).unwrap(), "made\n");
    paused.screen.press("p");
    until("the command", || made(&paused).unwrap() == "made\nmade\n");
    paused.ends(Signal::SIGINT, Some(0));
}

#[test]
fn a_hundred_saves_while_paused_are_not_a_hundred_builds() {
    let mut paused = Paused::new();
    for n in 0..100 {
        wait_with_a_change(&paused, &format!("save {n}"));
    }
    paused.screen.press("p");
    // The last of them may still be settling, and then it is one more.
    paused.screen.until("the last", |text| {
        text.contains("gen 2 live") || text.contains("gen 3 live")
    });
    paused.ends(Signal::SIGINT, Some(0));
}

#[test]
fn hc22_ten_kills_while_paused_leave_nothing() {
    for _ in 0..10 {
        Paused::new().ends(Signal::SIGKILL, None);
    }
}
