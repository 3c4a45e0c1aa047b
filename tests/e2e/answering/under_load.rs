//! The 503 response under load.

use std::thread;

use super::{build, run};
use crate::harness::hey::{self, Load, Pressure};
use crate::harness::{BUILD_TIMEOUT, Project, say, until};

#[test]
#[ignore = "takes minutes, needs hey"]
fn broken_builds_and_a_fix_lose_no_connection() {
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    build(&project, "exit 1");
    let mut run = run(&project).spawn();
    let to = run.address();
    run.expect("failed");
    let pressure = Pressure {
        clients: 20,
        rate: 50,
    };
    let load = Load::start(to, pressure, 2_000);
    let more = |load: &Load| {
        let before = load.sent();
        until("another batch of requests has ended", BUILD_TIMEOUT, || {
            (load.sent() > before).then_some(())
        });
    };
    for number in 0..4 {
        more(&load);
        build(&project, &format!("sleep 0.1; : {number}; exit 1"));
        run.expect("failed");
    }
    more(&load);
    build(&project, "true");
    run.live();
    more(&load);
    let figures = load.stop();
    say(&format!(
        "broken builds under load: {} responses with status 503, {figures}",
        figures.unavailable
    ));
    assert_eq!(figures.unavailable + figures.succeeded, figures.sent);
    assert!(figures.unavailable > 4_000 && figures.succeeded > 0);
    run.quit();
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn a_thousand_concurrent_clients_get_the_503_response() {
    let project = Project::new();
    build(&project, "exit 1");
    let mut run = run(&project).spawn();
    run.expect("failed");
    let to = run.address();
    let clients = (0..8).map(|_| {
        thread::spawn(move || {
            let streams = (0..125).map(|_| crate::harness::http::open(to, "/"));
            let streams: Vec<_> = streams.collect();
            let responses = streams.into_iter().map(super::rest);
            responses
                .filter(|response| response.starts_with("HTTP/1.1 503 "))
                .count()
        })
    });
    let clients: Vec<_> = clients.collect();
    let unavailable: usize = clients
        .into_iter()
        .map(|client| client.join().expect("the client has not panicked"))
        .sum();
    assert_eq!(unavailable, 1000);
    run.quit();
}
