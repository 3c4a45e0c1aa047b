//! Several instances of the program (`--instances`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::adopting::{App, installed_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{PYTHON, Running, TIMEOUT, http, say, until};

/// Responds with its version, its instance and its pid. Fails to start as instance 1 of version `bad`.
const SERVER: &str = "
instance = os.environ['HOTRUN_INSTANCE']
version = 'VERSION'
if version == 'bad' and instance == '1': sys.exit(3)
serve(open_socket(), f'{version} {instance} {os.getpid()}')
";

fn version(name: &str) -> String {
    SERVER.replace("VERSION", name)
}

/// Asks this often, and returns how often each response came.
fn ask(address: SocketAddr, count: usize) -> BTreeMap<String, u32> {
    let mut responses = BTreeMap::new();
    for _ in 0..count {
        let response = http::get(address, "/").expect("an instance responds");
        *responses.entry(response).or_default() += 1;
    }
    responses
}

/// Waits until all instances respond with this version, and returns their pids.
fn wait_for(address: SocketAddr, version: &str, count: usize) -> BTreeMap<String, Pid> {
    until("all instances serve this version", TIMEOUT, || {
        let responses = ask(address, 20 * count);
        let words = responses.keys().map(|response| response.split(' '));
        let words =
            words.map(|mut words| [words.next(), words.next(), words.next()].map(Option::unwrap));
        let served: Vec<_> = words.collect();
        let all = served.len() == count && served.iter().all(|[this, ..]| *this == version);
        all.then(|| {
            let pids = served.iter().map(|[_, instance, pid]| {
                let pid = pid.parse().expect("a pid is a number");
                ((*instance).to_owned(), Pid::from_raw(pid))
            });
            pids.collect()
        })
    })
}

fn start(app: &App, count: usize) -> Running {
    let count = count.to_string();
    let mut run = app
        .run()
        .args(["--instances", &count, "--ready", "listen"])
        .spawn();
    run.live();
    run
}

#[test]
#[ignore = "needs python3"]
fn a_reload_replaces_one_instance_after_the_other_and_loses_nothing() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(&version("one"));
    let run = start(&app, 3);
    wait_for(app.address(), "one", 3);
    assert_spread(app.address());
    let asking = RequestLoop::start(app.address());
    for name in ["two", "three"] {
        app.save(&version(name));
        wait_for(app.address(), name, 3);
        asking.more(20);
    }
    asking.assert_none_lost();
    run.quit();
}

/// Checks that the instances got equal parts. With 3 instances, chi-squared is above 25 once in 270,000 runs.
pub(crate) fn assert_even(counts: &[u32]) {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    let deviation = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
    let chi_squared: f64 = counts.iter().map(deviation).sum();
    say(&format!("{counts:?}: chi-squared {chi_squared:.1}"));
    assert!(chi_squared < 25.0, "{counts:?}");
}

/// Sends 3000 requests, and checks that each of three instances gets an equal part.
fn assert_spread(address: SocketAddr) {
    let counts: Vec<u32> = ask(address, 3000).into_values().collect();
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert_even(&counts);
}

#[test]
#[ignore = "needs python3"]
fn an_instance_that_is_killed_is_started_again_while_the_others_serve() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(&version("one"));
    let mut run = start(&app, 3);
    let pids = wait_for(app.address(), "one", 3);
    let asking = RequestLoop::start(app.address());
    asking.more(20);
    kill(pids["1"], Signal::SIGKILL).expect("it is running");
    let failed = run.expect("failed");
    assert_eq!(failed.text("reason"), "crashed");
    run.live();
    let after = wait_for(app.address(), "one", 3);
    assert_ne!(after["1"], pids["1"]);
    assert_eq!((after["0"], after["2"]), (pids["0"], pids["2"]));
    asking.more(20);
    // It may have had both clients' requests in hand.
    asking.assert_lost_at_most(2);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn instances_go_back_if_one_cannot_be_started() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(&version("one"));
    // Each build is a copy, so hotrun can go back to the one before.
    let build = "(echo '#!/usr/bin/env python3'; cat app.py) > ../new && chmod 755 ../new && mv ../new ../built";
    let run = app.run_as(["../built"]).args(["--build", build]);
    let mut run = run.args(["--instances", "3", "--ready", "listen"]).spawn();
    run.live();
    wait_for(app.address(), "one", 3);
    let asking = RequestLoop::start(app.address());
    app.save(&version("bad"));
    run.expect_that("the second instance fails", TIMEOUT, |event| {
        event.is("failed")
    });
    wait_for(app.address(), "one", 3);
    asking.more(20);
    asking.assert_none_lost();
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn instances_share_a_socket_that_hotrun_opens_and_stay_if_a_build_fails() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let inherits = SERVER.replace("open_socket()", "socket.socket(fileno=3)");
    let app = App::python(&inherits.replace("VERSION", "one"));
    let listen = app.address().to_string();
    let run = app.run().args(["--instances", "3", "--listen", &listen]);
    let mut run = run.args(["--build", "! grep broken app.py"]).spawn();
    run.live();
    let pids = wait_for(app.address(), "one", 3);
    assert_spread(app.address());
    let asking = RequestLoop::start(app.address());
    app.save("broken");
    let failed = run.expect("failed");
    assert_eq!(failed.text("reason"), "build");
    asking.more(20);
    assert_eq!(wait_for(app.address(), "one", 3), pids);
    app.save(&inherits.replace("VERSION", "two"));
    wait_for(app.address(), "two", 3);
    asking.more(20);
    asking.assert_none_lost();
    run.quit();
}
