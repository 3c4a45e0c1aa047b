//! `--share`: a new generation gets a share of the new connections before it goes live.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::adopting::{App, installed_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::sockets::free_address;
use crate::harness::{PYTHON, Running, TIMEOUT, http, until};

const SERVER: &str = "serve(open_socket(), lambda path: f'generation {generation}')";

/// Starts a server with these options, and saves another version of it.
fn start(options: &[&str]) -> Option<(App, Running)> {
    if !installed_or_skip(PYTHON) {
        return None;
    }
    let app = App::python(SERVER);
    let run = app.run().args(["--ready", "listen"]);
    let mut run = run.args(options).spawn();
    run.live();
    save(&app, 2);
    Some((app, run))
}

fn save(app: &App, version: u64) {
    app.save(&format!("{SERVER} # {version}"));
}

fn shares(run: &mut Running, generation: u64, percent: u64) {
    let what = format!("gen {generation} has {percent} %");
    run.wait_for_event(&what, |event| {
        event.is("sharing")
            && event.generation() == generation
            && event.number("percent") == percent
    });
}

fn generation_at(address: SocketAddr) -> String {
    http::get(address, "/").expect("a generation responds")
}

/// Returns how many of these connections, from two clients, reach the second generation.
fn to_the_second(address: SocketAddr, connections: usize) -> usize {
    let client = move || {
        let answers = (0..connections / 2).map(|_| generation_at(address));
        answers.filter(|answer| answer == "generation 2").count()
    };
    let clients = [(); 2].map(|()| thread::spawn(client));
    let counts = clients.map(|client| client.join().expect("the client has not panicked"));
    counts.iter().sum()
}

#[track_caller]
fn is_within_three_standard_deviations(percent: u64) {
    let Some((app, mut run)) = start(&["--share", &format!("{percent}%")]) else {
        return;
    };
    shares(&mut run, 2, percent);
    let (all, part) = (10_000_f64, percent as f64 / 100.0);
    let deviation = (all * part * (1.0 - part)).sqrt();
    // One measurement in 370 is further away by chance.
    let measured: Vec<f64> = (0..2)
        .map(|_| to_the_second(app.address(), 10_000) as f64)
        .collect();
    let mut off = measured
        .iter()
        .map(|count| (count - all * part) / deviation);
    assert!(off.any(|off| off.abs() < 3.0), "{percent} %: {measured:?}");
    crate::harness::say(&format!(
        "{percent} % of 10,000 connections, twice: {measured:?}"
    ));
    run.assert_count("live", 1);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_tenth_of_the_new_connections_is_a_tenth() {
    is_within_three_standard_deviations(10);
}

#[test]
#[ignore = "needs python3"]
fn half_of_the_new_connections_is_half() {
    is_within_three_standard_deviations(50);
}

#[test]
#[ignore = "needs python3"]
fn a_generation_takes_its_steps_by_itself_and_loses_no_request() {
    let Some((app, mut run)) = start(&["--share", "20%,60%,100%", "--share-every", "1s"]) else {
        return;
    };
    let load = RequestLoop::start(app.address());
    for percent in [20, 60] {
        shares(&mut run, 2, percent);
    }
    assert_eq!(run.live(), 2);
    run.wait_until_gone(1);
    load.more(50);
    load.assert_none_lost();
    assert_eq!(generation_at(app.address()), "generation 2");
    run.quit();
}

/// Each of the two clients may have been waiting for a response from the generation that is killed.
#[test]
#[ignore = "needs python3"]
fn after_a_kill_every_new_connection_reaches_the_live_generation() {
    let Some((app, mut run)) = start(&["--share", "50%"]) else {
        return;
    };
    shares(&mut run, 2, 50);
    let load = RequestLoop::start(app.address());
    load.more(100);
    let pid = i32::try_from(run.pid_of(2)).expect("the pid fits");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the program runs");
    let failed = run.expect("failed");
    assert_eq!((failed.generation(), failed.text("reason")), (2, "crashed"));
    assert!(
        failed.mentions("gen 1 still live") || failed.number("live") == 1,
        "{failed}"
    );
    for _ in 0..300 {
        assert_eq!(generation_at(app.address()), "generation 1");
    }
    load.more(50);
    load.assert_lost_at_most(2);
    // The next save is an ordinary change.
    save(&app, 3);
    shares(&mut run, 3, 50);
    run.quit();
}

/// About half of these connections are in the queue of the generation that is killed.
#[test]
#[ignore = "needs python3"]
fn connections_in_the_queue_of_a_killed_generation_reach_the_live_one() {
    let Some((app, mut run)) = start(&["--share", "50%"]) else {
        return;
    };
    shares(&mut run, 2, 50);
    let pid = i32::try_from(run.pid_of(2)).expect("the pid fits");
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("the program runs");
    until("the program is stopped", TIMEOUT, || {
        let status = process_tree::status(pid).expect("the program runs");
        status.stopped.then_some(())
    });
    let waiting: Vec<_> = (0..8).map(|_| http::open(app.address(), "/")).collect();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the program runs");
    for connection in waiting {
        let answer = http::finish(connection).expect("the live generation responds");
        assert_eq!(answer, "generation 1");
    }
    run.assert_count("live", 1);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_failed_check_ends_the_share_and_loses_no_request() {
    let app = match installed_or_skip(PYTHON) {
        true => App::python(SERVER),
        false => return,
    };
    let broken = app.project.beside("broken");
    let check = format!("test ! -e '{}'", broken.display());
    let options = [
        "--ready",
        "listen",
        "--share",
        "50%",
        "--share-check",
        &check,
    ];
    let mut run = app.run().args(options).spawn();
    run.live();
    save(&app, 2);
    shares(&mut run, 2, 50);
    let load = RequestLoop::start(app.address());
    load.more(100);
    std::fs::write(&broken, "").expect("the directory exists");
    let failed = run.expect("failed");
    assert_eq!(
        (failed.generation(), failed.text("reason")),
        (2, "share_check")
    );
    let gone = run.wait_until_gone(2);
    assert_eq!(gone.text("outcome"), "drained", "{gone}");
    load.more(50);
    load.assert_none_lost();
    assert_eq!(generation_at(app.address()), "generation 1");
    run.assert_count("live", 1);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_newer_save_replaces_the_candidate_and_loses_no_request() {
    let Some((app, mut run)) = start(&["--share", "50%"]) else {
        return;
    };
    let load = RequestLoop::start(app.address());
    for generation in 3..6 {
        shares(&mut run, generation - 1, 50);
        load.more(50);
        save(&app, generation);
        run.wait_until_gone(generation - 1);
    }
    shares(&mut run, 5, 50);
    load.more(50);
    load.assert_none_lost();
    run.assert_count("live", 1);
    run.assert_count("failed", 0);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_preview_leads_to_the_newest_ready_generation() {
    let preview = free_address();
    let options = ["--share", "1%", "--preview", &preview.to_string()];
    let Some((app, mut run)) = start(&options) else {
        return;
    };
    shares(&mut run, 2, 1);
    let began = Instant::now();
    let newest = || (generation_at(preview) == "generation 2").then_some(());
    until("the preview leads to gen 2", TIMEOUT, newest);
    assert!(began.elapsed() < Duration::from_secs(5));
    for _ in 0..50 {
        assert_eq!(generation_at(preview), "generation 2");
    }
    assert!(to_the_second(app.address(), 200) < 30);
    run.quit();
}
