//! hotrun itself gets a signal to exit or is killed, in every state.

use nix::sys::signal::Signal;

use super::{Fault, Scenario, State};

pub(super) fn faults() -> Vec<Fault> {
    State::ALL.into_iter().flat_map(faults_in).collect()
}

/// The faults in this state. If hotrun is already quitting, it handles another signal differently.
fn faults_in(state: State) -> Vec<Fault> {
    let killed = Fault::new(
        state,
        "hotrun is killed",
        "no process is left behind",
        Scenario::kill_and_expect_exit,
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
                "clean exit, code 129",
                |scenario| {
                    scenario.signal_and_expect_exit(Signal::SIGHUP, 129);
                },
            ),
        ];
    }
    vec![
        killed,
        Fault::new(
            state,
            "hotrun gets TERM",
            "clean exit, code 143",
            |scenario| {
                scenario.signal_and_expect_exit(Signal::SIGTERM, 143);
            },
        ),
        Fault::new(state, "hotrun gets INT", "clean exit, code 0", |scenario| {
            scenario.signal_and_expect_exit(Signal::SIGINT, 0);
        }),
        Fault::new(
            state,
            "hotrun gets HUP",
            "clean exit, code 129",
            |scenario| {
                scenario.signal_and_expect_exit(Signal::SIGHUP, 129);
            },
        ),
    ]
}

fn signal_again(scenario: &mut Scenario, signal: Signal, code: i32) {
    // hotrun treats a second signal within 50 ms as part of the first request.
    std::thread::sleep(std::time::Duration::from_millis(100));
    scenario.signal_and_expect_exit(signal, code);
}
