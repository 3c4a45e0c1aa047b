//! While an old one leaves, and while hotrun does.

use std::io::Write;

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{Draining, Live, Quitting, Settling};
use super::live::kill;
use crate::harness::{apps, http};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = settling();
    all.extend(draining());
    all.extend(quitting());
    all
}

fn settling() -> Vec<Fault> {
    vec![
        Fault::new(
            Settling,
            "the silent client says what it wants",
            "the old one answers it",
            |stage| {
                let mut silent = stage.silent.take().expect("it is there");
                let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
                silent.write_all(request).expect("it is open");
                let answer = http::finish(silent).expect("it is answered");
                assert!(answer.ends_with("version one\n"), "{answer}");
                stage.mends();
            },
        ),
        Fault::new(
            Settling,
            "the old one is killed",
            "the new one serves",
            |stage| {
                // What it had not answered yet.
                stage.allow(2);
                let old = stage.program(1);
                kill(old, Signal::SIGKILL);
                stage.run().gone_is(1);
                stage.answers("two");
                stage.mends();
            },
        ),
        Fault::new(
            Settling,
            "the old one's guardian is killed",
            "the new one serves",
            |stage| {
                // What it had not answered yet.
                stage.allow(2);
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                stage.run().gone_is(1);
                stage.answers("two");
                stage.mends();
            },
        ),
        Fault::new(
            Settling,
            "the new one is killed",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                let new = stage.program(2);
                kill(new, Signal::SIGKILL);
                stage.fails("crashed", 0);
                stage.mends();
            },
        ),
        Fault::new(
            Settling,
            "there is a newer save",
            "the newer one is live",
            |stage| {
                stage.project.server("newer");
                stage.answers("newer");
                stage.mends();
            },
        ),
    ]
}

fn draining() -> Vec<Fault> {
    vec![
        Fault::new(
            Draining,
            "the old one is killed",
            "the new one serves",
            |stage| {
                let old = stage.program(1);
                kill(old, Signal::SIGKILL);
                stage.run().gone_is(1);
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "the old one's guardian is killed",
            "the new one serves",
            |stage| {
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                stage.run().gone_is(1);
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "the old one is stopped",
            "killed at the timeout",
            |stage| {
                let old = stage.program(1);
                kill(old, Signal::SIGSTOP);
                stage.told_of("killing", 1);
                stage.run().gone_is(1);
                stage.mends();
            },
        )
        .with(&["--stop-timeout", "1s"]),
        Fault::new(
            Draining,
            "the new one is killed",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                let new = stage.program(2);
                kill(new, Signal::SIGKILL);
                stage.fails("crashed", 0);
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "there is a newer save",
            "the newer one is live",
            |stage| {
                stage.project.server("newer");
                stage.answers("newer");
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "the next build fails",
            "the new one serves",
            |stage| {
                stage.project.save("build", "exit 1");
                stage.fails("build", 2);
                stage.answers("two");
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the next one starts a daemon when it is told to stop",
            "nothing is left of it",
            |stage| {
                let server = apps::std().server.display();
                let trap = "trap '(setsid sleep 1000 &); exit 0' TERM";
                stage
                    .project
                    .script(&format!("unset LISTEN_PID; {trap}; '{server}' two & wait"));
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "a request takes a second, and there is a save",
            "it is answered in full",
            |stage| {
                let slow = http::open(stage.run().address(), "/slow?ms=1000");
                stage.project.server("two");
                stage.told_of("live", 2);
                let answer = http::finish(slow).expect("it is answered");
                assert!(answer.contains("version one"), "{answer}");
                stage.mends();
            },
        ),
    ]
}

fn quitting() -> Vec<Fault> {
    vec![
        Fault::new(
            Quitting,
            "the program takes longer than it may",
            "killed; code 1",
            |stage| {
                stage.run().expect("killing");
                stage.ended_with(Some(1));
            },
        )
        .with(&["--stop-timeout", "300ms"]),
        Fault::new(
            Quitting,
            "the program is killed",
            "hotrun ends in order",
            |stage| {
                let program = stage.program(1);
                kill(program, Signal::SIGKILL);
                stage.ended_with(Some(0));
            },
        ),
        Fault::new(
            Quitting,
            "its guardian is killed",
            "hotrun ends in order",
            |stage| {
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                stage.ended_with(Some(0));
            },
        ),
        Fault::new(
            Quitting,
            "there is a save",
            "nothing is built any more",
            |stage| {
                stage.project.server("two");
                let mut run = stage.take_run();
                assert_eq!(run.ended().code(), Some(0));
                run.gone();
                assert!(!run.told_in_full().contains("\"generation\":2"));
            },
        ),
    ]
}
