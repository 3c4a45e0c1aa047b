//! While one is live and nothing else happens.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::State::Live;
use super::{Fault, Stage};
use crate::harness::{PATIENCE, apps, http, until};

/// It may have ended by itself in this moment.
pub(super) fn kill(pid: i32, signal: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}

pub(super) fn faults() -> Vec<Fault> {
    let mut all = ends();
    all.extend(after_a_save());
    all.extend(signals());
    all.extend(saves());
    all.extend(trees());
    all
}

/// The live one ends this way, clients wait, and the mended one answers them.
fn crashes(stage: &mut Stage, field: &str, number: u64) {
    let failed = stage.fails("crashed", 0);
    assert_eq!(failed.number(field), number, "{failed}");
    stage.run().expect("waiting");
    stage.client_waits();
    stage.mends();
}

/// Its program gets a signal that it does not survive, with the requests in its hands.
fn dies_by(stage: &mut Stage, signal: Signal) {
    stage.allow(2);
    let program = stage.program(1);
    kill(program, signal);
    if signal == Signal::SIGSEGV {
        // Rust takes the first for an overflow of the stack that is none, and lets the next one do what it does.
        until("the end of it", PATIENCE, || {
            kill(program, signal);
            stage
                .run()
                .so_far()
                .iter()
                .any(|event| event.is("failed"))
                .then_some(())
        });
    }
    crashes(stage, "signal", signal as u64);
}

fn ends() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "it aborts",
            "clients wait for the mended one",
            |stage| {
                stage.crash();
                crashes(stage, "signal", 6);
            },
        ),
        Fault::new(
            Live,
            "it ends by SEGV",
            "clients wait for the mended one",
            |stage| {
                dies_by(stage, Signal::SIGSEGV);
            },
        ),
        Fault::new(
            Live,
            "it is killed",
            "clients wait for the mended one",
            |stage| {
                dies_by(stage, Signal::SIGKILL);
            },
        ),
        Fault::new(
            Live,
            "it gets TERM from somebody",
            "clients wait for the mended one",
            |stage| {
                dies_by(stage, Signal::SIGTERM);
            },
        ),
        Fault::new(
            Live,
            "it ends with status 0",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                let _ = http::get(stage.run().address(), "/exit");
                crashes(stage, "exit_code", 0);
            },
        ),
        Fault::new(
            Live,
            "its guardian is killed",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                crashes(stage, "signal", 9);
            },
        ),
    ]
}

fn after_a_save() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the next one dies just after the switch",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                stage.project.faulty("brief=100 two");
                stage.told_of("live", 2);
                crashes(stage, "exit_code", 4);
            },
        ),
        Fault::new(
            Live,
            "the next one stops to take connections",
            "they wait for the mended one",
            |stage| {
                stage.project.faulty("few=20 two");
                stage.told_of("live", 2);
                stage.run().printed(2, "closed");
                stage.client_waits();
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the next one ignores TERM, and is followed",
            "killed at the timeout",
            |stage| {
                stage.project.faulty("ignore two");
                stage.told_of("live", 2);
                stage.project.server("three");
                stage.told_of("killing", 2);
                stage.answers("three");
                stage.mends();
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "the next one leaves its slot to a child and ends badly",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                let server = apps::std().server.display();
                stage.project.script(&format!(
                    "unset LISTEN_PID; '{server}' two & sleep 0.7; exit 7"
                ));
                stage.told_of("live", 2);
                crashes(stage, "exit_code", 7);
            },
        ),
        Fault::new(
            Live,
            "the next one leaves its slot to a child and ends well",
            "the child serves",
            |stage| {
                let server = apps::std().server.display();
                stage.project.script(&format!(
                    "unset LISTEN_PID; '{server}' two & sleep 0.7; exit 0"
                ));
                stage.told_of("live", 2);
                let shell = stage.program(2);
                until("the end of the shell", PATIENCE, || {
                    hotrun::os::process_tree::status(shell)
                        .is_none()
                        .then_some(())
                });
                stage.answers("two");
                stage.mends();
            },
        ),
    ]
}

