//! Sources (`--source`): commands whose output reports changes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use hotrun::os::process_tree;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Event, Project, Run, Running, TIMEOUT, until};

/// Longer than a source must be quiet. If nothing happens for this long, nothing will.
const QUIET: Duration = Duration::from_millis(1500);

/// A command that prints what a test writes to a named pipe.
struct Pipe(PathBuf);

impl Pipe {
    fn new(project: &Project, name: &str) -> Self {
        let path = project.beside(name);
        mkfifo(&path, Mode::S_IRWXU).expect("can create a named pipe");
        Self(path)
    }

    /// A value of `--source`. The command ends when the pipe is closed.
    fn source(&self, name: &str) -> String {
        format!("{name}=exec cat '{}'", self.0.display())
    }

    /// Waits until the command has opened the pipe.
    fn open(&self) -> File {
        let file = OpenOptions::new().write(true).open(&self.0);
        file.expect("can open the named pipe")
    }
}

fn write(mut pipe: &File, text: &[u8]) {
    pipe.write_all(text).expect("the command reads");
}

fn run_with_source(project: &Project, source: &str) -> Run {
    project.server("v1");
    project.run().listen().args(["--source", source])
}

fn is_change(event: &Event, name: &str) -> bool {
    event.is("changed") && event.mentions(&format!("\"@{name}\""))
}

fn is_source(event: &Event, up: bool) -> bool {
    event.is("source") && event.mentions(&format!("\"up\":{up}"))
}

/// The number of starts, once nothing happens any more.
fn starts(run: &mut Running) -> usize {
    run.wait_until_quiet(QUIET);
    run.count("starting")
}

#[test]
fn a_line_restarts_the_program_without_a_build() {
    let project = Project::new();
    let (pipe, log) = (Pipe::new(&project, "pipe"), project.beside("log"));
    let hook = format!("live=echo \"$HOTRUN_CHANGED\" >> '{}'", log.display());
    let run = run_with_source(&project, &pipe.source("cfg"));
    let mut run = run.args(["--build", "true", "--hook", &hook]).spawn();
    let file = pipe.open();
    run.live();
    write(&file, b"one\ntwo\nthree\n");
    run.expect_that("the change", TIMEOUT, |event| is_change(event, "cfg"));
    assert_eq!(run.live(), 2);
    assert_eq!(starts(&mut run), 2, "three lines cause one restart");
    run.assert_count("building", 1);
    until("the hook runs", TIMEOUT, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text == "\n@cfg\n").then_some(())
    });
    run.quit();
}

#[test]
fn rules_apply_to_sources() {
    let project = Project::new();
    let names = ["ignored", "command", "hup", "built"];
    let pipes = names.map(|name| Pipe::new(&project, name));
    let log = project.beside("log");
    let command = format!("@command=run:echo $HOTRUN_CHANGED >> '{}'", log.display());
    let rules = [
        "@ignored=ignore",
        &command,
        "@hup=signal:HUP",
        "@built=build",
    ];
    project.server("v1");
    let mut run = project.run().listen().args(["--build", "true"]);
    for ((name, pipe), rule) in names.iter().zip(&pipes).zip(rules) {
        run = run.args(["--source", &pipe.source(name), "--on", rule]);
    }
    let mut run = run.spawn();
    let files = pipes.each_ref().map(Pipe::open);
    run.live();
    write(&files[0], b"x\n");
    write(&files[1], b"x\n");
    until("the command runs", TIMEOUT, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text == "@command\n").then_some(())
    });
    run.assert_count("starting", 1);
    write(&files[2], b"x\n");
    // The server does not handle SIGHUP.
    run.expect("reload_signal_unhandled");
    assert_eq!(run.live(), 2);
    run.assert_count("building", 1);
    write(&files[3], b"x\n");
    run.expect("building");
    run.live();
    run.quit();
}

