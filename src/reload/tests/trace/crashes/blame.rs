//! What a crash is blamed on, and so what follows: an older build, or once more the same.

use super::{auto, cargo, check, check_built, check_second, command, stop_first};
use crate::reload::Policy;

/// As [`check_second`], once generation 1 is gone.
#[track_caller]
fn check_alone(transcript: &str) {
    let gone = "
        6100 settled 1      -> inspect 1
        6101 handles-stop 1 -> relay 1, stop 1
        6200 gone 1         -> release 1 | gone 1 drained 159ms
        ";
    check_second("built 2 a2 kept", &[gone, transcript].concat());
}

/// README: should that start crash soon as well, it leads to no older build.
#[test]
fn a_build_that_has_served_for_long_is_not_gone_back_from_though_it_does_not_start() {
    check_alone(
        "
        20000 exited 2 101 -> relay 2, hold | failed 2 (crashed (exit status 101)), again 2 1000ms
        21000 tick         -> start 3 a2 | starting 3 crash
        21010 exited 3 1   -> relay 3, hold, answer 3 | failed 3 (exited before it was ready (exit status 1)), waiting
        25000 tick         -> nothing
        ",
    );
}

/// Its configuration, most likely.
#[test]
fn a_restart_of_the_same_build_is_not_the_builds_fault() {
    check_alone(
        "
        20000 changed-restart -> start 3 a2 | starting 3 change
        20030 ready 3         -> switch 3 | ready 3 30ms
        20031 switched 3      -> settle 2 | live 3 1ms, draining 2 10000ms
        20100 settled 2       -> inspect 2
        20101 handles-stop 2  -> relay 2, stop 2
        20200 gone 2          -> release 2 | gone 2 drained 169ms
        21000 exited 3 1      -> relay 3, hold | failed 3 (crashed (exit status 1)), again 3 1000ms
        22000 tick            -> start 4 a2 | starting 4 crash
        22030 ready 4         -> switch 4 | ready 4 30ms
        22031 switched 4      -> | live 4 1ms
        23000 exited 4 1      -> relay 4, hold | failed 4 (crashed (exit status 1)), again 4 1000ms
        ",
    );
}

/// It is the same build, and one that serves.
#[test]
fn what_a_restart_has_replaced_serves_again_while_it_drains() {
    check_alone(
        "
        20000 changed-restart -> start 3 a2 | starting 3 change
        20030 ready 3         -> switch 3 | ready 3 30ms
        20031 switched 3      -> settle 2 | live 3 1ms, draining 2 10000ms
        21000 exited 3 1      -> switch 2, relay 3
        21000 switched 2      -> | failed 3 (crashed (exit status 1); 2 serves), restored 2
        ",
    );
}

#[test]
fn a_restart_that_stops_first_and_fails_leads_to_no_older_build() {
    check(
        &stop_first(&cargo()),
        "
         5000 changed         -> build 2 | building 2 change
         6000 built 2 a2 kept -> hold, settle 1 | built 2 1000ms, draining 1 10000ms
         6100 gone 1          -> relay 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
         6140 ready 2         -> switch 2 | ready 2 40ms
         6141 switched 2      -> | live 2 1ms
        20000 changed-restart -> hold, settle 2 | draining 2 10000ms
        20100 gone 2          -> relay 2, release 2, start 3 a2 | gone 2 drained 100ms, starting 3 change
        20110 exited 3 1      -> relay 3, hold, answer 3 | failed 3 (exited before it was ready (exit status 1)), waiting
        ",
    );
}

/// Of assets alone, or of nothing.
#[test]
fn a_build_that_left_the_executable_alone_is_not_gone_back_from() {
    check_second(
        "built 2 a1 kept",
        "
        6100 settled 1      -> inspect 1
        6101 handles-stop 1 -> relay 1, stop 1
        6200 gone 1         -> release 1 | gone 1 drained 159ms
        6300 undo           -> | nothing-to-undo
        6500 exited 2 101   -> relay 2, hold | failed 2 (crashed (exit status 101)), again 2 1000ms
        7500 tick           -> start 3 a1 | starting 3 crash
        ",
    );
}

