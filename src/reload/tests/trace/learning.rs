//! Starts after which hotrun knows what the program writes.

use super::{cargo, check_serving, command, stop_first};

/// Until the switch, the old generation may make the changes.
#[test]
fn changes_wait_for_the_first_generation_whose_writes_are_reported() {
    check_serving(
        &command(),
        "
        5000 changed build    -> start 2 a1 | starting 2 change
        5010 changed build    -> forward 2, stop 2, start 3 a1 | superseded 2, starting 3 change
        5010 reports-writes 3 -> nothing
        5011 gone 2           -> release 2 | gone 2 drained 1ms
        5020 changed build    -> nothing
        5030 changed restart  -> nothing
        5040 ready 3          -> switch 3 | ready 3 30ms
        5041 switched 3       -> await-quiescent 1, start 4 a1 | live 3 1ms, draining 1 10s, starting 4 change
        5041 reports-writes 4 -> nothing
        5050 changed build    -> nothing
        5060 gone 1           -> forward 1, release 1, forward 4, stop 4, start 5 a1 | gone 1 drained 19ms, superseded 4, starting 5 change
        5060 reports-writes 5 -> nothing
        5070 changed build    -> forward 5, stop 5, start 6 a1 | superseded 5, starting 6 change
        ",
    );
}

#[test]
fn a_change_that_waits_is_built_at_once_and_started_after_a_failure() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6000 reports-writes 2       -> nothing
        6010 changed build          -> build 3 | building 3 change
        7000 build-ended 3 built a3 -> | built 3 990ms
        7010 exited 2 code 1        -> forward 2, start 3 a3 | failed 2 exited-early code 1 live 1, starting 3 change
        ",
    );
}

#[test]
fn a_change_waits_for_at_most_five_seconds() {
    check_serving(
        &command(),
        "
        5000 changed build    -> start 2 a1 | starting 2 change
        5000 reports-writes 2 -> nothing
        5010 changed build    -> nothing
        10000 tick            -> forward 2, stop 2, start 3 a1 | superseded 2, starting 3 change
        ",
    );
}

#[test]
fn a_requested_reload_does_not_wait() {
    check_serving(
        &command(),
        "
        5000 changed build    -> start 2 a1 | starting 2 change
        5000 reports-writes 2 -> nothing
        5010 changed build    -> nothing
        5020 requested reload -> forward 2, stop 2, start 3 a1 | superseded 2, starting 3 request
        ",
    );
}

#[test]
fn changes_supersede_a_start_beside_which_no_other_generation_runs() {
    check_serving(
        &stop_first(&command()),
        "
        5000 changed build    -> hold, await-quiescent 1 | draining 1 10s
        5100 exited 1 code 0  -> forward 1, stop 1
        5101 gone 1           -> release 1, start 2 a1 | gone 1 drained 101ms, starting 2 change
        5101 reports-writes 2 -> nothing
        5110 changed build    -> forward 2, hold, await-idle 2 | superseded 2
        ",
    );
}
