//! Faults while no generation is live, either before the first one or after a crash. Clients wait.

use std::thread;

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{FirstBuild, FirstStart, Held};
use super::live::kill;
use crate::harness::http::get_with_retry;

const SHORT_TIMEOUTS: &[&str] = &["--ready-timeout", "3s"];

pub(super) fn faults() -> Vec<Fault> {
    let mut all = first();
    all.extend(held());
    all
}

fn first() -> Vec<Fault> {
    vec![
        Fault::new(
            FirstBuild,
            "the build fails",
            "clients wait for the fixed version",
            |scenario| {
                scenario.proceed_with("exit 1");
                scenario.expect_failure("build", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            FirstBuild,
            "the build is killed with SIGKILL",
            "reported; clients wait for the fixed version",
            |scenario| {
                scenario.proceed_with("kill -9 $$");
                scenario.expect_failure("build", 0);
                scenario.expect_text("the build was killed by signal 9");
                scenario.recover();
            },
        ),
        Fault::new(
            FirstBuild,
            "a newer version is saved while the build hangs",
            "the newer version is built",
            |scenario| {
                scenario.project.save("build", "exit 0");
                scenario.run().expect("build_cancelled");
                scenario.recover();
            },
        ),
        Fault::new(
            FirstBuild,
            "the build's guardian is killed",
            "clients wait for the fixed version",
            |scenario| {
                let guardian = scenario.build_guardian();
                kill(guardian, Signal::SIGKILL);
                scenario.expect_failure("build", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            FirstStart,
            "the program exits with status 0",
            "clients wait for the fixed version",
            |scenario| {
                scenario.proceed_with("exit 0");
                scenario.expect_failure("exited_early", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            FirstStart,
            "the program panics",
            "clients wait for the fixed version",
            |scenario| {
                scenario.proceed_with_faulty("panic");
                assert_eq!(
                    scenario
                        .expect_failure("exited_early", 0)
                        .number("exit_code"),
                    101
                );
                scenario.expect_text("an injected fault");
                scenario.recover();
            },
        ),
        Fault::new(
            FirstStart,
            "the program never becomes ready",
            "the program is stopped at the timeout",
            |scenario| {
                scenario.proceed_with_faulty("hang");
                scenario.expect_failure("ready_timeout", 0);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            FirstStart,
            "the program's guardian is killed",
            "clients wait for the fixed version",
            |scenario| {
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                assert_eq!(
                    scenario.expect_failure("exited_early", 0).number("signal"),
                    9
                );
                scenario.recover();
            },
        ),
        Fault::new(
            FirstStart,
            "a newer version is saved",
            "the newer version is started",
            |scenario| {
                scenario.project.server("newer");
                scenario.run().expect("superseded");
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
    ]
}

fn held() -> Vec<Fault> {
    vec![
        Fault::new(
            Held,
            "the next build fails",
            "clients wait for the fixed version",
            |scenario| {
                scenario.add_waiting_client();
                scenario.project.save("build", "exit 1");
                scenario.expect_failure("build", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            Held,
            "the next generation exits early",
            "clients wait for the fixed version",
            |scenario| {
                scenario.add_waiting_client();
                scenario.project.faulty("exit=3");
                scenario.expect_failure("exited_early", 0);
                scenario.recover();
            },
        ),
        Fault::new(
            Held,
            "the next generation never becomes ready",
            "that generation is stopped at the timeout",
            |scenario| {
                scenario.add_waiting_client();
                scenario.project.faulty("hang");
                scenario.expect_failure("ready_timeout", 0);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            Held,
            "the next generation crashes, too",
            "clients wait for the fixed version",
            |scenario| {
                scenario.project.faulty("again");
                scenario.expect_event("live", 2);
                scenario.crash();
                scenario.expect_failure("crashed", 0);
                scenario.run().expect("waiting");
                scenario.recover();
            },
        ),
        Fault::new(
            Held,
            "fifty clients connect",
            "the fixed version responds to all of them",
            |scenario| {
                let to = scenario.run().address();
                let ask = |_| thread::spawn(move || get_with_retry(to));
                let clients: Vec<_> = (0..50).map(ask).collect();
                scenario.recover();
                for client in clients {
                    client
                        .join()
                        .expect("the client has not panicked")
                        .expect("a response");
                }
            },
        ),
        Fault::new(
            Held,
            "hotrun gets USR1",
            "the same version is restarted",
            |scenario| {
                scenario.run().signal(Signal::SIGUSR1);
                scenario.run().wait_for_version("one");
                scenario.recover();
            },
        ),
    ]
}