#[test]
fn a_source_that_always_fails_restarts_nothing() {
    let project = Project::new();
    let run = run_with_source(&project, "cfg=echo x; echo cannot connect >&2; exit 7");
    let mut run = run.spawn();
    run.live();
    let down = run.wait_for_event("the source is down", |event| is_source(event, false));
    assert!(down.mentions("status 7"), "{down}");
    run.wait_for_event("its error", |event| event.mentions("[cfg] cannot connect"));
    let first = starts(&mut run);
    assert!(first <= 2, "its first line is a change: {first} starts");
    until("the third run", TIMEOUT, || {
        let shown = run
            .so_far()
            .iter()
            .filter(|event| event.mentions("cannot connect"));
        (shown.count() >= 3).then_some(())
    });
    assert_eq!(starts(&mut run), first);
    assert_eq!(
        run.so_far()
            .iter()
            .filter(|event| is_source(event, false))
            .count(),
        1
    );
    run.quit();
}

#[test]
fn a_source_that_is_back_counts_as_one_change() {
    let project = Project::new();
    let pipe = Pipe::new(&project, "pipe");
    let mut run = run_with_source(&project, &pipe.source("cfg")).spawn();
    let file = pipe.open();
    run.live();
    drop(file);
    run.expect_that("the end", TIMEOUT, |event| is_source(event, false));
    let _file = pipe.open();
    run.expect_that("its return", TIMEOUT, |event| is_source(event, true));
    run.expect_that("the change", TIMEOUT, |event| is_change(event, "cfg"));
    assert_eq!(run.live(), 2);
    assert_eq!(starts(&mut run), 2);
    run.quit();
}

#[test]
fn a_source_that_never_starts_does_not_hold_up_the_program() {
    let project = Project::new();
    let mut run = run_with_source(&project, "cfg=/nonexistent/x").spawn();
    run.live();
    run.wait_for_event("the reason", |event| event.mentions("[cfg] sh:"));
    run.quit();
}

/// hotrun's highest memory use so far, in KiB (`VmHWM`, `proc(5)`).
fn memory(run: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", run.pid()));
    let status = status.expect("hotrun is running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.expect("a size").parse().expect("a number")
}

#[test]
fn garbage_and_floods_cost_little_and_cause_one_restart() {
    let project = Project::new();
    let pipe = Pipe::new(&project, "pipe");
    let mut run = run_with_source(&project, &pipe.source("cfg")).spawn();
    let file = pipe.open();
    run.live();
    let before = memory(&run);
    for _ in 0..10 {
        write(&file, &[b'x'; 1_000_000]);
    }
    sleep(QUIET);
    run.assert_count("starting", 1);
    write(&file, b"\xff\xfe\x00\n");
    run.live();
    assert_eq!(starts(&mut run), 2);
    write(&file, &b"line\n".repeat(10_000));
    run.live();
    assert_eq!(starts(&mut run), 3);
    let grown = memory(&run).saturating_sub(before);
    assert!(grown < 8 * 1024, "hotrun's memory grew by {grown} KiB");
    run.quit();
}

#[test]
fn a_program_that_changes_its_source_at_every_start_does_not_restart_for_ever() {
    let project = Project::new();
    let pipe = Pipe::new(&project, "pipe");
    let path = pipe.0.display();
    let run = run_with_source(&project, &format!("cfg=while cat '{path}'; do :; done"));
    let server = crate::harness::apps::std().server.display();
    project.script(&format!("echo x > '{path}'; exec '{server}' v1"));
    let mut run = run.spawn();
    run.live();
    let hint = |event: &Event| event.mentions("--on '@cfg=ignore'");
    run.expect_that("the hint", TIMEOUT, hint);
    let first = starts(&mut run);
    assert!(first <= 4, "{first} starts");
    // Somebody else's change still counts.
    write(&pipe.open(), b"x\n");
    run.live();
    assert_eq!(starts(&mut run), first + 1);
    run.quit();
}

#[test]
fn no_source_outlives_hotrun() {
    let project = Project::new();
    let line = "cfg=trap '' TERM HUP INT; sleep 1000 & sleep 1001";
    let mut run = run_with_source(&project, line).spawn();
    run.live();
    let tree = || process_tree::descendants(run.pid().as_raw()).len();
    // Two guardians, the program, a shell and two `sleep`s.
    until("the source runs", TIMEOUT, || (tree() >= 6).then_some(()));
    run.kill_and_check();
    let mut run = run_with_source(&project, line).spawn();
    run.live();
    run.quit();
}
