//! Requests of 2 s, some in flight across every switch: of a program that handles the stop signal, and of such that do
//! not, one kind each: it is killed by the signal, or its runtime catches it and ends at once.

use std::time::{Duration, Instant};

use super::program::Program;
use super::{Served, Size, Who};
use crate::harness::say;
use crate::harness::slow::Slow;

const CLIENTS: u32 = 20;
const TAKES: Duration = Duration::from_secs(2);

fn all_are_answered(program: Program) {
    if !program.can_run() {
        return;
    }
    let (what, size) = (program.what(), Size::of(0));
    let mut served = Served::start(program, Who::Us);
    let began = Instant::now();
    let slow = Slow::start(served.run.address(), CLIENTS, TAKES);
    while served.reloads < size.reloads {
        served.reload();
    }
    let (count, took) = (served.reloads, began.elapsed());
    let (answered, failures) = slow.stop();
    say(&format!(
        "{what}: {count} reloads in {took:.0?}; {answered} requests of {TAKES:?} answered in full, {} failed",
        failures.len()
    ));
    assert!(failures.is_empty(), "{what}: {failures:?}");
    assert!(answered > 0, "{what}: nothing was asked");
    served.quit();
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn slow_requests_to_one_that_handles_the_signal() {
    all_are_answered(Program::slow_axum("slow_axum_that_handles_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn slow_requests_to_one_that_dies_of_the_signal() {
    all_are_answered(Program::slow_python("slow_python_that_dies_of_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn slow_requests_to_node_that_handles_nothing() {
    all_are_answered(Program::slow_node("slow_node_without_a_handler"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn slow_requests_to_go_that_handles_nothing() {
    all_are_answered(Program::slow_go("slow_go_without_a_handler"));
}
