//! Measures how long it takes to start a program. Run this test with `--ignored --nocapture` in release mode.

use std::time::{Duration, Instant};

use hotrun::process::ProgramEvent;

use crate::support::*;

#[tokio::test]
#[ignore = "a measurement"]
async fn the_time_from_spawn_to_the_start_event_is_measured() {
    let mark = Mark::new();
    let mut blocked = Vec::new();
    let mut started = Vec::new();
    for _ in 0..200 {
        let before = Instant::now();
        let mut running = Running::start(spec(&mark, &["/bin/true"]));
        blocked.push(before.elapsed());
        assert!(matches!(
            running.event().await,
            Some(ProgramEvent::Started { .. })
        ));
        started.push(before.elapsed());
        running.end().await;
    }
    show("spawn() itself", blocked);
    show("from spawn() to the start event", started);
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("{what}: median {median:?}, worst {worst:?}");
}
