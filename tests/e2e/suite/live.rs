//! Faults while a generation is live and nothing else is happening.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::State::Live;
use super::{Fault, Scenario};
use crate::harness::{TIMEOUT, apps, http, until};

/// Sends a signal. Ignores errors, because the process may just have exited.
pub(super) fn kill(pid: i32, signal: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}

pub(super) fn faults() -> Vec<Fault> {
    let mut all = ends();
    all.extend(after_a_save());
    all.extend(signals());
    all.extend(saves());
    all
}

/// Checks that the live generation crashed with this exit code or signal, and that clients wait until the fixed version
/// responds.
pub(super) fn expect_crash(scenario: &mut Scenario, field: &str, number: u64) {
    let failed = scenario.expect_failure("crashed", 0);
    assert_eq!(failed.number(field), number, "{failed}");
    scenario.run().expect("waiting");
    // Until then, a child of the program may accept a connection.
    scenario.run().expect("gone");
    scenario.add_waiting_client();
    scenario.recover();
}

/// Kills the live program with this signal while it is handling requests.
fn crash_with(scenario: &mut Scenario, signal: Signal) {
    scenario.allow(2);
    let program = scenario.program(1);
    kill(program, signal);
    if signal == Signal::SIGSEGV {
        // Rust's handler only checks the first SIGSEGV for a stack overflow, and restores the default action for the
        // next one.
        until("the program is killed", TIMEOUT, || {
            kill(program, signal);
            scenario
                .run()
                .so_far()
                .iter()
                .any(|event| event.is("failed"))
                .then_some(())
        });
    }
    expect_crash(scenario, "signal", signal as u64);
}

fn ends() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the program aborts",
            "clients wait for the fixed version",
            |scenario| {
                scenario.crash();
                expect_crash(scenario, "signal", 6);
            },
        ),
        Fault::new(
            Live,
            "the program is killed by SEGV",
            "clients wait for the fixed version",
            |scenario| {
                crash_with(scenario, Signal::SIGSEGV);
            },
        ),
        Fault::new(
            Live,
            "the program is killed with SIGKILL",
            "clients wait for the fixed version",
            |scenario| {
                crash_with(scenario, Signal::SIGKILL);
            },
        ),
        Fault::new(
            Live,
            "the program gets TERM from another process",
            "clients wait for the fixed version",
            |scenario| {
                crash_with(scenario, Signal::SIGTERM);
            },
        ),
        Fault::new(
            Live,
            "the program exits with status 0",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let _ = http::get(scenario.run().address(), "/exit");
                expect_crash(scenario, "exit_code", 0);
            },
        ),
        Fault::new(
            Live,
            "the program's guardian is killed",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                expect_crash(scenario, "signal", 9);
            },
        ),
    ]
}

fn after_a_save() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the next generation dies just after the switch",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                scenario.project.faulty("brief=100 two");
                scenario.expect_event("live", 2);
                expect_crash(scenario, "exit_code", 4);
            },
        ),
        Fault::new(
            Live,
            "the next generation stops accepting connections",
            "clients wait for the fixed version",
            |scenario| {
                scenario.project.faulty("few=20 two");
                scenario.expect_event("live", 2);
                scenario.run().wait_for_line(2, "closed");
                scenario.add_waiting_client();
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the next generation ignores TERM and is replaced",
            "that generation is killed at the timeout",
            |scenario| {
                scenario.project.faulty("ignore two");
                scenario.expect_event("live", 2);
                scenario.project.server("three");
                scenario.expect_event("killing", 2);
                scenario.run().wait_for_version("three");
                scenario.recover();
            },
        )
        .with(&["--stop-timeout", "500ms"]),
        Fault::new(
            Live,
            "a new version exits with 7, but its child listens",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let server = apps::std().server.display();
                scenario.project.script(&format!(
                    "unset LISTEN_PID; '{server}' two & sleep 0.7; exit 7"
                ));
                scenario.expect_event("live", 2);
                expect_crash(scenario, "exit_code", 7);
            },
        ),
        Fault::new(
            Live,
            "a new version exits with 0, but its child listens",
            "the child stays live",
            |scenario| {
                let server = apps::std().server.display();
                scenario.project.script(&format!(
                    "unset LISTEN_PID; '{server}' two & sleep 0.7; exit 0"
                ));
                scenario.expect_event("live", 2);
                let shell = scenario.program(2);
                until("the shell exits", TIMEOUT, || {
                    hotrun::os::process_tree::status(shell)
                        .is_none()
                        .then_some(())
                });
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
    ]
}

