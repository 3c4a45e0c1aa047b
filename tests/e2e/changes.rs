//! Tests that changes trigger reloads only when they should, and no more reloads than necessary.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::sockets::established_connections;
use crate::harness::{Project, Run, Running, TIMEOUT, apps, http, until};

/// Many times the debounce: if nothing happens for this long, nothing will.
const QUIET: Duration = Duration::from_millis(700);

/// Runs a project whose build takes `seconds` and copies `source` to the file that contains the server's version.
fn run_with_slow_build(project: &Project, seconds: &str) -> Running {
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

/// Waits until this version responds and no more events arrive, then checks that it still responds.
fn settles_on_version(run: &mut Running, version: &str) {
    run.wait_for_version(version);
    run.wait_until_quiet(QUIET);
    assert!(
        run.get("/").ends_with(&format!(" version {version}\n")),
        "version {version} keeps responding"
    );
}

#[test]
fn hc01_a_save_during_a_build_cancels_it() {
    let project = Project::new();
    project.save("source", "v1\n");
    let mut run = run_with_slow_build(&project, "0.4");
    run.live();
    project.save("source", "v2\n");
    run.expect("building");
    project.save("source", "v3\n");
    settles_on_version(&mut run, "v3");
    let cancelled = run.count("build_cancelled");
    assert_eq!(cancelled, 1, "only the build of v2 is cancelled");
    run.assert_count("building", 3);
    run.quit();
}

#[test]
fn hc01_a_save_during_a_drain_goes_live_at_once() {
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    // A request that stays in flight until the client sends the rest of it.
    let mut long = TcpStream::connect(run.address()).expect("can connect");
    long.write_all(b"GET / HTTP/1.1\r\n")
        .expect("can send the first line");
    until("generation 1 has the request", TIMEOUT, || {
        (established_connections(run.address()) > 0).then_some(())
    });
    project.server("v2");
    assert_eq!(run.live(), 2);
    project.server("v3");
    assert_eq!(run.live(), 3);
    long.write_all(b"connection: close\r\n\r\n")
        .expect("can send the rest");
    let answer = http::finish(long).expect("a complete response");
    assert_eq!(answer, "generation 1 version v1\n");
    run.wait_until_gone(1);
    run.wait_until_quiet(QUIET);
    run.assert_count("starting", 3);
    run.quit();
}

#[test]
fn hc01_the_newest_of_fifty_saves_in_a_row_goes_live() {
    let project = Project::new();
    project.save("source", "v0\n");
    let mut run = run_with_slow_build(&project, "0.05");
    run.live();
    for n in 1..=50 {
        project.save("source", &format!("v{n}\n"));
        // Each save is built before the next one is made, but need not go live. Some generation always responds.
        run.expect("built");
        run.get("/");
    }
    settles_on_version(&mut run, "v50");
    run.assert_count("building", 51);
    run.quit();
}

#[test]
fn hc01_saves_during_builds_are_not_reported_as_self_triggered_and_the_last_one_goes_live() {
    let project = Project::new();
    project.save("source", "v0\n");
    let mut run = run_with_slow_build(&project, "1");
    run.live();
    // The saves are as regular as those of a build that rewrites its own input.
    for n in 1..=7 {
        project.save("source", &format!("v{n}\n"));
        std::thread::sleep(Duration::from_millis(600));
    }
    settles_on_version(&mut run, "v7");
    let warns = |event: &crate::harness::Event| event.mentions("the build rewrites its own input");
    assert!(!run.so_far().iter().any(warns));
    run.quit();
}

#[test]
fn hc07_a_signal_triggers_a_reload_and_a_touch_does_not() {
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    // Save again: if a file was written just before hotrun started, hotrun cannot tell a touch from a change.
    project.server("v2");
    assert_eq!(run.live(), 2);
    let start = project.work().join("start");
    let text = fs::read(&start).expect("can read the file");
    fs::write(&start, &text).expect("can write the file");
    let mut permissions = fs::metadata(&start)
        .expect("can read the permissions")
        .permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    fs::set_permissions(&start, permissions).expect("can change the permissions");
    run.wait_until_quiet(QUIET);
    assert_eq!(
        run.count("starting"),
        2,
        "only the modification time and the mode changed"
    );
    fs::write(&start, &text).expect("can write the file");
    run.wait_until_quiet(QUIET);
    let says =
        |event: &&crate::harness::Event| event.mentions("`start` was saved, but is unchanged");
    assert_eq!(run.so_far().iter().filter(says).count(), 1);
    run.signal(Signal::SIGUSR1);
    assert_eq!(run.live(), 3);
    run.quit();
}

#[test]
fn hc10_ignored_directories_are_not_watched() {
    let project = Project::new();
    project.server("v1");
    project.save(".gitignore", "heap\n");
    fs::create_dir(project.work().join(".git")).expect("can create the directory");
    create_many_directories(&project.work().join("heap"));
    let mut run = project.run().listen().spawn();
    run.live();
    assert_eq!(run.inotify_watches(), 1, "only the root is watched");
    fs::write(project.work().join("heap/7/7/file"), "changed").expect("can write the file");
    run.wait_until_quiet(QUIET);
    run.assert_count("starting", 1);
    project.server("v2");
    assert_eq!(run.live(), 2);
    run.quit();
}

#[test]
fn an_env_file_is_read_again_when_a_link_in_its_path_leads_elsewhere() {
    let project = Project::new();
    for (release, value) in [("rel1", "one"), ("rel2", "two")] {
        fs::create_dir(project.beside(release)).expect("can create the directory");
        let env_file = project.beside(release).join(".env");
        fs::write(env_file, format!("VALUE={value}\n")).expect("can write the file");
    }
    let link = |release: &str, name: &str| {
        std::os::unix::fs::symlink(release, project.beside(name)).expect("can create the link");
    };
    link("rel1", "current");
    let run = Run::new(&project).args(["--env-file", "../current/.env"]);
    let mut run = run
        .program(["sh", "-c", "echo $VALUE; exec sleep 1000"])
        .spawn();
    run.wait_for_line(1, "one");
    link("rel2", "next");
    fs::rename(project.beside("next"), project.beside("current")).expect("can replace the link");
    run.wait_for_line(2, "two");
    run.quit();
}

/// Creates over four thousand directories.
fn create_many_directories(heap: &Path) {
    for outer in 0..64 {
        for inner in 0..64 {
            fs::create_dir_all(heap.join(format!("{outer}/{inner}")))
                .expect("can create the directory");
        }
    }
}

#[test]
fn hc08_self_triggered_builds_are_reported_and_do_not_go_on_forever() {
    let project = Project::new();
    project.server("v1");
    let build = "date +%s%N > generated; sleep 0.5";
    let mut run = project.run().listen().args(["--build", build]).spawn();
    let named = run.expect_that("a warning about `generated`", TIMEOUT, |event| {
        event.is("message") && event.mentions("generated")
    });
    // There are usually three builds: the first one, one that cancels it, and one that is postponed. If hotrun sees the
    // build write the file, there are two. On a busy machine, where the build writes the file at varying times, there
    // may be more.
    let builds = run.count("building");
    assert!(builds >= 2, "{builds} builds before {named}");
    run.wait_until_quiet(QUIET);
    run.assert_count("building", builds);
    assert_eq!(run.get("/").split(' ').next(), Some("generation"));
    // Changes to sources still trigger builds.
    project.server("v2");
    run.wait_for_version("v2");
    run.wait_until_quiet(QUIET);
    run.assert_count("building", builds + 1);
    let names = |event: &&crate::harness::Event| event.is("message") && event.mentions("generated");
    assert_eq!(run.so_far().iter().filter(names).count(), 1);
    run.quit();

    assert!(
        named.text("hint").contains("`--ignore 'generated'`"),
        "{named}"
    );
    let several = "mkdir -p gen; for n in a b; do date +%s%N > gen/$n.txt; done; sleep 0.5";
    let run = project.run().listen().args(["--build", several]);
    let mut run = run.spawn();
    // If hotrun sees the build write one of them, it names that one at once, and the other one later.
    let unnamed = RefCell::new(vec!["a", "b"]);
    run.expect_that("hints for both files", TIMEOUT, |event| {
        let names = |file: &str| event.mentions(&format!("`--ignore 'gen/{file}.txt'`"));
        let mut unnamed = unnamed.borrow_mut();
        unnamed.retain(|file| !event.is("message") || !names(file) && !names("*"));
        unnamed.is_empty()
    });
    run.quit();

    let options = ["--build", build, "--ignore", "generated"];
    let mut run = project.run().listen().args(options).spawn();
    run.live();
    run.wait_until_quiet(QUIET);
    run.assert_count("building", 1);
    assert!(!run.so_far().iter().any(|event| event.mentions("generated")));
    run.quit();
}
