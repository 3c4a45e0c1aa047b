//! Programs of which only one instance can run at a time, and programs without sockets.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::TIMEOUT;
use crate::harness::request_loop::RequestLoop;

const LOCKED: &str = "
import fcntl
lock = open(os.path.join(os.environ['OUT'], 'lock'), 'w')
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit('another instance is running')
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn hc18_stop_first_is_suggested_once_for_a_program_that_cannot_run_twice() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(LOCKED);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    for generation in 2..=3 {
        app.save(&format!("{LOCKED}\n# {generation}"));
        let failed = run.expect("failed");
        let found = (
            failed.generation(),
            failed.text("reason"),
            failed.number("live"),
        );
        assert_eq!(found, (generation, "exited_early", 1));
        run.wait_until_gone(generation);
        assert_eq!(run.get("/"), "generation 1");
    }
    let hints = run
        .so_far()
        .iter()
        .filter(|event| event.mentions("--stop-first"));
    assert_eq!(hints.count(), 1);
    run.quit();
    std::fs::remove_file(app.project.tmp().join("lock")).expect("can remove the lock");
}

#[test]
#[ignore = "needs python3"]
fn hc18_connections_wait_while_stop_first_restarts_the_program() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(LOCKED);
    let mut run = app.run().arg("--stop-first").spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=5 {
        app.save(&format!("{LOCKED}\n# {generation}"));
        assert_eq!(run.live(), generation);
        asking.more(20);
        assert_eq!(run.get("/"), format!("generation {generation}"));
    }
    asking.assert_none_lost();
    run.assert_count("failed", 0);
    run.quit();
}

const WORKS: &str = "print('at work', flush=True)\ntime.sleep(1000)";

#[test]
#[ignore = "needs python3"]
fn a_program_without_sockets_is_stopped_before_the_next_generation_starts() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(WORKS);
    let mut run = app.run().spawn();
    assert_eq!(run.live(), 1);
    for generation in 2..=3 {
        app.save(&format!("{WORKS} # {generation}"));
        assert_eq!(run.expect("gone").generation(), generation - 1);
        assert_eq!(run.expect("spawned").generation(), generation);
        assert_eq!(run.live(), generation);
    }
    let warned = |event: &&crate::harness::Event| event.text("level") == "warning";
    assert_eq!(run.so_far().iter().filter(warned).count(), 0);
    run.quit();
}

/// hotrun does not suggest `--stop-first` if it knows another reason for the failure.
#[test]
#[ignore = "needs python3"]
fn stop_first_is_not_suggested_if_the_port_is_in_use() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python("serve(open_socket())");
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let other = std::net::TcpListener::bind(("127.0.0.1", app.port + 1)).expect("the port is free");
    app.save("serve_all(open_socket(), open_socket(port=port + 1))");
    // hotrun needs some time to find the holder, and the program may have exited in the meantime.
    let report = run.expect_that("a report that the port is in use", TIMEOUT, |event| {
        event.mentions("is in use by")
    });
    assert!(report.mentions(&std::process::id().to_string()), "{report}");
    run.wait_until_gone(2);
    run.assert_count("failed", 1);
    let hints = run
        .so_far()
        .iter()
        .filter(|event| event.mentions("--stop-first"));
    assert_eq!(hints.count(), 0);
    drop(other);
    run.quit();
}
