//! What a program says of itself.

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
fn a_start_takes_the_time_that_the_program_asks_for() {
    check(
        &command(),
        "
        0 begin           -> start 1 a1 | starting 1 begin
        100 extends 1 5000  -> nothing
        50000 extends 1 20000 -> | extended 1 20000ms
        60000 tick        -> nothing
        69000 extends 1 20000 -> | extended 1 20000ms
        70000 tick        -> nothing
        89000 tick        -> relay 1, hold, stop 1, answer 1 | failed 1 (was not ready in time), waiting
        ",
    );
}

#[test]
fn an_end_takes_the_time_that_the_program_asks_for() {
    check_draining(
        &command(),
        "
        1020 settled 1       -> inspect 1
        1021 handles-stop 1  -> relay 1, stop 1
        1022 extends 2 60000 -> nothing
        9000 extends 1 5000  -> | extended 1 5000ms
        13000 tick           -> nothing
        14000 tick           -> kill 1 | killing 1 timed-out
        14001 extends 1 5000 -> nothing
        14010 gone 1         -> release 1 | gone 1 timed-out 13010ms
        ",
    );
}

/// And so the end of hotrun waits for it; who insists does not.
#[test]
fn quit_waits_for_one_that_asks_for_time() {
    check_serving(
        &command(),
        "
        5000 quit            -> stop 1 | quitting 10000ms
        5001 extends 1 60000 -> | extended 1 60000ms
        20000 tick           -> nothing
        64000 quit-now       -> kill 1 | killing 1 killed
        64010 gone 1         -> release 1, finish clean | gone 1 killed 59010ms
        ",
    );
}

/// From then on each ends before the next one starts, for the last that it stores comes with its end.
#[test]
fn one_that_stores_ends_before_the_next_starts() {
    check_serving(
        &cargo(),
        "
        4000 stores 1       -> | stores 1
        4001 stores 1       -> nothing
        5000 changed        -> build 2 | building 2 change
        6000 built 2 a2 -> hold, settle 1 | built 2 1000ms, draining 1 10000ms
        6020 settled 1      -> inspect 1
        6021 handles-stop 1 -> relay 1, stop 1
        6050 stores 1       -> nothing
        6100 gone 1         -> release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        ",
    );
}

/// It was live beside its heir: that is started anew once it is gone.
#[test]
fn the_first_that_is_stored_too_late_is_inherited_by_a_restart() {
    check_draining(
        &command(),
        "
        1020 settled 1      -> inspect 1
        1021 handles-stop 1 -> relay 1, stop 1
        1050 stores 1       -> hold, settle 2 | stores 1, draining 2 10000ms
        1060 gone 1         -> release 1 | gone 1 drained 60ms
        1070 settled 2      -> inspect 2
        1071 handles-stop 2 -> relay 2, stop 2
        1080 stores 2       -> nothing
        1090 gone 2         -> release 2, start 3 a1 | gone 2 drained 40ms, starting 3 inherit
        1120 ready 3        -> switch 3 | ready 3 30ms
        1121 switched 3     -> | live 3 1ms
        ",
    );
}

/// The one that starts beside it would get nothing.
#[test]
fn what_starts_beside_one_that_begins_to_store_is_started_anew() {
    check_serving(
        &command(),
        "
        5000 changed        -> start 2 a1 | starting 2 change
        5010 stores 1       -> relay 2, stop 2, hold, settle 1 | stores 1, superseded 2, draining 1 10000ms
        ",
    );
    check_serving(
        &queue(&command()),
        "
        5000 changed        -> start 2 a1 | starting 2 change
        5010 stores 1       -> | stores 1
        5020 ready 2        -> switch 2 | ready 2 20ms
        5021 switched 2     -> settle 1, hold, settle 2 | live 2 1ms, draining 1 10000ms, draining 2 10000ms
        ",
    );
}

#[test]
fn a_first_generation_may_store_at_once() {
    check(
        &command(),
        "
        0 begin       -> start 1 a1 | starting 1 begin
        10 stores 1   -> | stores 1
        30 ready 1    -> switch 1 | ready 1 30ms
        31 switched 1 -> | live 1 1ms
        ",
    );
}

#[test]
fn one_that_gives_no_sign_of_life_is_aborted_and_then_killed() {
    check(
        &watched(),
        "
        0 begin       -> build 1 | building 1 begin
        10 built 1 a1 -> start 1 a1 | built 1 10ms, starting 1 begin
        5000 ready 1  -> switch 1 | ready 1 4990ms
        5001 switched 1 -> | live 1 1ms
        5900 alive 1  -> nothing
        6800 alive 1  -> nothing
        7800 tick     -> abort 1 | aborting 1 1000ms
        7900 alive 1  -> nothing
        17800 tick    -> kill 1
        17810 exited 1 137 -> relay 1, hold, answer 1 | failed 1 (crashed (exit status 137)), waiting
        17811 gone 1  -> release 1 | gone 1 drained 1ms
        ",
    );
}

/// Without `--watchdog` too.
#[test]
fn a_program_may_choose_its_watchdog_itself() {
    check_serving(
        &cargo(),
        "
        1000 alive 1       -> nothing
        1000 period 1 500  -> nothing
        1400 alive 1       -> nothing
        1500 period 1 0    -> nothing
        9000 tick          -> nothing
        9000 period 1 2000 -> nothing
        11000 tick         -> abort 1 | aborting 1 2000ms
        ",
    );
}

#[test]
fn a_program_may_say_itself_that_it_hangs() {
    check_serving(
        &cargo(),
        "
        1000 trigger 1    -> abort 1 | aborting 1
        1001 trigger 1    -> nothing
        1010 exited 1 134 -> relay 1, hold, answer 1 | failed 1 (crashed (exit status 134)), waiting
        ",
    );
}

/// It would be switched to just before its end.
#[test]
fn one_that_is_aborted_before_it_is_ready_never_is() {
    check(
        &command(),
        "
        0 begin      -> start 1 a1 | starting 1 begin
        10 trigger 1 -> abort 1 | aborting 1
        20 ready 1   -> nothing
        30 gone 1    -> relay 1, hold, release 1, answer 1 | failed 1 (vanished), gone 1 drained 0ms, waiting
        ",
    );
}