fn signals() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "it tells hotrun to end",
            "ignored, and told once",
            |stage| {
                stage.project.faulty("two");
                stage.told_of("live", 2);
                for _ in 0..3 {
                    stage.run().get("/up");
                }
                stage.says("ignored a SIGTERM");
                stage.mends();
                let told = stage
                    .run()
                    .so_far()
                    .iter()
                    .filter(|event| event.mentions("ignored a SIGTERM"));
                assert_eq!(told.count(), 1);
            },
        ),
        Fault::new(Live, "it tells its guardian to end", "nothing", |stage| {
            let guardian = stage.guardian(1);
            for signal in [
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGUSR2,
            ] {
                kill(guardian, signal);
            }
            stage.mends();
            assert_eq!(stage.run().count("failed"), 0);
        }),
        Fault::new(
            Live,
            "it is stopped and goes on",
            "clients wait meanwhile",
            |stage| {
                let program = stage.program(1);
                kill(program, Signal::SIGSTOP);
                stage.client_waits();
                std::thread::sleep(Duration::from_millis(300));
                kill(program, Signal::SIGCONT);
                stage.mends();
                assert_eq!(stage.run().count("failed"), 0);
            },
        ),
        Fault::new(
            Live,
            "hotrun is stopped, saved to, and goes on",
            "the saved one is live",
            |stage| {
                let hotrun = stage.run().pid().as_raw();
                kill(hotrun, Signal::SIGSTOP);
                stage.project.server("meanwhile");
                assert!(stage.run().get("/").ends_with("version one\n"));
                kill(hotrun, Signal::SIGCONT);
                stage.answers("meanwhile");
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the guardian is stopped, saved to, and goes on",
            "the saved one is live",
            |stage| {
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGSTOP);
                stage.project.server("meanwhile");
                stage.answers("meanwhile");
                kill(guardian, Signal::SIGCONT);
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "twenty times USR1 to hotrun",
            "reloads, and nothing is lost",
            |stage| {
                for _ in 0..20 {
                    stage.run().signal(Signal::SIGUSR1);
                    std::thread::sleep(Duration::from_millis(5));
                }
                stage.run().expect("live");
                stage.mends();
            },
        ),
    ]
}

fn saves() -> Vec<Fault> {
    vec![
        Fault::new(Live, "five hundred saves", "the newest is live", |stage| {
            for n in 0..500 {
                stage.project.server(&format!("storm-{n}"));
            }
            stage.answers("storm-499");
            stage.mends();
        }),
        Fault::new(
            Live,
            "two thousand files appear and vanish",
            "the old one or its like serves",
            |stage| {
                let crowd = stage.project.work().join("crowd");
                fs::create_dir(&crowd).expect("the folder is ours");
                for n in 0..2000 {
                    fs::write(crowd.join(n.to_string()), "x").expect("the folder is ours");
                }
                fs::remove_dir_all(&crowd).expect("the folder is ours");
                stage.mends();
            },
        ),
        Fault::new(Live, "a save that changes nothing", "nothing", |stage| {
            stage.project.faulty("one");
            stage.project.save("build", "exit 0");
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(stage.run().count("building"), 1);
            stage.mends();
        }),
    ]
}

/// What leaves its group, its session, its parent and its environment behind, and ignores what can be ignored.
const DAEMON: &str = "(env -i /usr/bin/setsid /bin/sh -c 'cd /; trap \"\" HUP INT TERM QUIT USR1 USR2; \
                      echo $$ >\"$0\"; while :; do /bin/sleep 0.2; done' \"$PWD/../daemon\" &)";

fn daemon(stage: &Stage) -> i32 {
    let path = stage.project.beside("daemon");
    until("the daemon", PATIENCE, || {
        fs::read_to_string(&path).ok()?.trim().parse().ok()
    })
}

fn is_gone(pid: i32) {
    until("the daemon to be gone", PATIENCE, || {
        nix::sys::signal::kill(Pid::from_raw(pid), None)
            .is_err()
            .then_some(())
    });
}

fn trees() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the next one has a daemon that ignores all, and is followed",
            "killed at the timeout",
            |stage| {
                let server = apps::std().server.display();
                stage
                    .project
                    .script(&format!("{DAEMON}; exec '{server}' two"));
                stage.told_of("live", 2);
                let daemon = daemon(stage);
                stage.mends();
                is_gone(daemon);
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "the next one has a daemon that ignores all, and crashes",
            "the daemon is killed",
            |stage| {
                stage.allow(2);
                let faulty = apps::std().faulty.display();
                stage
                    .project
                    .script(&format!("{DAEMON}; exec '{faulty}' two"));
                stage.told_of("live", 2);
                let daemon = daemon(stage);
                let _ = http::get(stage.run().address(), "/crash");
                crashes(stage, "signal", 6);
                is_gone(daemon);
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "the next one has a daemon that ignores all, hotrun is killed",
            "the daemon is killed",
            |stage| {
                let server = apps::std().server.display();
                stage
                    .project
                    .script(&format!("{DAEMON}; exec '{server}' two"));
                stage.told_of("live", 2);
                let daemon = daemon(stage);
                stage.ends_killed();
                is_gone(daemon);
            },
        ),
    ]
}