fn signals() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the program sends TERM to hotrun",
            "ignored and reported once",
            |scenario| {
                scenario.project.faulty("two");
                scenario.expect_event("live", 2);
                for _ in 0..3 {
                    scenario.run().get("/up");
                }
                scenario.expect_text("ignored a SIGTERM");
                scenario.recover();
                let reported = scenario
                    .run()
                    .so_far()
                    .iter()
                    .filter(|event| event.mentions("ignored a SIGTERM"));
                assert_eq!(reported.count(), 1);
            },
        ),
        Fault::new(
            Live,
            "the program's guardian gets signals to exit",
            "no effect",
            |scenario| {
                let guardian = scenario.guardian(1);
                for signal in [
                    Signal::SIGTERM,
                    Signal::SIGINT,
                    Signal::SIGHUP,
                    Signal::SIGUSR2,
                ] {
                    kill(guardian, signal);
                }
                scenario.recover();
                assert_eq!(scenario.run().count("failed"), 0);
            },
        ),
        Fault::new(
            Live,
            "the program is stopped and resumed",
            "clients wait until the program is resumed",
            |scenario| {
                let program = scenario.program(1);
                kill(program, Signal::SIGSTOP);
                scenario.add_waiting_client();
                std::thread::sleep(Duration::from_millis(300));
                kill(program, Signal::SIGCONT);
                scenario.recover();
                assert_eq!(scenario.run().count("failed"), 0);
            },
        ),
        Fault::new(
            Live,
            "a version is saved while hotrun is stopped",
            "the saved version goes live",
            |scenario| {
                let hotrun = scenario.run().pid().as_raw();
                kill(hotrun, Signal::SIGSTOP);
                scenario.project.server("saved-while-stopped");
                assert!(scenario.run().get("/").ends_with("version one\n"));
                kill(hotrun, Signal::SIGCONT);
                scenario.run().wait_for_version("saved-while-stopped");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a version is saved while the guardian is stopped",
            "the saved version goes live",
            |scenario| {
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGSTOP);
                scenario.project.server("saved-while-stopped");
                scenario.run().wait_for_version("saved-while-stopped");
                kill(guardian, Signal::SIGCONT);
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "hotrun gets USR1 twenty times",
            "hotrun reloads, and no request is lost",
            |scenario| {
                for _ in 0..20 {
                    scenario.run().signal(Signal::SIGUSR1);
                    std::thread::sleep(Duration::from_millis(5));
                }
                scenario.run().expect("live");
                scenario.recover();
            },
        ),
    ]
}

fn saves() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "five hundred versions are saved",
            "the newest version goes live",
            |scenario| {
                for n in 0..500 {
                    scenario.project.server(&format!("storm-{n}"));
                }
                scenario.run().wait_for_version("storm-499");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "two thousand files are created and removed",
            "the same version keeps serving",
            |scenario| {
                let crowd = scenario.project.work().join("crowd");
                fs::create_dir(&crowd).expect("can create the directory");
                for n in 0..2000 {
                    fs::write(crowd.join(n.to_string()), "x").expect("can write the file");
                }
                fs::remove_dir_all(&crowd).expect("can remove the directory");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "files are saved without changes",
            "no effect",
            |scenario| {
                scenario.project.faulty("one");
                scenario.project.save("build", "exit 0");
                std::thread::sleep(Duration::from_millis(300));
                assert_eq!(scenario.run().count("building"), 1);
                scenario.recover();
            },
        ),
    ]
}
