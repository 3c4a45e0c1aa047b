//! From a save to the switch, in each mode.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use hotrun::reload;
use nix::sys::signal::Signal;

#[path = "../../src/reload/tests/replay.rs"]
mod replay;

use crate::harness::{BUILD_PATIENCE, Event, PATIENCE, Project, Run, Running, apps, http};

/// A copy of the axum example in the watched directory, which can be edited.
struct Example {
    project: Project,
}

impl Example {
    fn new(name: &str) -> Self {
        let project = Project::new();
        apps::copy_of_axum(&project.work(), name);
        Self { project }
    }

    fn set_version(&self, version: u32) {
        apps::set_version(&self.project.work(), version);
    }

    fn main(&self) -> PathBuf {
        self.project.work().join("src/main.rs")
    }

    fn run(&self, argv: &[&str]) -> Running {
        let run = Run::new(&self.project).env("CARGO_TARGET_DIR", apps::target_dir());
        run.listen().program(argv.iter().copied()).spawn()
    }

    fn break_it(&self) {
        let text = fs::read_to_string(self.main()).expect("it is there");
        fs::write(self.main(), text.replace("fn router(", "fn router(("))
            .expect("a file of this test");
    }

    fn mend_it(&self) {
        let text = fs::read_to_string(self.main()).expect("it is there");
        fs::write(self.main(), text.replace("fn router((", "fn router("))
            .expect("a file of this test");
    }
}

fn live_after_a_build(run: &mut Running) -> Event {
    run.expect_that("live", BUILD_PATIENCE, |event| event.is("live"))
}

#[test]
fn cargo_run_is_rebuilt_and_switched_without_a_lost_request() {
    let example = Example::new("cargo-run");
    let mut run = example.run(&["cargo", "run"]);
    live_after_a_build(&mut run);
    assert!(run.get("/").contains("version 1."));

    example.set_version(2);
    live_after_a_build(&mut run);
    assert!(run.get("/").contains("version 2."));
    run.quit();
    example
        .project
        .assert_untouched(&["Cargo.lock", "Cargo.toml", "src"]);
}

#[test]
fn hc13_a_broken_cargo_build_keeps_the_live_generation_and_shows_the_error() {
    let example = Example::new("hc13");
    let mut run = example.run(&["cargo", "run"]);
    live_after_a_build(&mut run);

    example.break_it();
    run.expect_that("cargo's error", BUILD_PATIENCE, |event| {
        event.is("diagnostic") && event.text("rendered").contains("error")
    });
    let failed = run.expect("failed");
    let (reason, live) = (failed.text("reason"), failed.number("live"));
    assert_eq!((reason, live), ("build", 1), "{failed}");
    assert!(run.get("/").contains("version 1."));

    example.mend_it();
    example.set_version(3);
    live_after_a_build(&mut run);
    assert!(run.get("/").contains("version 3."));
    run.quit();
}

#[test]
fn without_a_command_hotrun_runs_the_package() {
    let project = Project::new();
    let work = project.work();
    fs::create_dir(work.join("src")).expect("a file of this test");
    let manifest = "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    project.save("Cargo.toml", manifest);
    project.save(
        "src/main.rs",
        "fn main() { println!(\"it was cargo\"); loop { std::thread::park() } }",
    );
    let target = project.beside("target");
    let mut run = Run::new(&project).env("CARGO_TARGET_DIR", target).spawn();
    run.expect_that("its output", BUILD_PATIENCE, |event| {
        event.mentions("it was cargo")
    });
    run.expect("live");
    run.quit();
}

#[test]
fn a_command_is_restarted_and_the_old_generation_is_live_until_then() {
    let project = Project::new();
    project.server("one");
    let mut run = project.run().listen().spawn();
    run.live();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    project.server("two");
    run.live();
    assert_eq!(run.get("/"), "generation 2 version two\n");
    run.quit();
    project.assert_untouched(&["start"]);
}

#[test]
fn a_build_command_runs_first() {
    let project = Project::new();
    let built = project.beside("built");
    let server = apps::std().server.display().to_string();
    project.save("source", "one");
    let line = format!("echo the build was run; cp source '{}'", built.display());
    let start = format!("exec '{server}' \"$(cat '{}')\"", built.display());
    let run = Run::new(&project).listen().args(["--build", &line]);
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.expect_that("the build's output", PATIENCE, |event| {
        event.mentions("the build was run")
    });
    run.live();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    project.save("source", "two");
    run.live();
    assert_eq!(run.get("/"), "generation 2 version two\n");
    run.quit();
}

#[test]
fn connections_wait_while_the_first_generation_starts() {
    let project = Project::new();
    project.faulty("late=500 one");
    let mut run = project.run().listen().spawn();
    assert_eq!(
        run.count("live"),
        0,
        "the port is open before anything is live"
    );
    assert_eq!(run.get("/"), "generation 1 version one\n");
    run.live();
    run.quit();
}

