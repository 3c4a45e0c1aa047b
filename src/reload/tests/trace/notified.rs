//! Notifications from a program (`sd_notify(3)`).

use std::time::Duration;

use super::{cargo, check, check_draining, check_serving, command, queue};
use crate::reload::Policy;

fn watched() -> Policy {
    let watchdog = Some(Duration::from_secs(1));
    Policy {
        watchdog,
        ..cargo()
    }
}

#[test]
fn a_program_can_ask_for_more_time_to_start() {
    check(
        &command(),
        "
            0 begin                -> start 1 a1 | starting 1 begin
          100 extend-timeout 1 5s  -> nothing
        50000 extend-timeout 1 20s -> | timeout-extended 1 20s
        60000 tick                 -> nothing
        69000 extend-timeout 1 20s -> | timeout-extended 1 20s
        70000 tick                 -> nothing
        89000 tick                 -> forward 1, hold, stop 1, respond-unavailable 1 ready-timeout | failed 1 ready-timeout, waiting
        ",
    );
}

#[test]
fn a_program_can_ask_for_more_time_to_exit() {
    check_draining(
        &command(),
        "
         1020 quiescent 1           -> await-idle 1 pause 5s
         1021 handles-stop-signal 1 -> nothing
         1021 idle 1                -> forward 1, stop 1
         1022 extend-timeout 2 60s  -> nothing
         9000 extend-timeout 1 5s   -> | timeout-extended 1 5s
        13000 tick                  -> nothing
        14000 tick                  -> kill 1 | killing 1 timed-out 13s
        14001 extend-timeout 1 5s   -> nothing
        14010 gone 1                -> release 1 | gone 1 timed-out 13.01s
        ",
    );
}

/// The request `quit-now` still kills the program at once.
#[test]
fn quitting_waits_for_a_program_that_asked_for_more_time() {
    check_serving(
        &command(),
        "
         5000 requested quit       -> await-idle 1 | quitting 10s
         5000 idle 1               -> stop 1
         5001 extend-timeout 1 60s -> | timeout-extended 1 60s
        20000 tick                 -> nothing
        64000 requested quit-now   -> kill 1 | killing 1 killed 59s
        64010 gone 1               -> release 1, finish clean | gone 1 killed 59.01s
        ",
    );
}

/// A program may store descriptors until it ends.
#[test]
fn a_program_that_stores_descriptors_ends_before_the_next_one_starts() {
    check_serving(
        &cargo(),
        "
        4000 stored-fds 1           -> | stored-fds 1
        4001 stored-fds 1           -> nothing
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6020 quiescent 1            -> await-idle 1
        6021 handles-stop-signal 1  -> nothing
        6021 idle 1                 -> forward 1, stop 1
        6050 stored-fds 1           -> nothing
        6100 gone 1                 -> release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        ",
    );
}

/// The next generation is already live, and is restarted to inherit the descriptors.
#[test]
fn descriptors_stored_too_late_cause_a_restart_that_inherits_them() {
    check_draining(
        &command(),
        "
        1020 quiescent 1           -> await-idle 1 pause 5s
        1021 handles-stop-signal 1 -> nothing
        1021 idle 1                -> forward 1, stop 1
        1050 stored-fds 1          -> hold, await-quiescent 2 | stored-fds 1, draining 2 10s
        1060 gone 1                -> release 1 | gone 1 drained 60ms
        1070 quiescent 2           -> await-idle 2
        1071 handles-stop-signal 2 -> nothing
        1071 idle 2                -> forward 2, stop 2
        1080 stored-fds 2          -> nothing
        1090 gone 2                -> release 2, start 3 a1 | gone 2 drained 40ms, starting 3 inherit-fds
        1120 ready 3               -> switch 3 | ready 3 30ms
        1121 switched 3            -> | live 3 1ms
        ",
    );
}

