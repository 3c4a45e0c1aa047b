//! What follows by itself from a crash of the live one.

use nix::sys::signal::Signal;

use super::State::{Draining, Live, Settling};
use super::live::kill;
use super::stage::RETURNS;
use super::{Fault, Stage};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = alone();
    all.extend(beside());
    all.into_iter().map(|fault| fault.with(&RETURNS)).collect()
}

/// It is started once more, and answers who waited.
fn comes_back(stage: &mut Stage, generation: u64) {
    stage.is_held();
    stage.fails("crashed", 0);
    stage.client_waits();
    stage.told_of("restart_scheduled", generation);
    stage.told_of("live", generation + 1);
    stage.mends();
}

fn alone() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "it aborts, and may come back",
            "it is started once more",
            |stage| {
                stage.crash();
                comes_back(stage, 1);
            },
        ),
        Fault::new(
            Live,
            "it is killed, and may come back",
            "it is started once more",
            |stage| {
                stage.allow(2);
                let program = stage.program(1);
                kill(program, Signal::SIGKILL);
                comes_back(stage, 1);
            },
        ),
        Fault::new(
            Live,
            "its guardian is killed, and it may come back",
            "it is started once more",
            |stage| {
                stage.allow(2);
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                comes_back(stage, 1);
            },
        ),
        Fault::new(
            Live,
            "the next one crashes again and again",
            "started twice more, then hotrun waits",
            |stage| {
                // The two requests of the load, and the one that was waiting, each time.
                stage.allow(9);
                stage.is_held();
                stage.project.faulty("brief=100 two");
                stage.told_of("live", 2);
                stage.told_of("live", 3);
                stage.told_of("live", 4);
                stage.run().expect("waiting");
                stage.client_waits();
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "it ends with status 0, and might come back",
            "clients wait for the mended one",
            |stage| {
                stage.allow(2);
                stage.is_held();
                let address = stage.run().address();
                let _ = crate::harness::http::get(address, "/exit");
                stage.run().expect("waiting");
                stage.client_waits();
                stage.mends();
            },
        ),
    ]
}

fn beside() -> Vec<Fault> {
    vec![
        Fault::new(
            Settling,
            "the new one is killed, and the old one may return",
            "the old one serves again",
            |stage| {
                stage.allow(2);
                let new = stage.program(2);
                kill(new, Signal::SIGKILL);
                stage.told_of("restored", 1);
                stage.answers("one");
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "the new one is killed, and may come back",
            "it is started once more",
            |stage| {
                stage.allow(2);
                let new = stage.program(2);
                kill(new, Signal::SIGKILL);
                comes_back(stage, 2);
            },
        ),
    ]
}
