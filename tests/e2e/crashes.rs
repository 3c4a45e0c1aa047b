//! Crashes of the live generation.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::request_loop::RequestLoop;
use crate::harness::{Project, Run, Running, apps, http};

/// How many of the load's requests may be in flight when the program crashes: one for each of the two clients.
const IN_FLIGHT: usize = 2;

/// Saves the program as a single executable file, which hotrun can keep as an artifact.
fn save(project: &Project, arguments: &str) {
    let faulty = apps::std().faulty.display();
    let new = project.beside("new");
    let text = format!("#!/bin/sh\nunset LISTEN_PID\nexec '{faulty}' {arguments}\n");
    fs::write(&new, text).expect("can write the file");
    fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("can change the permissions");
    fs::rename(new, project.work().join("server")).expect("can rename the file");
}

fn serve(project: &Project) -> Running {
    save(project, "one");
    let run = Run::new(project).listen().args(["--build", "true"]);
    let mut run = run.program(["./server"]).spawn();
    assert_eq!(run.live(), 1);
    run
}

fn load(run: &Running) -> RequestLoop {
    let load = RequestLoop::paced(run.address(), Duration::from_millis(5));
    load.more(5);
    load
}

fn crash(run: &Running) {
    let _ = http::get(run.address(), "/crash");
}

#[test]
fn hc15_a_crash_rolls_back_to_the_previous_artifact() {
    let project = Project::new();
    let mut run = serve(&project);
    let load = load(&run);
    save(&project, "two");
    assert_eq!(run.live(), 2);
    run.wait_until_gone(1);
    crash(&run);
    let failed = run.expect("failed");
    assert_eq!(failed.text("reason"), "crashed", "{failed}");
    let starting = run.expect("starting");
    assert_eq!(starting.text("cause"), "roll_back", "{starting}");
    assert_eq!(run.live(), 3);
    run.wait_for_version("one");
    run.assert_count("building", 2);
    save(&project, "three");
    assert_eq!(run.live(), 4);
    run.wait_for_version("three");
    load.more(5);
    load.assert_lost_at_most(IN_FLIGHT);
    run.quit();
    project.assert_untouched(&["server"]);
}

#[test]
fn hc15_a_crash_rolls_back_to_a_generation_that_is_still_draining() {
    let project = Project::new();
    let mut run = serve(&project);
    let open = TcpStream::connect(run.address()).expect("can connect");
    let load = load(&run);
    save(&project, "two");
    assert_eq!(run.live(), 2);
    crash(&run);
    let failed = run.expect("failed");
    assert_eq!(failed.number("live"), 1, "{failed}");
    assert_eq!(run.expect("restored").generation(), 1);
    run.wait_for_version("one");
    load.more(20);
    run.assert_count("starting", 2);
    save(&project, "three");
    assert_eq!(run.live(), 3);
    run.wait_for_version("three");
    drop(open);
    run.wait_until_gone(1);
    load.assert_lost_at_most(IN_FLIGHT);
    run.quit();
    project.assert_untouched(&["server"]);
}

#[test]
fn hc15_a_crash_loop_stops_and_the_next_change_starts_the_program_again() {
    let project = Project::new();
    save(&project, "brief=300 one");
    let run = Run::new(&project).listen().args(["--build", "true"]);
    let mut run = run.program(["./server"]).spawn();
    for generation in 1..=3 {
        assert_eq!(run.live(), generation);
        run.get("/");
        run.expect("failed");
    }
    run.expect("waiting");
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("starting", 3);
    run.assert_count("restart_scheduled", 2);
    save(&project, "two");
    assert_eq!(run.live(), 4);
    run.wait_for_version("two");
    run.quit();
}
