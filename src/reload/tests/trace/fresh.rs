//! New connections that wait for a newer generation although one is live (`--fresh`).

use super::{cargo, check_serving, command, stop_first};
use crate::reload::{Fresh, Policy};

fn fresh(policy: &Policy) -> Policy {
    Policy {
        fresh: Fresh::Wait,
        ..policy.clone()
    }
}

fn strict() -> Policy {
    let fresh = Fresh::Strict;
    Policy { fresh, ..cargo() }
}

/// The change is held from its first sign on; its report and the end of the batch change nothing.
#[test]
fn new_connections_wait_from_the_first_sign_of_a_change_to_the_switch() {
    check_serving(
        &fresh(&cargo()),
        "
        5000 change-seen            -> hold-new
        5001 change-seen            -> nothing
        5020 changed build          -> build 2 | building 2 change
        5020 changes-settled        -> nothing
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 980ms, starting 2 change
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1, stop-holding | live 2 1ms, draining 1 10s
        ",
    );
}

#[test]
fn nobody_waits_if_nothing_has_changed_or_hotrun_is_paused() {
    check_serving(
        &fresh(&cargo()),
        "
        5000 change-seen       -> hold-new
        5020 changes-settled   -> stop-holding
        6000 change-seen       -> hold-new
        6010 requested pause   -> stop-holding | paused
        6020 changed build     -> nothing
        6020 changes-settled   -> nothing
        7000 change-seen       -> nothing
        7020 changed build     -> nothing
        7020 changes-settled   -> nothing
        8000 requested resume  -> hold-new, build 2 | resumed, building 2 change
        8500 requested quit    -> cancel-build 2, await-idle 1, stop-holding | quitting 10s
        ",
    );
}

/// A signal starts nothing, unless the program does not handle it.
#[test]
fn nobody_waits_for_a_reload_signal() {
    check_serving(
        &fresh(&command()),
        "
        5000 config-changed 1               -> send-reload-signal 1 1
        5001 reload-signal-sent 1 1 handled -> | reload-signal-sent 1 1
        6000 config-changed 1               -> send-reload-signal 1 1
        6001 reload-signal-sent 1 1         -> hold-new, start 2 a1 | reload-signal-unhandled 1 1, starting 2 change
        ",
    );
}

#[test]
fn a_failure_or_an_unchanged_build_ends_the_wait_at_once() {
    check_serving(
        &fresh(&cargo()),
        "
        5000 changed build          -> hold-new, build 2 | building 2 change
        6000 build-ended 2 failed   -> stop-holding | failed 2 build live 1
        7000 changed build          -> hold-new, build 3 | building 3 change
        8000 build-ended 3 unchanged 1 -> stop-holding | unchanged 3 1
        9000 changed build          -> hold-new, build 4 | building 4 change
        9500 changed build          -> cancel-build 4
        ",
    );
}

/// A client that comes during a build that a newer one replaces waits for the newer one.
#[test]
fn newer_changes_do_not_prolong_the_wait_beyond_the_ready_timeout() {
    check_serving(
        &fresh(&cargo()),
        "
        5000  changed build           -> hold-new, build 2 | building 2 change
        40000 changed build           -> cancel-build 2
        40010 build-ended 2 cancelled -> build 3 | build-cancelled 2, building 3 change
        65000 tick                    -> stop-holding
        66000 change-seen             -> nothing
        66020 changed build           -> cancel-build 3
        66020 changes-settled         -> nothing
        66030 build-ended 3 cancelled -> build 4 | build-cancelled 3, building 4 change
        67000 build-ended 4 failed    -> | failed 4 build live 1
        68000 changed build           -> hold-new, build 5 | building 5 change
        ",
    );
}

#[test]
fn new_connections_wait_for_an_undo() {
    check_serving(
        &fresh(&cargo()),
        "
        5000 changed build               -> hold-new, build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                     -> switch 2 | ready 2 30ms
        6031 switched 2                  -> await-quiescent 1, stop-holding | live 2 1ms, draining 1 10s
        7000 requested undo              -> hold-new, start 3 a1 | starting 3 undo
        7001 start-failed 3              -> forward 3, release 3, stop-holding | failed 3 start live 2
        ",
    );
}

/// While no generation is live, connections are held anyway.
#[test]
fn with_stop_first_the_wait_goes_over_into_the_ordinary_one() {
    check_serving(
        &fresh(&stop_first(&cargo())),
        "
        5000 changed build          -> hold-new, build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1, stop-holding | built 2 1s, draining 1 10s
        ",
    );
}

#[test]
fn if_the_live_generation_crashes_its_connections_are_held_as_usual() {
    check_serving(
        &fresh(&cargo()),
        "
        5000 changed build   -> hold-new, build 2 | building 2 change
        5500 exited 1 code 1 -> forward 1, hold, stop-holding | failed 1 crashed code 1
        ",
    );
}

/// A touched file may be unchanged, so only a build or a start ends the error response.
#[test]
fn strict_responds_with_an_error_from_a_failure_to_the_next_build() {
    check_serving(
        &strict(),
        "
        5000 changed build             -> hold-new, build 2 | building 2 change
        6000 build-ended 2 failed      -> respond-unavailable 2 build | failed 2 build live 1
        6500 change-seen               -> nothing
        6520 changes-settled           -> nothing
        7000 change-seen               -> nothing
        7020 changed build             -> stop-responding, build 3 | building 3 change
        7020 changes-settled           -> nothing
        8000 build-ended 3 built a3    -> start 3 a3 | built 3 980ms, starting 3 change
        8500 exited 3 code 1           -> forward 3, respond-unavailable 3 exited-early code 1 | failed 3 exited-early code 1 live 1
        9000 changed build             -> stop-responding, build 4 | building 4 change
        9500 build-ended 4 unchanged 1 -> stop-holding | unchanged 4 1
        ",
    );
}

#[test]
fn strict_responds_even_if_the_time_to_wait_was_over() {
    check_serving(
        &strict(),
        "
        5000  changed build        -> hold-new, build 2 | building 2 change
        65000 tick                 -> stop-holding
        70000 build-ended 2 failed -> hold-new, respond-unavailable 2 build | failed 2 build live 1
        ",
    );
}
