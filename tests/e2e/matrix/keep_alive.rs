//! Connections that are used again. That none of them breaks is not promised: these are the figures that README states.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::program::Program;
use super::{Served, Who, can_load, full};
use crate::harness::hey::{Connections, Load, Pressure};
use crate::harness::{say, skip};

/// Each has one connection at a time.
const CLIENTS: usize = 16;
const RATE: usize = 40;

/// `hey` asks again on another connection where the one that it used before turns out to be closed, as HTTP says; `wrk`
/// counts that as an error.
fn figures(program: Program) {
    if !can_load() || !program.can_run() {
        return;
    }
    let what = program.what();
    // A connection that is never quiet is cut when that is over.
    let mut served = Served::start_with(program, Who::Us, &["--stop-timeout", "2s"]);
    with_hey(&what, &mut served);
    match Wrk::start(served.run.address()) {
        Some(wrk) => with_wrk(&what, &mut served, wrk),
        None => skip("`wrk` is not installed (`apt install wrk`)"),
    }
    served.run.quit();
}

fn reloads() -> usize {
    if full() { 10 } else { 2 }
}

fn with_hey(what: &str, served: &mut Served) {
    let pressure = Pressure {
        clients: CLIENTS,
        rate: RATE,
    };
    let (address, reloads) = (served.run.address(), reloads());
    let load = Load::on(Connections::Kept, address, pressure, CLIENTS * RATE * 3);
    while served.reloads < reloads {
        served.reload();
    }
    let figures = load.stop();
    let (asked, failed) = (figures.asked, figures.asked - figures.answered);
    say(&format!(
        "{what}, {reloads} reloads, {CLIENTS} clients that retry: {asked} requests, {failed} failed"
    ));
    assert!(failed <= CLIENTS * reloads, "{what}: more than all of them");
}

fn with_wrk(what: &str, served: &mut Served, mut wrk: Wrk) {
    let before = served.reloads;
    while !wrk.has_ended() {
        served.reload();
    }
    let (reloads, told) = (served.reloads - before, wrk.told());
    let count = |name: &str| number_after(&told, name).unwrap_or(0);
    let broken = count("read") + count("write");
    let requests = told.lines().find(|line| line.contains("requests in"));
    let requests = requests.unwrap_or_else(|| panic!("{told}")).trim();
    say(&format!(
        "{what}, {reloads} reloads, {CLIENTS} clients that do not retry: {requests}; {broken} broken"
    ));
    assert_eq!(
        count("connect"),
        0,
        "a new connection is never refused: {told}"
    );
    assert_eq!(count("timeout"), 0, "{told}");
    assert!(broken <= CLIENTS * reloads, "more than all of them: {told}");
}

/// From `Socket errors: connect 0, read 3, write 0, timeout 0`, a line that is there if there were any.
fn number_after(told: &str, name: &str) -> Option<usize> {
    let line = told.lines().find(|line| line.contains("Socket errors"))?;
    let (_, rest) = line.split_once(&format!("{name} "))?;
    rest.split(',').next()?.trim().parse().ok()
}

/// `wrk`, which asks as fast as it is answered.
struct Wrk(Child);

impl Wrk {
    fn start(to: SocketAddr) -> Option<Self> {
        let duration = if full() { "15s" } else { "2s" };
        let child = Command::new("wrk")
            .args(["-t", "1", "-c", &CLIENTS.to_string(), "-d", duration])
            .arg(format!("http://{to}/"))
            .stdout(Stdio::piped())
            .spawn();
        child.ok().map(Self)
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }

    fn told(self) -> String {
        let output = self.0.wait_with_output().expect("it is ours");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn keep_alive_to_a_server_that_shuts_down_gracefully() {
    figures(Program::slow_axum(
        "keep_alive_to_axum_that_handles_the_signal",
    ));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn keep_alive_to_a_server_that_dies_of_the_signal() {
    figures(Program::axum("keep_alive_to_axum_that_dies_of_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn keep_alive_to_go() {
    figures(Program::go_static("keep_alive_to_go"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn keep_alive_to_node() {
    figures(Program::node("keep_alive_to_node"));
}
