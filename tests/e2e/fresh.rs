//! New connections that wait for the new version from a save on (`--fresh`).

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::adopting::App;
use crate::harness::{Project, Run, Running, TIMEOUT, apps, http, poll, say};

/// How long after a save a new connection may still get the old version.
const NOTICED: Duration = Duration::from_millis(30);
/// How long after a failure the connections that wait may still wait.
const RELEASED: Duration = Duration::from_millis(50);

/// A request on a new connection.
struct Response {
    opened: Instant,
    ended: Instant,
    body: Result<String, String>,
}

fn request(to: SocketAddr) -> Response {
    let opened = Instant::now();
    let body = http::get(to, "/").map_err(|failure| failure.to_string());
    let ended = Instant::now();
    Response {
        opened,
        ended,
        body,
    }
}

/// Opens connections at regular intervals, each with a request, until the flag is set. Returns when each was opened.
fn open_until(stop: &AtomicBool, to: SocketAddr) -> Vec<(Instant, TcpStream)> {
    let mut opened = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        opened.push((Instant::now(), http::open(to, "/")));
        thread::sleep(Duration::from_millis(3));
    }
    opened
}

/// Saves version after version. Checks that no connection gets an older one if it is opened after hotrun has reported the
/// save or, unless the machine may be busy, a little after the save itself.
fn every_response_is_fresh(mut run: Running, saves: usize, busy: bool, save: impl Fn(usize)) {
    run.live();
    let to = run.address();
    let (mut checked, mut late, mut slowest) = (0, 0, Duration::ZERO);
    for version in 2..saves + 2 {
        save(version);
        let (saved, stop) = (Instant::now(), AtomicBool::new(false));
        let (opened, reported) = thread::scope(|scope| {
            let opened = scope.spawn(|| open_until(&stop, to));
            run.expect("changed");
            let reported = Instant::now();
            run.live();
            stop.store(true, Ordering::Relaxed);
            (
                opened.join().expect("the client has not panicked"),
                reported,
            )
        });
        for (opened, stream) in opened {
            let body = http::finish(stream).expect("every request gets a response");
            let is_old = !body.trim().ends_with(&format!("version {version}"));
            assert!(!is_old || opened < reported, "{body}");
            checked += usize::from(opened >= reported);
            late += usize::from(is_old && opened >= saved + NOTICED);
            slowest = slowest.max(if is_old {
                opened - saved
            } else {
                Duration::ZERO
            });
        }
    }
    say(&format!(
        "{saves} saves: {checked} connections checked, old versions until {slowest:?} after a save"
    ));
    assert!(checked >= saves, "{checked}");
    assert!(
        busy || late == 0,
        "{late} connections got an old version too late"
    );
    run.quit();
}

fn with_a_passed_socket(saves: usize, busy: bool) {
    let project = Project::new();
    project.server("1");
    let run = project.run().listen().arg("--fresh").spawn();
    every_response_is_fresh(run, saves, busy, |version| {
        project.server(&version.to_string());
    });
}

#[test]
fn no_new_connection_gets_an_old_version() {
    with_a_passed_socket(10, true);
}

#[test]
#[ignore = "takes a minute on a machine that is not busy"]
fn no_new_connection_gets_an_old_version_in_200_saves() {
    with_a_passed_socket(200, false);
}

/// The program opens its own socket, so the next generation has none until it listens.
#[test]
fn no_new_connection_gets_an_old_version_from_an_adopted_socket() {
    let text = |version: usize| format!("serve(open_socket(), 'version {version}')");
    let app = App::python(&text(1));
    let run = app.run().arg("--fresh").spawn();
    every_response_is_fresh(run, 5, true, |version| app.save(&text(version)));
}

/// A project whose build script is in `build`, and a run with this option. Its version 1 is live.
fn run_with_build(option: &str) -> (Project, Running) {
    let project = Project::new();
    project.save("build", "true");
    let server = apps::std().server.display().to_string();
    let run = Run::new(&project).listen().arg(option);
    let run = run.args(["--build", "exec sh build"]);
    let mut run = run.program([&*server, "1"]).spawn();
    run.live();
    (project, run)
}

