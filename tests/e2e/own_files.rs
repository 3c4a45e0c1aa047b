//! Tests programs that write files beside their sources.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cargo_files::{assert_prints, package, start, write};
use crate::harness::{BUILD_TIMEOUT, Event, Project, Run, Running, apps};

/// Many times the debounce: if nothing happens for this long, nothing will.
const QUIET: Duration = Duration::from_millis(1500);

/// Runs a server that keeps a log file open until it ends.
fn run_writer(project: &Project, change: impl FnOnce(Run) -> Run) -> Running {
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    let start = format!("exec 9>> app.log; date +%N >&9; exec '{server}' \"$(cat source)\"");
    change(project.run().listen())
        .program(["sh", "-c", &start])
        .spawn()
}

fn settle(run: &mut Running) -> usize {
    run.wait_until_quiet(QUIET);
    run.count("starting")
}

#[test]
fn hc08_a_program_that_writes_a_log_is_soon_started_only_by_edits() {
    let project = Project::new();
    let mut run = run_writer(&project, |run| run);
    run.live();
    let first = settle(&mut run);
    assert!(first <= 3, "{first} starts");
    project.save("source", "v2\n");
    run.wait_for_version("v2");
    let second = settle(&mut run);
    assert!(
        second <= first + 2,
        "closing the log must not start the program: {second} starts"
    );
    let names = |event: &&Event| event.mentions("app.log") && event.mentions("--ignore '");
    assert_eq!(run.so_far().iter().filter(names).count(), 1);
    project.save("source", "v3\n");
    run.wait_for_version("v3");
    let third = settle(&mut run);
    assert!(third <= second + 2, "{third} starts");
    run.quit();
}

/// The files that the program of [`run_replacer`] writes.
const WRITTEN: [&str; 3] = ["state.json", "app.log", "app.pid"];

/// Runs a server that replaces one file, appends to a second one and creates a third one at every start, and closes them
/// at once.
fn run_replacer(project: &Project) -> Running {
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    let start = format!(
        "date +%N > new.tmp; mv new.tmp state.json; date +%N >> app.log; rm -f app.pid; echo $$ > app.pid
         exec '{server}' \"$(cat source)\""
    );
    let run = project.run().listen().args(["--ignore", "*.tmp"]);
    run.program(["sh", "-c", &start]).spawn()
}

#[test]
fn hc08_a_program_that_writes_files_at_every_start_is_started_three_times() {
    let project = Project::new();
    let mut run = run_replacer(&project);
    run.live();
    let starts = settle(&mut run);
    assert!(starts <= 3, "{starts} starts");
    for (more, version) in [(1, "v2"), (2, "v3")] {
        project.save("source", &format!("{version}\n"));
        run.wait_for_version(version);
        assert_eq!(settle(&mut run), starts + more, "{version}");
    }
    for name in WRITTEN {
        let names = |event: &&Event| {
            event.mentions("writes") && event.mentions(name) && event.mentions("--ignore '")
        };
        assert_eq!(run.so_far().iter().filter(names).count(), 1, "{name}");
    }
    for (more, name) in (3..).zip(WRITTEN) {
        project.save(name, "edited\n");
        assert_eq!(
            settle(&mut run),
            starts + more,
            "an edit of `{name}` counts"
        );
    }
    run.quit();
}

#[test]
fn a_user_who_saves_again_and_again_while_the_program_starts_loses_no_save() {
    let project = Project::new();
    let mut run = run_replacer(&project);
    run.live();
    for version in 1..=10 {
        project.save("source", &format!("save {version}\n"));
        sleep(Duration::from_millis(300));
    }
    run.wait_for_version("save 10");
    for version in 11..=13 {
        project.save("source", &format!("save {version}\n"));
        run.wait_for_version(&format!("save {version}"));
    }
    run.quit();
}

#[test]
fn hc08_files_that_a_program_writes_trigger_no_start_if_they_are_ignored_as_the_hint_says() {
    let project = Project::new();
    let ignored = ["--ignore", "app.log"];
    let mut run = run_writer(&project, |run| run.args(ignored));
    run.live();
    assert_eq!(settle(&mut run), 1);
    project.save("source", "v2\n");
    run.wait_for_version("v2");
    assert_eq!(settle(&mut run), 2);
    assert!(!run.so_far().iter().any(|event| event.mentions("app.")));
    run.quit();
}

#[test]
fn hc08_a_program_that_replaces_a_file_long_after_every_start_is_soon_started_only_by_edits() {
    let project = Project::new();
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    // Nobody sees who replaces a file, unless the call is intercepted.
    let start = format!(
        "(sleep 2; date +%N > new.tmp; mv new.tmp state.json) & exec '{server}' \"$(cat source)\""
    );
    let run = project.run().listen().args(["--ignore", "*.tmp"]);
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.live();
    // Three, unless a busy machine delays one of the changes.
    let starts = count_in_the_end(&mut run, "starting");
    assert!(starts <= 8, "{starts} starts");
    project.save("source", "v2\n");
    run.wait_for_version("v2");
    assert_eq!(count_in_the_end(&mut run, "starting"), starts + 1);
    run.quit();
}

