//! Hooks (`--hook`): commands that run when something happens to a generation.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Project, Run, Running, TIMEOUT, until};

const EVENTS: [&str; 6] = ["before-start", "ready", "live", "drain", "gone", "failed"];

/// A run with a hook for each event, which appends these words to the file `log` beside the watched directory.
fn run_with_hooks(project: &Project, words: &str) -> Run {
    let log = project.beside("log").display().to_string();
    let hooks = EVENTS.map(|event| format!("{event}=echo {words} >> '{log}'"));
    let options = hooks.into_iter().flat_map(|hook| ["--hook".into(), hook]);
    project.run().listen().args(options)
}

fn log(project: &Project) -> Vec<String> {
    let text = fs::read_to_string(project.beside("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_for_line(project: &Project, line: &str) {
    until(line, TIMEOUT, || {
        log(project).iter().any(|one| one == line).then_some(())
    });
}

#[track_caller]
fn reload(project: &Project, run: &mut Running, version: &str) {
    project.server(version);
    run.live();
    run.wait_for_version(version);
}

#[test]
fn the_hooks_of_a_generation_run_in_order() {
    let project = Project::new();
    project.server("v1");
    let mut run = run_with_hooks(&project, "$HOTRUN_GENERATION $HOTRUN_EVENT").spawn();
    run.live();
    reload(&project, &mut run, "v2");
    wait_for_line(&project, "1 gone");
    run.quit();
    for generation in ["1 ", "2 "] {
        let lines = log(&project);
        let own = lines
            .iter()
            .filter_map(|line| line.strip_prefix(generation));
        assert_eq!(own.collect::<Vec<_>>(), EVENTS[..5]);
    }
}

#[test]
fn a_hook_knows_the_generation() {
    let project = Project::new();
    project.server("v1");
    let words = "$HOTRUN_GENERATION $HOTRUN_EVENT $HOTRUN_ADDRESS $(cat /proc/$HOTRUN_PID/comm) ${HOTRUN_CHANGED##*/}";
    let mut run = run_with_hooks(&project, words).spawn();
    run.live();
    let address = run.address();
    wait_for_line(&project, &format!("1 live {address} server"));
    reload(&project, &mut run, "v2");
    wait_for_line(&project, &format!("2 live {address} server start"));
    run.quit();
}

#[test]
fn a_start_that_a_hook_refuses_is_a_failed_start() {
    let project = Project::new();
    project.server("v1");
    let run = run_with_hooks(&project, "$HOTRUN_GENERATION $HOTRUN_EVENT");
    let veto = "before-start=echo checked; test ! -e bad";
    let mut run = run.args(["--hook", veto]).spawn();
    run.live();
    project.save("bad", "");
    let said = run.expect_that("the refusal", TIMEOUT, |event| event.mentions("test ! -e"));
    assert!(
        said.mentions("hook `before-start`") && said.mentions("status 1"),
        "{said}"
    );
    run.expect("failed");
    wait_for_line(&project, "2 failed");
    run.wait_for_version("v1");
    fs::remove_file(project.work().join("bad")).expect("can remove the file");
    run.live();
    let shown = run.so_far();
    let shown = shown
        .iter()
        .filter(|event| event.mentions("[before-start] checked"));
    assert_eq!(shown.count(), 3);
    run.quit();
}

#[test]
fn a_newer_change_cancels_a_hook_before_the_start() {
    let project = Project::new();
    project.server("v1");
    let hook = "before-start=if test -e slow; then rm slow; sleep 1000; fi";
    let mut run = project.run().listen().args(["--hook", hook]).spawn();
    run.live();
    fs::write(project.work().join("slow"), "").expect("can write the file");
    until("the hook runs", TIMEOUT, || {
        (!project.work().join("slow").exists()).then_some(())
    });
    reload(&project, &mut run, "v2");
    run.quit();
}

#[test]
fn the_stop_signal_comes_after_the_drain_hook() {
    let project = Project::new();
    project.server("v1");
    let alive = "drain=sleep 0.5; cat /proc/$HOTRUN_PID/comm";
    let hook = format!("{alive} >> '{}'", project.beside("log").display());
    let mut run = project.run().listen().args(["--hook", &hook]).spawn();
    run.live();
    reload(&project, &mut run, "v2");
    run.expect("gone");
    assert_eq!(log(&project), ["server"]);
    run.quit();
    assert_eq!(log(&project), ["server", "server"]);
}

#[test]
fn a_drain_hook_that_hangs_does_not_cost_the_program_its_stop_signal() {
    let project = Project::new();
    project.server("v1");
    let options = ["--hook", "drain=sleep 1000", "--stop-timeout", "2s"];
    let mut run = project.run().listen().args(options).spawn();
    run.live();
    reload(&project, &mut run, "v2");
    assert_eq!(run.expect("gone").text("outcome"), "drained");
    let shown = run.so_far();
    assert!(shown.iter().any(|event| event.mentions("longer than 1s")));
    run.quit();
}

#[test]
fn a_periodic_hook_runs_while_a_generation_is_live() {
    let project = Project::new();
    project.server("v1");
    let log_file = project.beside("log").display().to_string();
    let hook = format!("every:100ms=echo $HOTRUN_GENERATION >> '{log_file}'");
    let mut run = project.run().listen().args(["--hook", &hook]).spawn();
    run.live();
    let times = |generation| {
        until("three times", TIMEOUT, || {
            let lines = log(&project);
            let count = lines.iter().filter(|line| *line == generation).count();
            (count >= 3).then_some(())
        });
    };
    times("1");
    reload(&project, &mut run, "v2");
    times("2");
    let before = log(&project).len();
    times("2");
    sleep(Duration::from_millis(300));
    let since = log(&project).split_off(before);
    assert!(since.iter().all(|line| line == "2"), "{since:?}");
    run.quit();
}

#[test]
fn builds_and_rules_know_the_changed_files() {
    let project = Project::new();
    project.server("v1");
    let log_file = project.beside("log").display().to_string();
    let record = format!("echo \"$HOTRUN_CHANGED\" | sed 's,.*/,,' >> '{log_file}'");
    let rule = format!("*.css=run:sleep 0.2; {record}");
    let run = project.run().listen().args(["--build", &record]);
    let mut run = run.args(["--on", &rule]).spawn();
    run.live();
    reload(&project, &mut run, "v2");
    wait_for_line(&project, "start");
    project.save("a.css", "");
    wait_for_line(&project, "a.css");
    run.quit();
}
