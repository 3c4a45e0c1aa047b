//! Automatic recovery after the live generation crashes: a restart or a rollback.

use nix::sys::signal::Signal;

use super::State::{Draining, Live, Quiescing};
use super::live::kill;
use super::scenario::RECOVERY;
use super::{Fault, Scenario};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = single_generation();
    all.extend(two_generations());
    all.into_iter().map(|fault| fault.with(&RECOVERY)).collect()
}

/// Checks that this generation is restarted, and that the waiting client gets a response.
fn expect_restart(scenario: &mut Scenario, generation: u64) {
    scenario.mark_held();
    scenario.expect_failure("crashed", 0);
    scenario.add_waiting_client();
    scenario.expect_event("restart_scheduled", generation);
    scenario.expect_event("live", generation + 1);
    scenario.recover();
}

fn single_generation() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the program aborts, restart allowed",
            "the program is restarted",
            |scenario| {
                scenario.crash();
                expect_restart(scenario, 1);
            },
        ),
        Fault::new(
            Live,
            "the program is killed, restart allowed",
            "the program is restarted",
            |scenario| {
                scenario.allow(2);
                let program = scenario.program(1);
                kill(program, Signal::SIGKILL);
                expect_restart(scenario, 1);
            },
        ),
        Fault::new(
            Live,
            "the program's guardian is killed, restart allowed",
            "the program is restarted",
            |scenario| {
                scenario.allow(2);
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                expect_restart(scenario, 1);
            },
        ),
        Fault::new(
            Live,
            "the next generation crashes repeatedly",
            "restarted twice, then hotrun waits",
            |scenario| {
                // There are three crashes, each of which may lose up to three requests.
                scenario.allow(9);
                scenario.mark_held();
                scenario.project.faulty("brief=1500 two");
                scenario.expect_event("live", 2);
                scenario.expect_event("live", 3);
                scenario.expect_event("live", 4);
                scenario.run().expect("waiting");
                scenario.add_waiting_client();
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the program exits with status 0, restart allowed",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                scenario.mark_held();
                let address = scenario.run().address();
                let _ = crate::harness::http::get(address, "/exit");
                scenario.run().expect("waiting");
                scenario.add_waiting_client();
                scenario.recover();
            },
        ),
    ]
}

fn two_generations() -> Vec<Fault> {
    vec![
        Fault::new(
            Quiescing,
            "the new generation is killed, rollback allowed",
            "the old generation is live again",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_event("restored", 1);
                scenario.run().wait_for_version("one");
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "the new generation is killed, restart allowed",
            "the program is restarted",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                expect_restart(scenario, 2);
            },
        ),
    ]
}
