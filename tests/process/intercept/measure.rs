//! Measures the cost of interception. Run this test with `--ignored --nocapture` in release mode.

use std::time::{Duration, Instant};

use hotrun::os::seccomp::{self, Reply, Syscall};
use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::support::*;

const ROUNDS: usize = 2000;
const SYSTEM_CALLS: u32 = 5_000_000;

/// The port that the program passes to `bind`. With 0, the kernel chooses one.
const PROGRAM_PORT: u16 = 0;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn sockets() -> Vec<Socket> {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    std::iter::repeat_with(socket).take(ROUNDS / 10).collect()
}

fn time<T>(call: impl FnOnce() -> std::io::Result<T>) -> Duration {
    let began = Instant::now();
    call().unwrap();
    began.elapsed()
}

#[test]
#[ignore = "helper: times system calls"]
fn helper_calls() {
    let (mut binds, mut listens) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        for socket in sockets() {
            binds.push(time(|| socket.bind(&loopback(PROGRAM_PORT).into())));
            listens.push(time(|| socket.listen(16)));
        }
    }
    println!("bind {:?}, listen {:?}", median(binds), median(listens));
    let began = Instant::now();
    for _ in 0..SYSTEM_CALLS {
        std::hint::black_box(nix::unistd::getppid());
    }
    println!("getppid {:?}", began.elapsed() / SYSTEM_CALLS);
}

fn helper_spec(mark: &Mark) -> Spec {
    let tests = std::env::current_exe().unwrap();
    let name = "intercept::measure::helper_calls";
    let tests = tests.to_str().unwrap();
    spec(mark, &[tests, "--exact", name, "--ignored", "--nocapture"])
}

fn show(what: &str, lines: &[String]) {
    for line in lines {
        if line.starts_with("bind ") || line.starts_with("getppid ") {
            println!("{what}: {line}");
        }
    }
}

async fn measure_intercepted(
    what: &str,
    answer: impl FnMut(&InterceptedCalls, &Call) -> Reply + Send + 'static,
) {
    let mark = Mark::new();
    let (mut running, calls) = start(helper_spec(&mark)).await;
    let replier = Replier::start(calls, answer);
    show(what, &running.rest().await);
    assert_eq!(replier.ended().await.len(), 2 * ROUNDS);
}

fn on_its_behalf(calls: &InterceptedCalls, call: &Call) -> Reply {
    let ours = socket_of(call).unwrap();
    if let Syscall::Bind { .. } = call.syscall {
        assert_eq!(address_of(call), bytes_of(loopback(PROGRAM_PORT)));
    }
    assert!(calls.is_pending(call));
    let ours = SockRef::from(&ours);
    match call.syscall {
        Syscall::Bind { .. } => ours.bind(&loopback(0).into()).unwrap(),
        Syscall::Listen { .. } => ours.listen(1024).unwrap(),
        Syscall::Connect { .. } | Syscall::Write(_) => panic!("unexpected: {call:?}"),
    }
    Reply::Success
}

#[tokio::test]
#[ignore = "a measurement"]
async fn the_cost_of_an_intercepted_call_is_measured() {
    let mark = Mark::new();
    let mut bare = Running::start(helper_spec(&mark));
    bare.started().await;
    show("bare", &bare.rest().await);
    measure_intercepted("`Continue` as the reply", |_, _| Reply::Continue).await;
    measure_intercepted("performed on the program's behalf", on_its_behalf).await;
    let times = (0..50).map(|_| time(|| seccomp::probe().map_err(std::io::Error::other)));
    println!("probe {:?}", median(times.collect()));
}
