//! If the system does not let hotrun adopt sockets, the program still runs, and hotrun reports why.

use super::{App, PYTHON, installed_or_skip};
use crate::harness::TIMEOUT;

const SERVER: &str = "s = open_socket()\nprint('bound', flush=True)\nserve(s)";
const REASON: &str = "the old program will be stopped before the new one starts";

/// Checks that hotrun reports this refusal once and stops the program before it starts the next generation.
fn assert_stopped_first(refusal: &str, words: &str) {
    let app = App::python(SERVER);
    let mut run = app.run().env("HOTRUN_TEST_REFUSE", refusal).spawn();
    let report = run.expect_that(REASON, TIMEOUT, |event| {
        event.text("text").starts_with(REASON)
    });
    assert!(report.text("text").contains(words), "{report}");
    assert!(report.text("hint").contains("--listen"), "{report}");
    assert_eq!(run.live(), 1);
    run.wait_for_line(1, "bound");
    assert_eq!(run.get("/"), "generation 1");
    app.save(&format!("{SERVER}\n# again"));
    run.expect("gone");
    assert!(
        run.expect("spawned").generation() == 2,
        "generation 1 is gone before generation 2 starts"
    );
    assert_eq!(run.live(), 2);
    run.wait_for_line(2, "bound");
    assert_eq!(run.get("/"), "generation 2");
    let times = run.so_far().iter().filter(|event| event.mentions(REASON));
    assert_eq!(times.count(), 1);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn every_refusal_is_reported_once_and_leads_to_stop_first() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    assert_stopped_first("kernel", "is older than");
    assert_stopped_first("seccomp", "a seccomp filter is refused");
    assert_stopped_first("busy", "already intercepts system calls");
    assert_stopped_first("pidfd", "`pidfd_getfd`");
}

/// The nested hotrun gets a real `EBUSY`, because a process and its ancestors can have only one seccomp listener.
#[test]
#[ignore = "needs python3"]
fn a_nested_hotrun_reports_why_it_cannot_adopt_sockets_and_the_outer_one_adopts_them() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SERVER);
    let inner = env!("CARGO_BIN_EXE_hotrun");
    let run = app.run_as([inner, "--ui", "plain", "--", PYTHON, "app.py"]);
    let mut run = run.spawn();
    run.expect_that(REASON, TIMEOUT, |event| {
        event.is("output") && event.mentions(REASON) && event.mentions("another hotrun")
    });
    run.wait_for_line(1, "bound");
    assert_eq!(run.get("/"), "generation 1");
    run.expect("listening");
    let times = run.so_far().iter().filter(|event| event.mentions(REASON));
    assert_eq!(times.count(), 1);
    run.quit();
}
