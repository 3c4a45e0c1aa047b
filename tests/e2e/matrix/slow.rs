//! Requests that take 2 s, some of them in flight during every switch. One program handles the stop signal, another is
//! killed by it, and the others have a runtime that catches it and exits immediately.

use std::time::{Duration, Instant};

use super::program::Program;
use super::{RunAs, ServedProgram, Size};
use crate::harness::say;
use crate::harness::slow::SlowClients;

const CLIENTS: u32 = 20;
const TAKES: Duration = Duration::from_secs(2);

fn assert_no_request_is_lost(program: Program) {
    if !program.can_run_or_skip() {
        return;
    }
    let (what, size) = (program.what(), Size::of(0));
    let mut served = ServedProgram::start(program, RunAs::CurrentUser);
    let began = Instant::now();
    let slow = SlowClients::start(served.run.address(), CLIENTS, TAKES);
    while served.reloads < size.reloads {
        served.reload();
    }
    let (count, took) = (served.reloads, began.elapsed());
    let (answered, failures) = slow.stop();
    say(&format!(
        "{what}: {count} reloads in {took:.0?}; {answered} requests that take {TAKES:?} got a complete response, {} failed",
        failures.len()
    ));
    assert!(failures.is_empty(), "{what}: {failures:?}");
    assert!(answered > 0, "{what}: no request was sent");
    served.quit();
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_server_that_handles_the_signal_loses_no_slow_request() {
    assert_no_request_is_lost(Program::slow_axum("slow_axum_that_handles_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_server_that_the_signal_kills_loses_no_slow_request() {
    assert_no_request_is_lost(Program::slow_python("slow_python_that_dies_of_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn node_without_a_handler_loses_no_slow_request() {
    assert_no_request_is_lost(Program::slow_node("slow_node_without_a_handler"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn go_without_a_handler_loses_no_slow_request() {
    assert_no_request_is_lost(Program::slow_go("slow_go_without_a_handler"));
}