/// Without the restart, the second generation would inherit no descriptors.
#[test]
fn a_generation_started_too_early_to_inherit_descriptors_is_restarted() {
    check_serving(
        &command(),
        "
        5000 changed build -> start 2 a1 | starting 2 change
        5010 stored-fds 1  -> forward 2, stop 2, hold, await-quiescent 1 | stored-fds 1, superseded 2, draining 1 10s
        ",
    );
    check_serving(
        &queue(&command()),
        "
        5000 changed build -> start 2 a1 | starting 2 change
        5010 stored-fds 1  -> | stored-fds 1
        5020 ready 2       -> switch 2 | ready 2 20ms
        5021 switched 2    -> await-quiescent 1, hold, await-quiescent 2 | live 2 1ms, draining 1 10s, draining 2 10s
        ",
    );
}

#[test]
fn the_first_generation_may_store_descriptors_while_it_is_starting() {
    check(
        &command(),
        "
         0 begin        -> start 1 a1 | starting 1 begin
        10 stored-fds 1 -> | stored-fds 1
        30 ready 1      -> switch 1 | ready 1 30ms
        31 switched 1   -> | live 1 1ms
        ",
    );
}

#[test]
fn a_program_that_sends_no_ping_is_aborted_and_then_killed() {
    check(
        &watched(),
        "
            0 begin                  -> build 1 | building 1 begin
           10 build-ended 1 built a1 -> start 1 a1 | built 1 10ms, starting 1 begin
         5000 ready 1                -> switch 1 | ready 1 4.99s
         5001 switched 1             -> | live 1 1ms
         5900 watchdog 1 ping        -> nothing
         6800 watchdog 1 ping        -> nothing
         7800 tick                   -> abort 1 | aborting 1 after 1s
         7900 watchdog 1 ping        -> nothing
        17800 tick                   -> kill 1
        17810 exited 1 code 137      -> forward 1, hold, respond-unavailable 1 crashed code 137 | failed 1 crashed code 137, waiting
        17811 gone 1                 -> release 1 | gone 1 drained 1ms
        ",
    );
}

/// The program's own period takes effect even without `--watchdog`.
#[test]
fn a_program_can_set_its_own_watchdog_period() {
    check_serving(
        &cargo(),
        "
         1000 watchdog 1 ping         -> nothing
         1000 watchdog 1 period 500ms -> nothing
         1400 watchdog 1 ping         -> nothing
         1500 watchdog 1 period 0ms   -> nothing
         9000 tick                    -> nothing
         9000 watchdog 1 period 2s    -> nothing
        11000 tick                    -> abort 1 | aborting 1 after 2s
        ",
    );
}

#[test]
fn a_program_can_trigger_its_watchdog() {
    check_serving(
        &cargo(),
        "
        1000 watchdog 1 trigger -> abort 1 | aborting 1
        1001 watchdog 1 trigger -> nothing
        1010 exited 1 code 134  -> forward 1, hold, respond-unavailable 1 crashed code 134 | failed 1 crashed code 134, waiting
        ",
    );
}

/// Otherwise hotrun would switch to a program that is about to end.
#[test]
fn an_aborted_program_never_becomes_ready() {
    check(
        &command(),
        "
         0 begin              -> start 1 a1 | starting 1 begin
        10 watchdog 1 trigger -> abort 1 | aborting 1
        20 ready 1            -> nothing
        30 gone 1             -> forward 1, hold, release 1, respond-unavailable 1 vanished | failed 1 vanished, gone 1 drained 0ns, waiting
        ",
    );
}

/// Generation 1 removes the path on exit, and generation 3 before it fails.
#[test]
fn the_path_of_an_own_socket_is_restored_while_another_generation_ends_but_not_while_one_starts() {
    check_draining(
        &command(),
        "
        1010 listens-on-path 2 -> keep-paths 2
        1020 quiescent 1       -> await-idle 1 pause 5s
        1030 idle 1            -> forward 1, stop 1, restore-paths 2
        1050 tick              -> restore-paths 2
        1055 changed build     -> start 3 a1 | starting 3 change
        1061 gone 1            -> release 1 | gone 1 drained 61ms
        1070 exited 3 code 1   -> forward 3, restore-paths 2 | failed 3 exited-early code 1 live 2
        1090 tick              -> restore-paths 2
        1091 gone 3            -> release 3, restore-paths 2 | gone 3 drained 21ms
        ",
    );
}
