//! hotrun itself gets a signal to exit, or is killed, in each state.

use nix::sys::signal::Signal;

use super::{Fault, Scenario, State};

pub(super) fn faults() -> Vec<Fault> {
    State::ALL.into_iter().flat_map(of).collect()
}

/// A hotrun that is already quitting treats a second signal differently.
fn of(state: State) -> Vec<Fault> {
    let killed = Fault::new(
        state,
        "hotrun is killed",
        "no process is left",
        Scenario::end_killed,
    );
    if state == State::Quitting {
        return vec![
            killed,
            Fault::new(
                state,
                "hotrun gets INT again",
                "immediate exit, code 0",
                |scenario| {
                    signal_again(scenario, Signal::SIGINT, 0);
                },
            ),
            Fault::new(
                state,
                "hotrun gets HUP as well",
                "orderly exit, code 129",
                |scenario| {
                    scenario.end_by(Signal::SIGHUP, 129);
                },
            ),
        ];
    }
    vec![
        killed,
        Fault::new(
            state,
            "hotrun gets TERM",
            "orderly exit, code 143",
            |scenario| {
                scenario.end_by(Signal::SIGTERM, 143);
            },
        ),
        Fault::new(
            state,
            "hotrun gets INT",
            "orderly exit, code 0",
            |scenario| {
                scenario.end_by(Signal::SIGINT, 0);
            },
        ),
        Fault::new(
            state,
            "hotrun gets HUP",
            "orderly exit, code 129",
            |scenario| {
                scenario.end_by(Signal::SIGHUP, 129);
            },
        ),
    ]
}

fn signal_again(scenario: &mut Scenario, signal: Signal, code: i32) {
    // hotrun takes a second signal within 50 ms for the same request.
    std::thread::sleep(std::time::Duration::from_millis(100));
    scenario.end_by(signal, code);
}