/// Saves a build script that fails with this status after a while, and sends a request during the build.
fn fail(project: &Project, run: &mut Running, status: u32) -> (Response, Instant) {
    let to = run.address();
    project.save("build", &format!("sleep 0.3; exit {status}"));
    run.expect("building");
    let waiting = thread::spawn(move || request(to));
    run.expect("failed");
    let failed = Instant::now();
    (waiting.join().expect("the client has not panicked"), failed)
}

#[test]
fn a_failed_build_sends_those_who_waited_to_the_old_version_at_once() {
    let (project, mut run) = run_with_build("--fresh");
    // A busy machine may delay this test, too, so one of a few failures must be fast.
    let latest = (1..=3).map(|status| {
        let (response, failed) = fail(&project, &mut run, status);
        assert_eq!(response.body.as_deref(), Ok("generation 1 version 1\n"));
        let waited = response.ended - response.opened;
        assert!(
            waited > Duration::from_millis(150),
            "it waited for {waited:?}"
        );
        response.ended.saturating_duration_since(failed)
    });
    let fastest = latest.min().expect("there are failures");
    say(&format!("released {fastest:?} after the failure"));
    assert!(fastest < RELEASED, "{fastest:?} after the failure");
    assert_eq!(run.get("/"), "generation 1 version 1\n");

    // A new connection waits for the build that mends it.
    project.save("build", "sleep 0.2");
    run.expect("building");
    assert!(run.get("/").ends_with(" version 1\n"));
    run.quit();
}

#[test]
fn strict_answers_503_after_a_failed_build_until_the_next_one() {
    let (project, mut run) = run_with_build("--fresh=strict");
    let kept = http::open(run.address(), "/slow?ms=600");
    let (response, _) = fail(&project, &mut run, 1);
    let refused = response.body.expect_err("the build has failed");
    assert!(http::is_unavailable(&refused), "{refused}");
    let again = request(run.address()).body.expect_err("it stays so");
    assert!(http::is_unavailable(&again), "{again}");
    // A file that turns out to be unchanged changes nothing.
    project.save("build", "sleep 0.3; exit 1");
    thread::sleep(Duration::from_millis(100));
    let again = request(run.address()).body.expect_err("it stays so");
    assert!(http::is_unavailable(&again), "{again}");
    let finished = http::finish(kept).expect("an open connection is not disturbed");
    assert!(finished.ends_with(" version 1\n"), "{finished}");

    project.save("build", "sleep 0.2; true");
    run.expect("building");
    let body = request(run.address()).body;
    assert_eq!(body.as_deref(), Ok("generation 3 version 1\n"));
    run.quit();
}

#[test]
fn nobody_waits_longer_than_the_ready_timeout_nor_for_a_signal() {
    let project = Project::with(&["site.conf"]);
    project.save("build", "true");
    let server = apps::std().server.display().to_string();
    let run = Run::new(&project).listen().arg("--fresh");
    let run = run.args(["--ready-timeout", "3s", "--on", "*.conf=run:sleep 9"]);
    let run = run.args(["--build", "exec sh build"]);
    let mut run = run.program([&*server, "1"]).spawn();
    run.live();
    project.save("site.conf", "two");
    let fast = poll(TIMEOUT, || {
        let response = request(run.address());
        (response.ended - response.opened < Duration::from_millis(100)).then_some(())
    });
    assert!(fast.is_some(), "a command of a rule is nothing to wait for");

    project.save("build", "sleep 20");
    run.expect("building");
    let response = request(run.address());
    let waited = response.ended - response.opened;
    let range = Duration::from_secs(2)..Duration::from_secs(12);
    assert!(range.contains(&waited), "it waited for {waited:?}");
    assert_eq!(response.body.as_deref(), Ok("generation 1 version 1\n"));
    run.quit();
}
