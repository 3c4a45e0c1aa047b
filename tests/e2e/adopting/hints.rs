//! hotrun says what to change about a program or about its options, and the change helps.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, TIMEOUT, http};

/// The word that follows `before` in a hint.
#[track_caller]
fn suggested(message: &Event, before: &str) -> String {
    let hint = message.text("hint");
    let word = hint
        .split_once(before)
        .and_then(|(_, rest)| rest.split('`').next());
    word.unwrap_or_else(|| panic!("`{before}` is missing in: {message}"))
        .to_owned()
}

#[test]
#[ignore = "needs python3"]
fn a_listen_socket_that_the_program_does_not_use_is_reported_and_can_be_dropped_or_used() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python("serve(open_socket())");
    let unused = format!("127.0.0.1:{}", app.port + 1);
    let run = app
        .run()
        .args(["--ready-timeout", "2s", "--listen", &unused]);
    let mut run = run.spawn();
    let said = format!(
        "takes no connections from `--listen {unused}`, only from `{}`",
        app.address()
    );
    let message = run.expect_that("a message about the socket", TIMEOUT, |event| {
        event.mentions(&said)
    });
    assert!(
        message.mentions("drop `--listen`") && message.mentions("`LISTEN_FDS`"),
        "{message}"
    );
    assert_eq!(run.expect("failed").text("reason"), "ready_timeout");
    run.quit();
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    run.quit();
    app.save("serve_all(socket.socket(fileno=3), open_socket())");
    let mut run = app.run().args(["--listen", &unused]).spawn();
    wait_until_serving(&mut run);
    let passed = ([127, 0, 0, 1], app.port + 1);
    let answer = http::get(passed.into(), "/").expect("the program uses the socket");
    assert_eq!(answer, "generation 1");
    assert!(
        !run.so_far()
            .iter()
            .any(|event| event.mentions("takes no connections"))
    );
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn the_listen_address_that_is_suggested_after_a_conflict_works() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python("serve(open_socket('0.0.0.0'))");
    let listed = app.address().to_string();
    let mut run = app.run().args(["--listen", &listed]).spawn();
    let message = run.expect_that("a message about the conflict", TIMEOUT, |event| {
        event.mentions(&format!("conflicts with `--listen {listed}`"))
    });
    run.expect("failed");
    run.quit();
    let suggested = suggested(&message, "`--listen ");
    let mut run = app.run().args(["--listen", &suggested]).spawn();
    wait_until_serving(&mut run);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn the_suggested_readiness_rule_waits_for_a_socket_that_is_opened_late() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python("time.sleep(2)\nserve(open_socket())");
    let mut run = app.run().spawn();
    let message = run.expect_that("a hint about the socket", TIMEOUT, |event| {
        event.mentions("has not seen it open a socket")
    });
    run.quit();
    let rule = suggested(&message, "`--ready ");
    let mut run = app.run().args(["--ready", &rule]).spawn();
    assert_eq!(run.live(), 1);
    assert_eq!(run.get("/"), "generation 1");
    run.quit();
}

/// Takes its socket from hotrun.
const INHERITS: &str = "serve(socket.socket(fileno=3))";

#[test]
#[ignore = "needs python3"]
fn a_program_that_takes_its_socket_from_listen_can_be_reloaded_where_hotrun_cannot_adopt_sockets() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(INHERITS);
    let run = app.run().env("HOTRUN_TEST_REFUSE", "seccomp");
    let mut run = run.args(["--listen", &app.address().to_string()]).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=4 {
        app.save(&format!("{INHERITS}# {generation}"));
        assert_eq!(run.live(), generation);
        let is_gone = |event: &Event| event.is("gone") && event.generation() == generation - 1;
        assert!(
            !run.consumed().iter().any(is_gone),
            "the generations overlap"
        );
        asking.more(10);
        assert_eq!(run.get("/"), format!("generation {generation}"));
        run.wait_until_gone(generation - 1);
    }
    asking.assert_none_lost();
    run.quit();
}
