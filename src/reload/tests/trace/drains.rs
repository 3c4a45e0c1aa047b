//! How an old generation drains.

use std::time::Duration;

use super::{check_draining, check_serving, command, stop_first};
use crate::reload::Policy;

#[test]
fn the_stop_signal_waits_until_the_generation_is_quiescent() {
    check_draining(
        &command(),
        "
        1020 tick                  -> nothing
        1100 quiescent 1           -> await-idle 1 pause 5s
        1101 handles-stop-signal 1 -> nothing
        1101 idle 1                -> forward 1, stop 1
        ",
    );
}

#[test]
fn the_stop_signal_waits_no_longer_than_the_maximum_delay() {
    check_draining(
        &command(),
        "
        1249 tick                  -> nothing
        1250 tick                  -> await-idle 1 pause 5s
        1251 quiescent 1           -> nothing
        1252 handles-stop-signal 1 -> nothing
        1252 idle 1                -> forward 1, stop 1
        ",
    );
}

#[test]
fn a_program_that_handles_the_stop_signal_but_never_becomes_idle_gets_it_after_two_fifths_of_the_timeout()
 {
    check_draining(
        &command(),
        "
         1100 quiescent 1           -> await-idle 1 pause 5s
         1101 handles-stop-signal 1 -> nothing
         5100 tick                  -> nothing
         5101 tick                  -> forward 1, stop 1
         5102 idle 1                -> nothing
        11099 tick                  -> nothing
        11100 tick                  -> kill 1 | killing 1 timed-out 10.1s
        ",
    );
}

#[test]
fn a_longer_stop_timeout_gives_requests_more_time_before_the_stop_signal() {
    let policy = Policy {
        stop_timeout: Duration::from_secs(30),
        ..command()
    };
    check_draining(
        &policy,
        "
         1100 quiescent 1           -> await-idle 1 pause 5s
         1100 handles-stop-signal 1 -> nothing
        13099 tick                  -> nothing
        13100 tick                  -> forward 1, stop 1
        ",
    );
}

#[test]
fn while_no_generation_is_live_the_stop_signal_waits_half_as_long() {
    check_serving(
        &stop_first(&command()),
        "
        5000 changed build         -> hold, await-quiescent 1 | draining 1 10s
        5100 quiescent 1           -> await-idle 1
        5100 handles-stop-signal 1 -> nothing
        7099 tick                  -> nothing
        7100 tick                  -> forward 1, stop 1
        ",
    );
}

#[test]
fn a_program_that_does_not_handle_the_stop_signal_gets_it_once_idle() {
    check_draining(
        &command(),
        "
        1100 quiescent 1       -> await-idle 1 pause 5s
        3000 idle 1            -> forward 1, stop 1
        3001 exited 1 code 143 -> nothing
        3002 gone 1            -> release 1 | gone 1 drained 2.002s
        ",
    );
}

#[test]
fn a_program_that_never_becomes_idle_gets_the_stop_signal_at_the_stop_timeout() {
    check_draining(
        &command(),
        "
         1100 quiescent 1       -> await-idle 1 pause 5s
        11099 tick              -> nothing
        11100 tick              -> forward 1, stop 1
        13099 tick              -> nothing
        13100 tick              -> kill 1 | killing 1 timed-out 12.1s
        13101 exited 1 code 137 -> nothing
        13102 gone 1            -> release 1 | gone 1 timed-out 12.102s
        ",
    );
}

#[test]
fn a_program_that_ignores_the_stop_signal_is_killed() {
    check_draining(
        &command(),
        "
         1100 quiescent 1           -> await-idle 1 pause 5s
         1101 handles-stop-signal 1 -> nothing
         1101 idle 1                -> forward 1, stop 1
        11099 tick                  -> nothing
        11100 tick                  -> kill 1 | killing 1 timed-out 10.1s
        11300 tick                  -> nothing
        11352 gone 1                -> release 1 | gone 1 timed-out 10.352s
        ",
    );
}

#[test]
fn a_stop_timeout_that_is_noticed_much_too_late_kills_the_program_at_once() {
    check_draining(
        &command(),
        "
        30000 tick   -> forward 1, kill 1 | killing 1 timed-out 29s
        30001 gone 1 -> release 1 | gone 1 timed-out 29.001s
        ",
    );
}

#[test]
fn a_program_that_exits_before_the_stop_signal_counts_as_drained() {
    check_draining(
        &command(),
        "
        1100 exited 1 code 0 -> forward 1, stop 1
        1101 gone 1          -> release 1 | gone 1 drained 101ms
        ",
    );
}

#[test]
fn a_crash_during_a_drain_is_not_reported_as_a_failure() {
    check_draining(
        &command(),
        "
         1100 exited 1 code 101 survivors -> forward 1, stop 1
        11250 tick                        -> kill 1 | killing 1 timed-out 10.25s
        11252 gone 1                      -> release 1 | gone 1 timed-out 10.252s
        ",
    );
}

#[test]
fn a_drain_lasts_until_the_processes_that_a_program_leaves_behind_have_ended() {
    check_draining(
        &command(),
        "
        1100 quiescent 1               -> await-idle 1 pause 5s
        1101 handles-stop-signal 1     -> nothing
        1101 idle 1                    -> forward 1, stop 1
        1200 exited 1 code 0 survivors -> nothing
        5000 gone 1                    -> release 1 | gone 1 drained 4s
        ",
    );
}

#[test]
fn the_end_of_a_program_is_reported_with_the_connections_that_were_in_use() {
    check_draining(
        &command(),
        "
        1100 quiescent 1           -> await-idle 1 pause 5s
        1101 handles-stop-signal 1 -> nothing
        5101 tick                  -> forward 1, stop 1
        5102 exited 1 code 0       -> nothing
        5103 gone 1 in_use 4       -> release 1 | gone 1 drained in_use 4 4.103s
        ",
    );
}

/// Otherwise, connections that are waiting in the generation's listeners would be lost.
#[test]
fn connections_of_a_draining_program_that_vanishes_are_forwarded() {
    check_draining(
        &command(),
        "
        1100 gone 1 -> forward 1, release 1 | gone 1 drained 100ms
        ",
    );
}

#[test]
fn a_drain_does_not_block_the_next_reload() {
    check_draining(
        &command(),
        "
         1100 quiescent 1           -> await-idle 1 pause 5s
         1101 handles-stop-signal 1 -> nothing
         1101 idle 1                -> forward 1, stop 1
         1200 changed build         -> start 3 a1 | starting 3 change
         1230 ready 3               -> switch 3 | ready 3 30ms
         1231 switched 3            -> await-quiescent 2 | live 3 1ms, draining 2 10s
         1300 quiescent 2           -> await-idle 2 pause 5s
         1301 handles-stop-signal 2 -> nothing
         1301 idle 2                -> forward 2, stop 2
         1400 gone 2                -> release 2 | gone 2 drained 169ms
        11250 tick                  -> kill 1 | killing 1 timed-out 10.25s
        11251 gone 1                -> release 1 | gone 1 timed-out 10.251s
        ",
    );
}