#[test]
fn hc08_a_program_that_replaces_a_file_again_and_again_is_soon_started_only_by_edits() {
    let project = Project::new();
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    // Takes longer to start than between two writes, and writes only once it is live.
    let start = format!(
        "(sleep 3; until [ -e go ]; do sleep 0.1; done
         while kill -0 $$; do date +%N > new.tmp; mv new.tmp state.json; sleep 0.3; done) 2> err.tmp &
         sleep 1; exec '{server}' \"$(cat source)\""
    );
    let ignored = ["--ignore", "*.tmp", "--ignore", "go"];
    let run = project.run().listen().args(ignored);
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.live();
    project.save("go", "");
    // Three, one for the changes that waited, and one or two while the first generation drains.
    let starts = count_in_the_end(&mut run, "starting");
    assert!(starts <= 8, "{starts} starts");
    let names = |event: &&Event| event.mentions("--ignore 'state.json'");
    assert_eq!(run.so_far().iter().filter(names).count(), 1);
    for (more, version) in [(1, "v2"), (2, "v3")] {
        project.save("source", &format!("{version}\n"));
        run.wait_for_version(version);
        assert_eq!(count_in_the_end(&mut run, "starting"), starts + more);
    }
    run.quit();
}

/// A program that opens a log and writes to it, again and again.
const WRITES: &str = "use std::{fs::File, io::Write, thread, time::Duration};
fn main() {
    println!(\"one\");
    let open = || File::options().append(true).create(true).open(\"run.log\").unwrap();
    loop {
        let mut log = open();
        writeln!(log, \"line\").unwrap();
        drop(log);
        thread::sleep(Duration::from_millis(300));
    }
}
";

/// Starts a cargo package whose build reads every file: the build script does not say what it reads.
fn start_package(project: &Project) -> Running {
    let mut run = start(project, "cargo run");
    assert_prints(&mut run, "one");
    assert_eq!(run.live(), 1);
    run
}

/// Waits until no event of this name has come for a while, and returns the number of such events.
#[track_caller]
fn count_in_the_end(run: &mut Running, name: &str) -> usize {
    let deadline = Instant::now() + BUILD_TIMEOUT;
    loop {
        let count = run.count(name);
        sleep(2 * QUIET);
        if run.count(name) == count {
            return count;
        }
        assert!(Instant::now() < deadline, "{count} times `{name}`");
    }
}

#[test]
fn hc08_a_program_that_rewrites_an_input_of_its_unchanged_build_is_restarted_once() {
    let project = package(&[("src/main.rs", WRITES), ("build.rs", "fn main() {}\n")]);
    let mut run = start_package(&project);
    run.expect_that("the restart", BUILD_TIMEOUT, |event| {
        event.mentions("`run.log` changed again and again; restarting once")
    });
    assert_prints(&mut run, "one");
    let first = count_in_the_end(&mut run, "building");
    let hint = |event: &&Event| event.mentions("--ignore 'run.log'");
    assert_eq!(run.so_far().iter().filter(hint).count(), 1);
    write(&project, "src/main.rs", &WRITES.replace("one", "two"));
    assert_prints(&mut run, "two");
    assert_eq!(count_in_the_end(&mut run, "building"), first + 1);
    assert_eq!(run.count("live"), 3);
    run.quit();
}

#[test]
fn hc08_a_program_that_rewrites_an_input_of_a_broken_build_is_restarted_once() {
    let later = WRITES.replace(
        "    loop",
        "    thread::sleep(Duration::from_secs(3));\n    loop",
    );
    let project = package(&[("src/main.rs", &later), ("build.rs", "fn main() {}\n")]);
    let mut run = start_package(&project);
    write(&project, "src/main.rs", "syntax error");
    assert_prints(&mut run, "one");
    count_in_the_end(&mut run, "failed");
    assert_eq!(run.count("live"), 2);
    write(&project, "src/main.rs", &later.replace("one", "two"));
    assert_prints(&mut run, "two");
    run.quit();
}

#[test]
fn hc08_a_log_that_a_program_keeps_open_triggers_no_build_that_reads_it() {
    let held = WRITES.replace("drop(log)", "std::mem::forget(log)");
    let project = package(&[("src/main.rs", &held), ("build.rs", "fn main() {}\n")]);
    let mut run = start_package(&project);
    // The log may be created during the first build's last steps.
    let first = count_in_the_end(&mut run, "building");
    assert!(first <= 2, "{first} builds");
    for (more, word) in [(1, "two"), (2, "three")] {
        write(&project, "src/main.rs", &held.replace("one", word));
        assert_prints(&mut run, word);
        assert_eq!(count_in_the_end(&mut run, "building"), first + more);
    }
    run.assert_count("live", 3);
    run.quit();
}
