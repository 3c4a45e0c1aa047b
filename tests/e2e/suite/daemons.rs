//! Faults while the live generation has a daemon that ignores all signals commonly used to stop programs.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

use super::State::Live;
use super::live::expect_crash;
use super::{Fault, Scenario};
use crate::harness::{TIMEOUT, apps, http, until};

/// A script line that starts a daemon with its own process group, session and environment, whose parent has exited. The
/// daemon ignores the signals that are commonly used to stop programs.
const DAEMON: &str = "(env -i /usr/bin/setsid /bin/sh -c 'cd /; trap \"\" HUP INT TERM QUIT USR1 USR2; \
                      echo $$ >\"$0\"; while :; do /bin/sleep 0.2; done' \"$PWD/../daemon\" &)";

/// Replaces the live generation with one that starts this server and the daemon. Returns the daemon's pid.
fn replace_with_daemon(scenario: &mut Scenario, server: &Path) -> i32 {
    let server = server.display();
    scenario
        .project
        .script(&format!("{DAEMON}; exec '{server}' two"));
    scenario.expect_event("live", 2);
    let path = scenario.project.beside("daemon");
    until("the daemon is running", TIMEOUT, || {
        fs::read_to_string(&path).ok()?.trim().parse().ok()
    })
}

fn wait_until_gone(pid: i32) {
    until("the daemon is gone", TIMEOUT, || {
        nix::sys::signal::kill(Pid::from_raw(pid), None)
            .is_err()
            .then_some(())
    });
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "a generation with a stubborn daemon is replaced",
            "the daemon is killed at the timeout",
            |scenario| {
                let daemon = replace_with_daemon(scenario, &apps::std().server);
                scenario.recover();
                wait_until_gone(daemon);
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "a generation with a stubborn daemon crashes",
            "the daemon is killed",
            |scenario| {
                scenario.allow(2);
                let daemon = replace_with_daemon(scenario, &apps::std().faulty);
                let _ = http::get(scenario.run().address(), "/crash");
                expect_crash(scenario, "signal", 6);
                wait_until_gone(daemon);
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "hotrun is killed while the daemon is running",
            "the daemon is killed",
            |scenario| {
                let daemon = replace_with_daemon(scenario, &apps::std().server);
                scenario.kill_and_expect_exit();
                wait_until_gone(daemon);
            },
        ),
    ]
}