#[test]
fn after_a_crash_connections_wait_for_the_next_generation() {
    let project = Project::new();
    project.faulty("one");
    let mut run = project.run().listen().arg("--no-error-page").spawn();
    run.live();
    let _ = crate::harness::http::get(run.address(), "/crash");
    run.expect("failed");
    let address = run.address();
    let waiting = std::thread::spawn(move || crate::harness::http::get(address, "/"));
    project.server("two");
    run.live();
    let answer = waiting
        .join()
        .expect("no panic")
        .expect("it waited and was answered");
    assert!(answer.ends_with("version two\n"), "{answer}");
    run.quit();
}

#[test]
fn sigusr1_reloads_without_a_change() {
    let project = Project::new();
    project.server("one");
    let mut run = project.run().listen().spawn();
    assert_eq!(run.live(), 1);
    run.signal(Signal::SIGUSR1);
    assert_eq!(run.live(), 2);
    run.quit();
}

#[test]
fn the_log_of_a_run_can_be_replayed() {
    let project = Project::new();
    project.server("one");
    let log = project.beside("log");
    let mut run = project.run().listen().arg("--log").arg(&log).spawn();
    run.live();
    project.server("two");
    run.live();
    run.wait_until_gone(1);
    run.quit();
    let log = fs::read_to_string(log).expect("hotrun writes its log");
    assert_eq!(log.matches(" switched 2 -> ").count(), 1, "{log}");
    replay::replay(&log).unwrap_or_else(|error| panic!("{error}\n{log}"));
}

#[test]
fn a_superseded_start_finishes_the_requests_that_it_has_accepted() {
    let project = Project::new();
    project.server("one");
    // Never ready, but it accepts connections and would die of the stop signal.
    let mut run = project
        .run()
        .listen()
        .args(["--ready", "log:^never$"])
        .spawn();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    let mut client = TcpStream::connect(run.address()).expect("it listens");
    let request = "GET /slow?ms=1000 HTTP/1.1\r\nconnection: close\r\n\r\n";
    client
        .write_all(request.as_bytes())
        .expect("it is connected");
    project.server("two");
    run.expect("superseded");
    let answer = http::finish(client).expect("it is answered");
    assert_eq!(answer, "1000 ms later: generation 1 version one\n");
    run.wait_until_gone(1);
    run.quit();
}

#[test]
fn a_probe_reaches_only_the_new_generation() {
    let project = Project::new();
    project.server("one");
    let mut run = project.run().listen().args(["--ready", "http:/"]).spawn();
    run.live();
    // It does not respond for half a second. A probe that the old generation responded to would not notice.
    project.faulty("late=500 two");
    let live = run.expect("live");
    let starting = run
        .so_far()
        .iter()
        .rfind(|event| event.is("starting"))
        .cloned();
    let took = live.at - starting.expect("it was started").at;
    assert!(took >= Duration::from_millis(450), "ready after {took:?}");
    run.quit();
}

#[test]
fn a_program_gets_exactly_the_documented_environment_and_descriptors() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let mut run = Run::new(&project).listen().program(["./server"]).spawn();
    run.live();
    let pid = run.pid_of(1);
    let environ = fs::read(format!("/proc/{pid}/environ")).expect("a file of this test");
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let variables: Vec<_> = environ.split('\0').collect();
    assert!(variables.contains(&"HOTRUN=1"), "{variables:?}");
    assert!(variables.contains(&"HOTRUN_GENERATION=1"), "{variables:?}");
    assert!(variables.contains(&"LISTEN_FDS=1"), "{variables:?}");
    // hc31: its own pid.
    assert!(
        variables.contains(&format!("LISTEN_PID={pid}").as_str()),
        "{variables:?}"
    );
    run.quit();
}

#[test]
fn the_portable_path_reloads_with_one_shared_socket() {
    let project = Project::new();
    let pair = apps::axum();
    project.swap(&pair.v1);
    let run = Run::new(&project).env("HOTRUN_TEST_PORTABLE", "1");
    let mut run = run.listen().program(["./server"]).spawn();
    run.live();
    assert!(run.get("/").contains("version 1."));
    for n in 2..=5 {
        let next = if n % 2 == 0 { &pair.v2 } else { &pair.v1 };
        project.swap(next);
        assert_eq!(run.live(), n);
        // Until the old generation is gone both accept connections; only steering avoids that.
        run.wait_until_gone(n - 1);
        let version = 2 - n % 2;
        assert!(run.get("/").contains(&format!("version {version}.")));
    }
    run.quit();
}

#[test]
fn the_portable_path_holds_connections_while_no_generation_is_live() {
    let project = Project::new();
    project.faulty("late=300 one");
    let mut run = project
        .run()
        .env("HOTRUN_TEST_PORTABLE", "1")
        .listen()
        .spawn();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    run.live();
    run.quit();
}
