//! gRPC: one channel, calls on it all the time, and a server (tonic's) that shuts down gracefully: it says so by a
//! `GOAWAY`, and a call that crosses it on its way was not begun. gRPC's own library makes such a call again by itself,
//! tonic's channel lets it fail. The last test shows that this is so without hotrun and without any reload.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::kitchen::{self, PYTHON, there_is};
use super::program::Program;
use super::{Served, Size, Who, full};
use crate::harness::{PATIENCE, Project, say, until};

/// At least how long the calls go on.
fn calls_last() -> Duration {
    Duration::from_secs(if full() { 20 } else { 2 })
}

/// What tonic's channel says of a call that the server has not begun. hyper calls "canceled" what it dropped before
/// it was processed, be it on the way to the connection ("connection was not ready") or in its queue ("connection
/// closed"): no byte of it was sent. See `hyper::Error::is_canceled` and `hyper::client::conn::http2`.
const NOT_BEGUN: [&str; 2] = ["hyper::Error(Canceled, ", "GoAway(b\"\", NO_ERROR, Remote)"];

/// A client, which calls until it is told to stop.
struct Calls(Child);

/// What it counted.
struct Counted {
    answered: usize,
    latency: String,
    failures: Vec<String>,
}

impl Calls {
    fn start(client: &mut Command, to: SocketAddr) -> Self {
        let child = client
            .arg(to.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("it was found before"))
    }

    /// It is told by the end of its input.
    fn stop(self) -> Counted {
        let output = self.0.wait_with_output().expect("it is ours");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = told.lines().map(str::to_owned);
        let answered = lines
            .next()
            .and_then(|line| line.rsplit(' ').next()?.parse().ok());
        let (_failed, latency) = (lines.next(), lines.next());
        Counted {
            answered: answered.unwrap_or_else(|| panic!("{told}")),
            latency: latency.unwrap_or_else(|| panic!("{told}")),
            failures: lines.filter(|line| !line.is_empty()).collect(),
        }
    }
}

fn tonic(executable: &Path) -> Command {
    let mut client = Command::new(executable);
    client.arg("call");
    client
}

/// Reloads under the calls of this client.
fn reload(program: Program, client: impl FnOnce(&Project) -> Command) -> Counted {
    let (what, size) = (program.what(), Size::of(0));
    let mut served = Served::start(program, Who::Us);
    let calls = Calls::start(&mut client(&served.project), served.run.address());
    let began = Instant::now();
    while served.reloads < size.reloads || began.elapsed() < calls_last() {
        served.reload();
    }
    let (reloads, counted) = (served.reloads, calls.stop());
    tell(&format!("{what}: {reloads} reloads"), &counted);
    served.quit();
    counted
}

fn tell(what: &str, counted: &Counted) {
    let (answered, failed) = (counted.answered, counted.failures.len());
    let latency = &counted.latency;
    say(&format!(
        "{what}; {answered} calls over one channel answered, {failed} failed; {latency}"
    ));
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn no_call_over_one_channel_fails() {
    let packages = there_is(PYTHON, "--version", "python3")
        .then(kitchen::pip)
        .flatten();
    let Some(packages) = packages else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/matrix/calls.py");
    let counted = reload(Program::grpc("grpc_with_a_client_of_grpc_itself"), |_| {
        let mut client = Command::new(PYTHON);
        client.arg(script).env("PYTHONPATH", packages);
        client
    });
    assert!(counted.failures.is_empty(), "{:?}", counted.failures);
    assert!(counted.answered > 0);
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn no_call_of_tonics_channel_that_has_begun_fails() {
    let counted = reload(Program::grpc("grpc_with_a_client_of_tonic"), |project| {
        tonic(&project.work().join("server"))
    });
    let begun = |failure: &&String| !NOT_BEGUN.iter().any(|not| failure.contains(not));
    let begun: Vec<_> = counted.failures.iter().filter(begun).collect();
    assert!(begun.is_empty(), "{begun:?}");
    assert!(counted.answered > 0);
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn control_tonics_channel_fails_without_hotrun() {
    let mut program = Program::grpc("grpc_control");
    let project = Project::new();
    program.set_up(&project);
    let executable = project.work().join("server");
    let mut server = Command::new(&executable);
    let server = server
        .args(["recycle", &program.address().to_string()])
        .spawn();
    let mut server = server.expect("it was built just now");
    until("it listens", PATIENCE, || {
        std::net::TcpStream::connect(program.address()).ok()
    });
    let calls = Calls::start(&mut tonic(&executable), program.address());
    thread::sleep(calls_last());
    let counted = calls.stop();
    server.kill().expect("it is ours");
    server.wait().expect("it is ours");
    tell(
        "grpc control: no hotrun, no reload, a `GOAWAY` each half second",
        &counted,
    );
    assert!(counted.answered > 0);
    // In a short time it may be lucky.
    let lucky = counted.failures.is_empty();
    assert!(
        !full() || !lucky,
        "the test of tonic's channel can ask for more now"
    );
}
