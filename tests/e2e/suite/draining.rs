//! Faults while an old generation is draining, and while hotrun is quitting.

use std::io::Write;

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{Draining, Live, Quiescing, Quitting};
use super::live::kill;
use crate::harness::{apps, http};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = quiescing();
    all.extend(draining());
    all.extend(quitting());
    all
}

fn quiescing() -> Vec<Fault> {
    vec![
        Fault::new(
            Quiescing,
            "the silent client sends its request",
            "the old generation answers the request",
            |scenario| {
                let mut silent = scenario
                    .silent
                    .take()
                    .expect("the silent client is connected");
                let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
                silent.write_all(request).expect("can send the request");
                let answer = http::finish(silent).expect("a response");
                assert!(answer.ends_with("version one\n"), "{answer}");
                scenario.recover();
            },
        ),
        Fault::new(
            Quiescing,
            "the old generation is killed",
            "the new generation stays live",
            |scenario| {
                // The old generation may have requests that it has not answered yet.
                scenario.allow(2);
                let old = scenario.program(1);
                kill(old, Signal::SIGKILL);
                scenario.run().wait_until_gone(1);
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
        Fault::new(
            Quiescing,
            "the old generation's guardian is killed",
            "the new generation stays live",
            |scenario| {
                // The old generation may have requests that it has not answered yet.
                scenario.allow(2);
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                scenario.run().wait_until_gone(1);
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
        Fault::new(
            Quiescing,
            "the new generation is killed",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_failure("crashed", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            Quiescing,
            "a newer version is saved",
            "the newer version goes live",
            |scenario| {
                scenario.project.server("newer");
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
    ]
}

fn draining() -> Vec<Fault> {
    vec![
        Fault::new(
            Draining,
            "the old generation is killed",
            "the new generation stays live",
            |scenario| {
                let old = scenario.program(1);
                kill(old, Signal::SIGKILL);
                scenario.run().wait_until_gone(1);
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "the old generation's guardian is killed",
            "the new generation stays live",
            |scenario| {
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                scenario.run().wait_until_gone(1);
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "the old generation is stopped (STOP)",
            "the old generation is killed at the timeout",
            |scenario| {
                let old = scenario.program(1);
                kill(old, Signal::SIGSTOP);
                scenario.expect_event("killing", 1);
                scenario.run().wait_until_gone(1);
                scenario.recover();
            },
        )
        .with(&["--stop-timeout", "1s"]),
        Fault::new(
            Draining,
            "the new generation is killed",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_failure("crashed", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "a newer version is saved",
            "the newer version goes live",
            |scenario| {
                scenario.project.server("newer");
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "the next build fails",
            "the new generation stays live",
            |scenario| {
                scenario.project.save("build", "exit 1");
                scenario.expect_failure("build", 2);
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the next generation starts a daemon on TERM",
            "no process is left behind",
            |scenario| {
                let server = apps::std().server.display();
                let trap = "trap '(setsid sleep 1000 &); exit 0' TERM";
                scenario
                    .project
                    .script(&format!("unset LISTEN_PID; {trap}; '{server}' two & wait"));
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a new version is saved during a slow request",
            "the request gets a complete response",
            |scenario| {
                let slow = http::open(scenario.run().address(), "/slow?ms=1000");
                scenario.project.server("two");
                scenario.expect_event("live", 2);
                let answer = http::finish(slow).expect("a response");
                assert!(answer.contains("version one"), "{answer}");
                scenario.recover();
            },
        ),
    ]
}

fn quitting() -> Vec<Fault> {
    vec![
        Fault::new(
            Quitting,
            "the program exceeds the stop timeout",
            "the program is killed; exit code 1",
            |scenario| {
                scenario.run().expect("killing");
                scenario.expect_exit(Some(1));
            },
        )
        .with(&["--stop-timeout", "300ms"]),
        Fault::new(
            Quitting,
            "the program is killed",
            "hotrun exits normally",
            |scenario| {
                let program = scenario.program(1);
                kill(program, Signal::SIGKILL);
                scenario.expect_exit(Some(0));
            },
        ),
        Fault::new(
            Quitting,
            "the program's guardian is killed",
            "hotrun exits normally",
            |scenario| {
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                scenario.expect_exit(Some(0));
            },
        ),
        Fault::new(
            Quitting,
            "a new version is saved",
            "nothing is built",
            |scenario| {
                scenario.project.server("two");
                let mut run = scenario.take_run();
                assert_eq!(run.wait_for_exit().code(), Some(0));
                run.assert_nothing_left();
                assert!(!run.wait_for_all_events().contains("\"generation\":2"));
            },
        ),
    ]
}
