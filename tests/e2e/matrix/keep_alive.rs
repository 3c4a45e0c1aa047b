//! Keep-alive connections, none of which a reload breaks. These tests also measure the figures given in the guide.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::program::Program;
use super::{RunAs, ServedProgram, full};
use crate::harness::hey::{self, Connections, Load, Pressure};
use crate::harness::{say, skip};

/// The number of clients, with one connection each.
const CLIENTS: usize = 16;
const RATE: usize = 40;

/// Measures with `hey`, then with `wrk`, and allows no failure. If a reused connection turns out to be closed, `hey` retries
/// the request on another one, as HTTP allows; `wrk` counts an error.
fn measure(program: Program) {
    if !hey::installed_or_skip() || !program.can_run_or_skip() {
        return;
    }
    let what = program.what();
    let mut served = ServedProgram::start(program, RunAs::CurrentUser);
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

fn with_hey(what: &str, served: &mut ServedProgram) {
    let pressure = Pressure {
        clients: CLIENTS,
        rate: RATE,
    };
    let (address, reloads) = (served.run.address(), reloads());
    let load = Load::start_with(
        Connections::KeepAlive,
        address,
        pressure,
        CLIENTS * RATE * 3,
    );
    while served.reloads < reloads {
        served.reload();
    }
    let figures = load.stop();
    let (sent, failed) = (figures.sent, figures.sent - figures.succeeded);
    say(&format!(
        "{what}, {reloads} reloads, {CLIENTS} clients that retry: {sent} requests, {failed} failed"
    ));
    assert_eq!(failed, 0, "{what}");
}

fn with_wrk(what: &str, served: &mut ServedProgram, mut wrk: Wrk) {
    let before = served.reloads;
    while !wrk.has_ended() {
        served.reload();
    }
    let (reloads, printed) = (served.reloads - before, wrk.output());
    let count = |name: &str| number_after(&printed, name).unwrap_or(0);
    let broken = count("read") + count("write");
    let requests = printed.lines().find(|line| line.contains("requests in"));
    let requests = requests.unwrap_or_else(|| panic!("{printed}")).trim();
    say(&format!(
        "{what}, {reloads} reloads, {CLIENTS} clients that do not retry: {requests}; {broken} failed"
    ));
    assert_eq!(
        count("connect"),
        0,
        "a new connection was refused: {printed}"
    );
    assert_eq!(count("timeout"), 0, "{printed}");
    assert_eq!(broken, 0, "{what}: {printed}");
}

/// Reads a number from `Socket errors: connect 0, read 3, write 0, timeout 0`. `wrk` prints this line only after
/// errors.
fn number_after(printed: &str, name: &str) -> Option<usize> {
    let line = printed
        .lines()
        .find(|line| line.contains("Socket errors"))?;
    let (_, rest) = line.split_once(&format!("{name} "))?;
    rest.split(',').next()?.trim().parse().ok()
}

/// `wrk`, which sends each request as soon as it has the response to the previous one.
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
        self.0.try_wait().expect("can wait for `wrk`").is_some()
    }

    fn output(self) -> String {
        let output = self.0.wait_with_output().expect("can wait for `wrk`");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_reload_of_a_server_that_shuts_connections_down_breaks_no_request() {
    measure(Program::slow_axum(
        "keep_alive_to_axum_that_handles_the_signal",
    ));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_reload_of_an_actix_server_breaks_no_request() {
    measure(Program::actix("keep_alive_to_actix"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_reload_of_a_server_that_the_signal_kills_breaks_no_request() {
    measure(Program::axum("keep_alive_to_axum_that_dies_of_the_signal"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_reload_of_a_go_server_breaks_no_request() {
    measure(Program::go_static("keep_alive_to_go"));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn a_reload_of_a_node_server_breaks_no_request() {
    measure(Program::node("keep_alive_to_node"));
}
