//! Which changes cause a reload, and how many.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::sockets::established;
use crate::harness::{PATIENCE, Project, Run, Running, apps, http, until};

/// How long nothing must happen before we believe that nothing will. Many times the debounce.
const QUIET: Duration = Duration::from_millis(700);

/// A project whose build takes a moment and copies `source` to where the server reads its version.
fn built_slowly(project: &Project, seconds: &str) -> Running {
    let built = project.beside("built");
    let server = apps::std().server.display().to_string();
    let line = format!(
        "read -r v < source; sleep {seconds}; echo \"$v\" > '{}'",
        built.display()
    );
    let start = format!("exec '{server}' \"$(cat '{}')\"", built.display());
    let run = Run::new(project)
        .listen()
        .args(["--build", &line, "--stop-timeout", "2s"]);
    run.program(["sh", "-c", &start]).spawn()
}

/// Waits until this version answers, and checks that nothing more happens then.
fn comes_to_rest_at(run: &mut Running, version: &str) {
    until(&format!("version {version} answers"), PATIENCE, || {
        run.get("/")
            .ends_with(&format!(" version {version}\n"))
            .then_some(())
    });
    run.settled(QUIET);
    assert!(
        run.get("/").ends_with(&format!(" version {version}\n")),
        "and it stays so"
    );
}

#[test]
fn hc01_a_save_during_a_build_wins() {
    let project = Project::new();
    project.save("source", "v1\n");
    let mut run = built_slowly(&project, "0.4");
    run.live();
    project.save("source", "v2\n");
    run.expect("building");
    project.save("source", "v3\n");
    comes_to_rest_at(&mut run, "v3");
    let cancelled = run.count("build_cancelled");
    assert_eq!(cancelled, 1, "the build of v2 was given up");
    run.counted("building", 3);
    run.quit();
}

#[test]
fn hc01_a_save_during_a_drain_is_not_held_up() {
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    // A request that lasts until we send the rest of it.
    let mut long = TcpStream::connect(run.address()).expect("it is open");
    long.write_all(b"GET / HTTP/1.1\r\n").expect("it is open");
    until("generation 1 has the request", PATIENCE, || {
        (established(run.address()) > 0).then_some(())
    });
    project.server("v2");
    assert_eq!(run.live(), 2);
    project.server("v3");
    assert_eq!(run.live(), 3);
    long.write_all(b"connection: close\r\n\r\n")
        .expect("it is open");
    let answer = http::finish(long).expect("it is answered in full");
    assert_eq!(answer, "generation 1 version v1\n");
    run.gone_is(1);
    run.settled(QUIET);
    run.counted("starting", 3);
    run.quit();
}

#[test]
fn hc01_fifty_saves_in_a_row_end_in_the_newest() {
    let project = Project::new();
    project.save("source", "v0\n");
    let mut run = built_slowly(&project, "0.05");
    run.live();
    for n in 1..=50 {
        project.save("source", &format!("v{n}\n"));
        // Each of them is built before the next, though perhaps not live, and somebody answers meanwhile.
        run.expect("built");
        run.get("/");
    }
    comes_to_rest_at(&mut run, "v50");
    run.counted("building", 51);
    run.quit();
}

#[test]
fn hc01_a_save_in_each_build_is_no_loop_and_the_last_is_built() {
    let project = Project::new();
    project.save("source", "v0\n");
    let mut run = built_slowly(&project, "1");
    run.live();
    // As regular as a build that writes its own input would be.
    for n in 1..=7 {
        project.save("source", &format!("v{n}\n"));
        std::thread::sleep(Duration::from_millis(600));
    }
    comes_to_rest_at(&mut run, "v7");
    let blamed = |event: &crate::harness::Event| event.mentions("the build itself changes");
    assert!(!run.so_far().iter().any(blamed));
    run.quit();
}

#[test]
fn hc07_a_touch_causes_nothing_and_a_signal_forces_a_reload() {
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    // Of a file that was written in the very moment of the start nobody can say whether it changed since. Of
    // this one it is known what is in it.
    project.server("v2");
    assert_eq!(run.live(), 2);
    let start = project.work().join("start");
    let text = fs::read(&start).expect("it is ours");
    fs::write(&start, &text).expect("it is ours");
    let mut permissions = fs::metadata(&start).expect("it is ours").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    fs::set_permissions(&start, permissions).expect("it is ours");
    run.settled(QUIET);
    assert_eq!(
        run.count("starting"),
        2,
        "nothing changed but times and modes"
    );
    run.signal(Signal::SIGUSR1);
    assert_eq!(run.live(), 3);
    run.quit();
}

#[test]
fn hc10_nothing_is_watched_inside_of_what_is_ignored() {
    let project = Project::new();
    project.server("v1");
    project.save(".gitignore", "heap\n");
    fs::create_dir(project.work().join(".git")).expect("it is ours");
    grow(&project.work().join("heap"));
    let mut run = project.run().listen().spawn();
    run.live();
    let watches = watches(run.pid().as_raw());
    assert_eq!(watches, 1, "the folder itself");
    fs::write(project.work().join("heap/7/7/file"), "changed").expect("it is ours");
    run.settled(QUIET);
    run.counted("starting", 1);
    project.server("v2");
    assert_eq!(run.live(), 2);
    run.quit();
}

/// Four thousand and some folders.
fn grow(heap: &Path) {
    for outer in 0..64 {
        for inner in 0..64 {
            fs::create_dir_all(heap.join(format!("{outer}/{inner}"))).expect("it is ours");
        }
    }
}

/// How many inotify watches a process has, see `proc(5)`, `/proc/PID/fdinfo`.
fn watches(pid: i32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let infos = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    infos
        .map(|info| {
            info.lines()
                .filter(|line| line.starts_with("inotify wd:"))
                .count()
        })
        .sum()
}

#[test]
fn hc08_a_build_that_writes_its_inputs_is_named_and_ends() {
    let project = Project::new();
    project.server("v1");
    let build = "date +%s%N > generated; sleep 0.5";
    let mut run = project.run().listen().args(["--build", build]).spawn();
    let named = run.expect_that("a word about it", PATIENCE, |event| {
        event.is("message") && event.mentions("generated")
    });
    assert!(named.mentions("the build itself changes"), "{named}");
    run.settled(QUIET);
    let builds = run.count("building");
    assert_eq!(
        builds, 6,
        "three are begun anew, and three come to their end"
    );
    run.counted("build_cancelled", 3);
    assert_eq!(run.get("/").split(' ').next(), Some("generation"));
    // Sources still count.
    project.server("v2");
    until("version v2 answers", PATIENCE, || {
        run.get("/").ends_with(" version v2\n").then_some(())
    });
    run.settled(QUIET);
    run.counted("building", builds + 1);
    run.quit();
}
