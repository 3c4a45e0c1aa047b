//! A fault in a new generation does not affect the live one.

use std::fs;
use std::time::Duration;

use crate::harness::{Event, Project, Run, Running, TIMEOUT, apps};

fn serving(project: &Project, options: &[&str]) -> Running {
    project.server("good");
    let mut run = project.run().listen().args(options).spawn();
    assert_eq!(run.live(), 1);
    run
}

/// Saves a faulty version, and checks that it fails for this reason while the old generation stays live. Then saves a
/// good version, which must go live.
fn assert_fails_with(run: &mut Running, project: &Project, faults: &str, reason: &str) -> Event {
    project.faulty(faults);
    let failed = run.expect("failed");
    assert_eq!(
        (failed.text("reason"), failed.number("live")),
        (reason, 1),
        "{failed}"
    );
    assert_eq!(run.get("/"), "generation 1 version good\n");
    project.server("better");
    run.live();
    assert!(run.get("/").ends_with("version better\n"));
    failed
}

#[test]
fn hc14_a_program_that_panics_before_it_is_ready_does_not_go_live() {
    let project = Project::new();
    let mut run = serving(&project, &[]);
    let failed = assert_fails_with(&mut run, &project, "panic", "exited_early");
    assert_eq!(failed.number("exit_code"), 101, "{failed}");
    let shown = run
        .so_far()
        .iter()
        .any(|event| event.mentions("an injected fault"));
    assert!(shown, "the panic message is shown");
    run.quit();
}

#[test]
fn hc14_a_program_that_exits_before_it_is_ready_does_not_go_live() {
    let project = Project::new();
    let mut run = serving(&project, &[]);
    let failed = assert_fails_with(&mut run, &project, "exit=3", "exited_early");
    assert_eq!(failed.number("exit_code"), 3, "{failed}");
    run.quit();
}

#[test]
fn hc14_a_program_that_hangs_fails_at_the_ready_timeout() {
    let project = Project::new();
    let mut run = serving(&project, &["--ready-timeout", "1s"]);
    assert_fails_with(&mut run, &project, "hang", "ready_timeout");
    run.quit();
}

#[test]
fn the_hint_for_a_program_that_is_not_ready_in_time_helps() {
    let project = Project::new();
    project.faulty("late=2000");
    let start = |options: &[&str]| project.run().listen().args(options).spawn();
    let mut run = start(&["--ready-timeout", "1s"]);
    let hint = run.expect_that("a hint", TIMEOUT, |event| {
        event.mentions("allows more time")
    });
    let names = |option| hint.text("hint").contains(option);
    assert!(names("`--ready`") && names("`--ready-timeout`"), "{hint}");
    run.quit();
    for options in [["--ready-timeout", "20s"], ["--ready", "delay:100ms"]] {
        let mut run = start(&options);
        assert_eq!(run.live(), 1);
        assert_eq!(run.get("/"), "generation 1 version 1\n");
        run.assert_count("failed", 0);
        run.quit();
    }
}

#[test]
fn hc14_a_program_killed_before_it_is_ready_does_not_go_live() {
    let project = Project::new();
    let mut run = serving(&project, &[]);
    project.script("kill -9 $$");
    let failed = run.expect("failed");
    let (reason, signal) = (failed.text("reason"), failed.number("signal"));
    assert_eq!((reason, signal), ("exited_early", 9), "{failed}");
    assert_eq!(run.get("/"), "generation 1 version good\n");
    run.quit();
}

#[test]
fn a_newer_save_does_not_wait_for_a_hung_start() {
    let project = Project::new();
    let mut run = serving(&project, &["--ready-timeout", "60s"]);
    project.faulty("hang");
    run.expect_that("the program to hang", TIMEOUT, |event| {
        event.mentions("hanging")
    });
    project.server("better");
    let live = run.expect_that(
        "the newer version to go live long before the timeout",
        Duration::from_secs(15),
        |event| event.is("live"),
    );
    assert!(live.generation() > 2);
    run.quit();
}

#[test]
fn a_removed_program_cannot_be_started_and_the_old_generation_stays_live() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let mut run = Run::new(&project).listen().program(["./server"]).spawn();
    run.live();
    fs::remove_file(project.work().join("server")).expect("can remove the file");
    let failed = run.expect("failed");
    let (reason, live) = (failed.text("reason"), failed.number("live"));
    assert_eq!((reason, live), ("start", 1), "{failed}");
    let shown = run.so_far().iter().any(|event| event.mentions("./server"));
    assert!(shown, "the missing program is named");
    assert_eq!(run.get("/"), "generation 1 version 1\n");
    project.swap(&apps::std().server);
    run.live();
    run.quit();
}

#[test]
fn hc26_a_flood_of_output_is_shown_in_full() {
    let project = Project::new();
    project.faulty("flood=100000 one");
    let mut run = project.run().listen().spawn();
    run.live();
    run.expect_that("the last line", TIMEOUT, |event| {
        event.mentions("line 100000 of 100000")
    });
    let lines = run
        .so_far()
        .iter()
        .filter(|event| event.mentions(" of 100000"))
        .count();
    assert_eq!(lines, 100_000);
    run.quit();
}
