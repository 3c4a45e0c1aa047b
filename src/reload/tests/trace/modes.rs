//! The three modes: overlap, stop first and auto.

use super::{auto, cargo, check, check_serving, command, stop_first};

/// Connections wait from the end of the old generation until the new one is ready.
#[test]
fn stop_first_starts_the_new_generation_after_the_old_one_has_ended() {
    check_serving(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6020 quiescent 1            -> await-idle 1
        6021 handles-stop-signal 1  -> nothing
        6021 idle 1                 -> forward 1, stop 1
        6100 exited 1 code 0        -> nothing
        6101 gone 1                 -> release 1, start 2 a2 | gone 1 drained 101ms, starting 2 change
        6130 ready 2                -> switch 2 | ready 2 29ms
        6131 switched 2             -> | live 2 1ms
        ",
    );
}

/// A generation may start to listen late, even while the next one is being built.
#[test]
fn auto_overlaps_with_a_generation_that_listens() {
    check_serving(
        &auto(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        5500 listening 1            -> nothing
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6020 listening 2            -> nothing
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 changed build          -> build 3 | building 3 change
        8000 build-ended 3 built a3 -> start 3 a3 | built 3 1s, starting 3 change
        ",
    );
}

#[test]
fn auto_stops_a_generation_without_a_listener_before_the_next_one_starts() {
    check_serving(
        &auto(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6020 quiescent 1            -> await-idle 1
        6021 handles-stop-signal 1  -> nothing
        6021 idle 1                 -> forward 1, stop 1
        6100 exited 1 code 0        -> nothing
        6101 gone 1                 -> release 1, start 2 a2 | gone 1 drained 101ms, starting 2 change
        ",
    );
}

/// The first generation listens, but the second one does not.
#[test]
fn auto_checks_whether_the_live_generation_listens() {
    check_serving(
        &auto(&command()),
        "
        5000 listening 1   -> nothing
        5001 changed build -> start 2 a1 | starting 2 change
        6030 ready 2       -> switch 2 | ready 2 1.029s
        6031 switched 2    -> await-quiescent 1 | live 2 1ms, draining 1 10s
        6101 gone 1        -> forward 1, release 1 | gone 1 drained 70ms
        7000 changed build -> hold, await-quiescent 2 | draining 2 10s
        ",
    );
}

#[test]
fn stop_first_does_not_stop_the_old_generation_for_a_broken_build() {
    check_serving(
        &stop_first(&cargo()),
        "
        5000 changed build        -> build 2 | building 2 change
        6000 build-ended 2 failed -> | failed 2 build live 1
        7000 changed restart      -> hold, await-quiescent 1 | draining 1 10s
        ",
    );
}

#[test]
fn stop_first_supersedes_a_starting_generation() {
    check(
        &stop_first(&command()),
        "
         0 begin                 -> start 1 a1 | starting 1 begin
        10 changed build         -> forward 1, hold, await-idle 1 | superseded 1
        11 handles-stop-signal 1 -> nothing
        11 idle 1                -> forward 1, stop 1
        20 exited 1 code 0       -> nothing
        21 gone 1                -> release 1, start 2 a1 | gone 1 drained 11ms, starting 2 change
        30 ready 2               -> switch 2 | ready 2 9ms
        ",
    );
}

#[test]
fn stop_first_starts_only_the_newer_build_after_a_change_during_the_drain() {
    check_serving(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6010 changed build          -> build 3 | building 3 change
        6020 quiescent 1            -> await-idle 1
        6021 handles-stop-signal 1  -> nothing
        6021 idle 1                 -> forward 1, stop 1
        6100 gone 1                 -> release 1 | gone 1 drained 100ms
        7000 build-ended 3 built a3 -> start 3 a3 | built 3 990ms, outdated 2, starting 3 change
        ",
    );
}

#[test]
fn stop_first_waits_for_a_killed_tree_to_vanish() {
    check_serving(
        &stop_first(&command()),
        "
          100 changed build -> hold, await-quiescent 1 | draining 1 10s
        10350 tick          -> forward 1, kill 1 | killing 1 timed-out 10.25s
        10351 tick          -> nothing
        20000 gone 1        -> release 1, start 2 a1 | gone 1 timed-out 19.9s, starting 2 change
        ",
    );
}
