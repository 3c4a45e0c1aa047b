//! hotrun itself is told to end, or is killed, in each state.

use nix::sys::signal::Signal;

use super::{Fault, Stage, State};

pub(super) fn faults() -> Vec<Fault> {
    State::ALL.into_iter().flat_map(of).collect()
}

/// Of a hotrun that is quitting already a second wish is something else.
fn of(state: State) -> Vec<Fault> {
    let killed = Fault::new(
        state,
        "hotrun is killed",
        "nothing is left",
        Stage::ends_killed,
    );
    if state == State::Quitting {
        return vec![
            killed,
            Fault::new(state, "hotrun gets INT again", "at once, code 0", |stage| {
                insisted(stage, Signal::SIGINT, 0);
            }),
            Fault::new(
                state,
                "hotrun gets HUP as well",
                "in order, code 129",
                |stage| {
                    stage.ends_by(Signal::SIGHUP, 129);
                },
            ),
        ];
    }
    vec![
        killed,
        Fault::new(state, "hotrun gets TERM", "in order, code 143", |stage| {
            stage.ends_by(Signal::SIGTERM, 143);
        }),
        Fault::new(state, "hotrun gets INT", "in order, code 0", |stage| {
            stage.ends_by(Signal::SIGINT, 0);
        }),
        Fault::new(state, "hotrun gets HUP", "in order, code 129", |stage| {
            stage.ends_by(Signal::SIGHUP, 129);
        }),
    ]
}

fn insisted(stage: &mut Stage, signal: Signal, code: i32) {
    // What comes sooner is the same wish, told twice.
    std::thread::sleep(std::time::Duration::from_millis(100));
    stage.ends_by(signal, code);
}
