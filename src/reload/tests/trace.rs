//! Readable traces of the machine, one for each scenario. Lines written by `--log FILE` can be pasted here.

use std::fmt::Write as _;
use std::time::Duration;

use super::replay;
use crate::reload::{Machine, Mode, Policy, Time, WhenBusy};

mod crashes;
mod drains;
mod failures;
mod fresh;
mod kept;
mod learning;
mod liveness;
mod logs;
mod modes;
mod notified;
mod quit;
mod reloads;
mod requests;
mod rollback;
mod shares;
mod unchanged;

/// Plays the events of a transcript, and compares the reactions.
#[track_caller]
fn check(policy: &Policy, transcript: &str) {
    compare(Machine::new(policy.clone()), transcript);
}

/// Like [`check`], but with generation 1 live and its artifact kept;
/// [`reloads::the_first_generation_is_built_and_goes_live`] shows how this state is reached.
#[track_caller]
fn check_serving(policy: &Policy, transcript: &str) {
    let events = [
        (0, "begin"),
        (10, "build-ended 1 built a1 kept"),
        (30, "ready 1"),
        (31, "switched 1"),
    ];
    compare(after(policy, &events), transcript);
}

/// Like [`check`], but without builds, with generation 2 live since 1000 ms and generation 1 draining.
#[track_caller]
fn check_draining(policy: &Policy, transcript: &str) {
    let first = [(0, "begin"), (30, "ready 1"), (31, "switched 1")];
    let second = [
        (100, "changed build"),
        (130, "ready 2"),
        (1000, "switched 2"),
    ];
    compare(after(policy, &[first, second].concat()), transcript);
}

fn after(policy: &Policy, events: &[(u64, &str)]) -> Machine {
    let mut machine = Machine::new(policy.clone());
    for (millis, event) in events {
        let now = Time(Duration::from_millis(*millis));
        let _ = machine.handle(now, replay::event(event).unwrap());
    }
    machine
}

#[track_caller]
fn compare(mut machine: Machine, transcript: &str) {
    let (mut expected, mut found) = (String::new(), String::new());
    let lines = transcript.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let (event, reaction) = line.split_once("->").expect("every line has an arrow");
        let event = event.trim();
        let _ = writeln!(expected, "{event} -> {}", reaction.trim());
        let reaction = replay::step(line, |now, event| machine.handle(now, event)).unwrap();
        let _ = writeln!(found, "{event} -> {reaction}");
    }
    assert_eq!(expected, found, "expected:\n{expected}\nfound:\n{found}");
}

/// The defaults in cargo mode (ready within 60 s, stopped within 10 s, killed within 5 s), except that the accept queues
/// may take at most 250 ms, and that hotrun does not react to crashes.
fn cargo() -> Policy {
    Policy {
        stop_delay_max: Duration::from_millis(250),
        rollback_within: Duration::ZERO,
        ..Policy::default()
    }
}

/// Like [`cargo`], but without builds.
fn command() -> Policy {
    let builds = false;
    Policy { builds, ..cargo() }
}

fn queue(policy: &Policy) -> Policy {
    let when_busy = WhenBusy::Queue;
    Policy {
        when_busy,
        ..policy.clone()
    }
}

fn auto(policy: &Policy) -> Policy {
    let (mode, passes_sockets) = (Mode::Auto, false);
    Policy {
        mode,
        passes_sockets,
        ..policy.clone()
    }
}

fn stop_first(policy: &Policy) -> Policy {
    let mode = Mode::StopFirst;
    Policy {
        mode,
        ..policy.clone()
    }
}