/// Whoever cleans the target directory takes it with him.
#[test]
fn where_the_old_executable_is_gone_the_new_one_is_started_once_more() {
    check_alone(
        "
        6500 exited 2 101   -> relay 2, hold, start 3 a1 | failed 2 (crashed (exit status 101)), starting 3 go-back
        6501 start-failed 3 -> relay 3, hold, release 3 | failed 3 (could not be started), again 2 1000ms
        7501 tick           -> start 4 a2 | starting 4 crash
        7502 start-failed 4 -> relay 4, hold, release 4, answer 4 | failed 4 (could not be started), waiting
        8000 undo           -> | nothing-to-undo
        ",
    );
}

#[test]
fn whoever_ends_well_is_left_alone_though_the_one_before_it_still_drains() {
    check_second(
        "built 2 a2 kept",
        "
        6500 exited 2 0     -> relay 2, hold, answer 2 | failed 2 (crashed (exit status 0)), waiting
        6501 gone 2         -> release 2 | gone 2 drained 1ms
        6600 settled 1      -> inspect 1
        ",
    );
}

/// As hotrun runs where nothing can be taken over.
fn unadopted() -> Policy {
    let passes_sockets = false;
    Policy {
        passes_sockets,
        ..stop_first(&cargo())
    }
}

#[test]
fn who_listens_only_after_the_switch_is_a_server_too() {
    check(
        &unadopted(),
        "
         500 listens 1   -> nothing
        5000 changed     -> build 2 | building 2 change
        6000 built 2 a2 -> hold, settle 1 | built 2 1000ms, draining 1 10000ms
        6100 gone 1      -> relay 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6110 exited 2 1  -> relay 2, hold | failed 2 (exited before it was ready (exit status 1))
        6111 gone 2      -> release 2, start 3 a1 | gone 2 drained 1ms, starting 3 go-back
        ",
    );
}

#[test]
fn who_says_that_it_is_ready_is_a_server_whatever_it_listens_on() {
    for policy in [unadopted(), auto(&command())] {
        check(
            &policy,
            "
            500 serves 1    -> nothing
            15000 exited 1 1 -> relay 1, hold | failed 1 (crashed (exit status 1)), again 1 1000ms
            16000 gone 1     -> release 1, start 2 a1 | gone 1 drained 1000ms, starting 2 crash
            ",
        );
    }
}

/// What was gone back to is no better a second time.
#[test]
fn what_was_undone_to_no_avail_is_not_gone_back_to() {
    check(
        &stop_first(&cargo()),
        "
        5000 changed    -> build 2 | building 2 change
        6000 built 2 a2 -> hold, settle 1 | built 2 1000ms, draining 1 10000ms
        6100 gone 1     -> relay 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6140 ready 2    -> switch 2 | ready 2 40ms
        6141 switched 2 -> | live 2 1ms
        7000 undo       -> hold, settle 2 | draining 2 10000ms
        7100 gone 2     -> relay 2, release 2, start 3 a1 | gone 2 drained 100ms, starting 3 undo
        7110 exited 3 1 -> relay 3, hold, answer 3 | failed 3 (exited before it was ready (exit status 1)), waiting
        ",
    );
}

/// The newest build is the one that has crashed.
#[test]
fn what_came_back_and_was_not_kept_is_not_started_once_more() {
    check_built(
        &cargo(),
        "built 1 a1",
        "
        5000 changed       -> build 2 | building 2 change
        6000 built 2 a2 -> start 2 a2 | built 2 1000ms, starting 2 change
        6040 ready 2       -> switch 2 | ready 2 40ms
        6041 switched 2    -> settle 1 | live 2 1ms, draining 1 10000ms
        6500 exited 2 101  -> switch 1, relay 2
        6500 switched 1    -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6501 gone 2        -> release 2 | gone 2 drained 1ms
        20000 exited 1 101 -> relay 1, hold, answer 1 | failed 1 (crashed (exit status 101)), waiting
        21000 tick         -> nothing
        ",
    );
}
