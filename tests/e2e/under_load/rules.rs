//! Changes to configuration and data under load. The server closes every connection after its response.

use std::fs;
use std::io::Write;

use super::{LIGHT, alone};
use crate::harness::hey::{self, Load};
use crate::harness::{BUILD_TIMEOUT, Project, say, until};
use crate::rules::{run_configured_server, wait_for_value};

/// The minimum number of requests per test.
const REQUESTS: usize = 5_000;

/// Waits for enough requests, stops the load, and checks that every request succeeded.
#[track_caller]
fn assert_none_lost(load: Load, what: &str) {
    until("enough requests have ended", BUILD_TIMEOUT, || {
        (load.sent() >= REQUESTS).then_some(())
    });
    let figures = load.stop();
    say(&format!("{what}: {figures}"));
    assert_eq!(figures.succeeded, figures.sent, "{what}");
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn a_configuration_change_loses_no_request_and_restarts_nothing() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    let mut run = run_configured_server(&project, "HUP", &["config/*.toml=signal:HUP"]);
    run.live();
    let load = Load::start(run.address(), LIGHT, 1_000);
    let mut changes = 0;
    while changes < 20 || load.sent() < REQUESTS {
        changes += 1;
        let value = format!("value {changes}");
        project.save("config/app.toml", &format!("{value}\n"));
        run.expect("reload_signal_sent");
        wait_for_value(&run, &value);
    }
    assert_none_lost(load, &format!("{changes} configuration changes"));
    run.assert_count("reload_signal_sent", changes);
    assert_eq!(run.count("starting"), 1, "the program is not restarted");
    run.quit();
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn replacing_large_data_that_loads_slowly_loses_no_request() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    let weights = project.work().join("data/weights");
    fs::create_dir(project.work().join("data")).expect("can create `data`");
    let write = |word: &[u8]| {
        let mut file = fs::File::create(&weights).expect("can create `weights`");
        file.write_all(word).expect("can write `weights`");
        for _ in 0..256 {
            file.write_all(&[0; 1 << 20]).expect("can write `weights`");
        }
    };
    write(b"one");
    let mut run = run_configured_server(&project, "SLOW", &["data/**=restart"]);
    run.live();
    wait_for_value(&run, "one");
    let load = Load::start(run.address(), LIGHT, 1_000);
    write(b"two");
    assert_eq!(run.live(), 2);
    wait_for_value(&run, "two");
    run.wait_until_gone(1);
    assert_none_lost(load, "replacing 256 MB of data that take 5 s to load");
    assert_eq!(
        run.count("starting"),
        2,
        "the program is restarted once, after the last write"
    );
    run.quit();
}
