//! Reloads from save to switch, in every mode.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use hotrun::reload;
use nix::sys::signal::Signal;

#[path = "../../src/reload/tests/replay.rs"]
mod replay;

use crate::harness::{BUILD_TIMEOUT, Event, Project, Run, Running, TIMEOUT, apps, http};

/// A copy of the axum example in the watched directory, which the test edits.
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

    fn break_source(&self) {
        let text = fs::read_to_string(self.main()).expect("can read `main.rs`");
        fs::write(self.main(), text.replace("fn router(", "fn router(("))
            .expect("can write the file");
    }

    fn fix_source(&self) {
        let text = fs::read_to_string(self.main()).expect("can read `main.rs`");
        fs::write(self.main(), text.replace("fn router((", "fn router("))
            .expect("can write the file");
    }
}

fn live_after_a_build(run: &mut Running) -> Event {
    run.expect_that("a generation to go live", BUILD_TIMEOUT, |event| {
        event.is("live")
    })
}

#[test]
fn cargo_run_rebuilds_and_switches_after_a_save() {
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

    example.break_source();
    run.expect_that("cargo's error", BUILD_TIMEOUT, |event| {
        event.is("diagnostic") && event.text("rendered").contains("error")
    });
    let failed = run.expect("failed");
    let (reason, live) = (failed.text("reason"), failed.number("live"));
    assert_eq!((reason, live), ("build", 1), "{failed}");
    assert!(run.get("/").contains("version 1."));

    example.fix_source();
    example.set_version(3);
    live_after_a_build(&mut run);
    assert!(run.get("/").contains("version 3."));
    run.quit();
}

#[test]
fn without_a_command_hotrun_runs_the_package() {
    let project = Project::new();
    let work = project.work();
    fs::create_dir(work.join("src")).expect("can create the directory");
    let manifest = "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    project.save("Cargo.toml", manifest);
    project.save(
        "src/main.rs",
        "fn main() { println!(\"it was cargo\"); loop { std::thread::park() } }",
    );
    let target = project.beside("target");
    let mut run = Run::new(&project).env("CARGO_TARGET_DIR", target).spawn();
    run.expect_that("the program's output", BUILD_TIMEOUT, |event| {
        event.mentions("it was cargo")
    });
    run.expect("live");
    run.quit();
}

#[test]
fn a_save_starts_the_command_again_and_switches_to_the_new_generation() {
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
fn the_build_command_runs_before_the_program() {
    let project = Project::new();
    let built = project.beside("built");
    let server = apps::std().server.display().to_string();
    project.save("source", "one");
    let line = format!("echo the build was run; cp source '{}'", built.display());
    let start = format!("exec '{server}' \"$(cat '{}')\"", built.display());
    let run = Run::new(&project).listen().args(["--build", &line]);
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.expect_that("the build's output", TIMEOUT, |event| {
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
        "the port is open before a generation is live"
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
        .expect("the client has not panicked")
        .expect("a response after the wait");
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
    let log = fs::read_to_string(log).expect("hotrun has written its log");
    assert_eq!(log.matches(" switched 2 -> ").count(), 1, "{log}");
    replay::replay(&log).unwrap_or_else(|error| panic!("{error}\n{log}"));
}

#[test]
fn the_log_of_several_instances_can_be_replayed() {
    let project = Project::new();
    project.server("one");
    let log = project.beside("log");
    let run = project.run().listen().args(["--instances", "2"]);
    let mut run = run.arg("--log").arg(&log).spawn();
    assert_eq!((run.live(), run.live()), (1, 2));
    project.server("two");
    assert_eq!((run.live(), run.live()), (3, 4));
    run.wait_until_gone(2);
    run.quit();
    let log = fs::read_to_string(log).expect("hotrun has written its log");
    assert!(log.contains("starting 4 follow"), "{log}");
    replay::replay(&log).unwrap_or_else(|error| panic!("{error}\n{log}"));
}

#[test]
fn a_superseded_generation_finishes_the_requests_that_it_has_accepted() {
    let project = Project::new();
    project.server("one");
    // The program never becomes ready, but it accepts connections. It does not handle the stop signal.
    let mut run = project
        .run()
        .listen()
        .args(["--ready", "log:^never$"])
        .spawn();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    let mut client = TcpStream::connect(run.address()).expect("can connect");
    let request = "GET /slow?ms=1000 HTTP/1.1\r\nconnection: close\r\n\r\n";
    client
        .write_all(request.as_bytes())
        .expect("can send the request");
    project.server("two");
    run.expect("superseded");
    let answer = http::finish(client).expect("a complete response");
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
    // The new generation does not respond for half a second. A probe that reached the old one would succeed at once.
    project.faulty("late=500 two");
    let live = run.expect("live");
    let starting = run
        .so_far()
        .iter()
        .rfind(|event| event.is("starting"))
        .cloned();
    let took = live.at - starting.expect("generation 2 has been started").at;
    assert!(took >= Duration::from_millis(450), "ready after {took:?}");
    run.quit();
}

#[test]
fn a_program_gets_the_documented_environment_variables() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let mut run = Run::new(&project).listen().program(["./server"]).spawn();
    run.live();
    let pid = run.pid_of(1);
    let environ = fs::read(format!("/proc/{pid}/environ")).expect("can read the file");
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let variables: Vec<_> = environ.split('\0').collect();
    assert!(variables.contains(&"HOTRUN=1"), "{variables:?}");
    assert!(variables.contains(&"HOTRUN_GENERATION=1"), "{variables:?}");
    assert!(variables.contains(&"LISTEN_FDS=1"), "{variables:?}");
    // hc31: `LISTEN_PID` is the program's own pid.
    assert!(
        variables.contains(&format!("LISTEN_PID={pid}").as_str()),
        "{variables:?}"
    );
    run.quit();
}

#[test]
fn reloads_on_the_portable_path_work_with_one_shared_socket() {
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
        // Without steering, both generations accept connections until the old one is gone.
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
