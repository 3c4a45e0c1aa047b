//! gRPC: one channel, calls on it all the time, and a server that shuts down gracefully.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::program::Program;
use super::{Served, Size, Who};
use crate::harness::say;

/// At least how long the calls go on.
const CALLS_FOR: Duration = Duration::from_secs(20);

#[test]
fn no_call_over_one_channel_fails() {
    let (what, size) = ("grpc", Size::of(0));
    let mut served = Served::start(Program::grpc(what), Who::Us);
    // The server is its own client.
    let mut client = Command::new(served.project.work().join("server"))
        .args(["call", &served.run.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built just now");
    let began = Instant::now();
    while served.reloads < size.reloads || super::full() && began.elapsed() < CALLS_FOR {
        served.reload();
    }
    let (count, took) = (served.reloads, began.elapsed());
    drop(client.stdin.take());
    let mut told = String::new();
    let mut pipe = client.stdout.take().expect("it is piped");
    pipe.read_to_string(&mut told).expect("it is text");
    assert!(client.wait().expect("it is ours").success());
    let lines: Vec<_> = told.lines().collect();
    assert!(lines.len() >= 3, "{told}");
    say(&format!(
        "{what}: {count} reloads in {took:.0?}; calls over one channel: {}",
        lines[..3].join(", ")
    ));
    assert_eq!(lines[1], "failed 0", "{told}");
    assert_ne!(lines[0], "answered 0");
    served.quit();
}
