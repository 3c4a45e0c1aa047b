//! How hotrun quits.

use super::{auto, cargo, check, check_draining, check_serving, command, stop_first};

#[test]
fn quitting_finishes_at_once_before_the_first_build() {
    check(
        &cargo(),
        "
        0 requested quit -> finish clean | quitting 10s
        ",
    );
}

#[test]
fn quitting_finishes_at_once_if_nothing_is_running() {
    check(
        &cargo(),
        "
           0 begin                -> build 1 | building 1 begin
        1000 build-ended 1 failed -> respond-unavailable 1 build | failed 1 build, waiting
        2000 requested quit       -> finish clean | quitting 10s
        2001 requested quit       -> nothing
        2002 changed build        -> nothing
        2003 begin                -> nothing
        9000 tick                 -> nothing
        ",
    );
}

#[test]
fn quitting_cancels_a_running_build() {
    check(
        &cargo(),
        "
          0 begin                   -> build 1 | building 1 begin
        500 requested quit          -> cancel-build 1 | quitting 10s
        510 build-ended 1 cancelled -> finish clean | build-cancelled 1
        511 build-ended 1 cancelled -> nothing
        ",
    );
}

#[test]
fn quitting_ignores_a_build_that_succeeds_despite_its_cancellation() {
    check(
        &cargo(),
        "
          0 begin                  -> build 1 | building 1 begin
        500 requested quit         -> cancel-build 1 | quitting 10s
        510 build-ended 1 built a1 -> finish clean | outdated 1
        ",
    );
}

#[test]
fn quitting_waits_for_a_build_that_is_already_being_cancelled() {
    check(
        &cargo(),
        "
          0 begin                   -> build 1 | building 1 begin
        400 changed build           -> cancel-build 1
        500 requested quit          -> | quitting 10s
        510 build-ended 1 cancelled -> finish clean | build-cancelled 1
        ",
    );
}

#[test]
fn quitting_does_not_wait_forever_for_a_build() {
    check(
        &cargo(),
        "
            0 begin          -> build 1 | building 1 begin
          500 requested quit -> cancel-build 1 | quitting 10s
        15499 tick           -> nothing
        15500 tick           -> finish
        ",
    );
}

#[test]
fn quitting_stops_a_starting_generation() {
    check(
        &command(),
        "
         0 begin             -> start 1 a1 | starting 1 begin
        10 requested quit    -> stop 1 | quitting 10s
        11 ready 1           -> nothing
        20 exited 1 code 143 -> nothing
        21 gone 1            -> release 1, finish clean | gone 1 drained 11ms
        ",
    );
}

#[test]
fn quitting_finishes_cleanly_if_a_start_fails() {
    check(
        &command(),
        "
         0 begin          -> start 1 a1 | starting 1 begin
        10 requested quit -> stop 1 | quitting 10s
        11 start-failed 1 -> release 1, finish clean | gone 1 drained 1ms
        ",
    );
}

#[test]
fn quitting_during_a_switch_stops_both_generations() {
    check_serving(
        &command(),
        "
        100 changed build  -> start 2 a1 | starting 2 change
        130 ready 2        -> switch 2 | ready 2 30ms
        130 requested quit -> await-idle 2, await-idle 1 | quitting 10s
        131 switched 2     -> nothing
        132 idle 2         -> stop 2
        133 idle 1         -> stop 1
        140 gone 1         -> release 1 | gone 1 drained 10ms
        150 gone 2         -> release 2, finish clean | gone 2 drained 20ms
        ",
    );
}

#[test]
fn quitting_stops_the_live_generation() {
    check_serving(
        &command(),
        "
        100 requested quit   -> await-idle 1 | quitting 10s
        101 changed build    -> nothing
        102 requested reload -> nothing
        120 idle 1           -> stop 1
        200 exited 1 code 0  -> nothing
        201 gone 1           -> release 1, finish clean | gone 1 drained 101ms
        ",
    );
}

#[test]
fn quitting_stops_the_live_generation_and_cancels_the_build() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        5100 requested quit          -> cancel-build 2, await-idle 1 | quitting 10s
        5120 idle 1                  -> stop 1
        5200 gone 1                  -> release 1 | gone 1 drained 100ms
        5300 build-ended 2 cancelled -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quitting_waits_for_the_requests_in_progress_and_then_stops_the_program_in_time() {
    check_serving(
        &command(),
        "
          100 requested quit -> await-idle 1 | quitting 10s
         8099 tick           -> nothing
         8100 tick           -> stop 1
        10099 tick           -> nothing
        10100 tick           -> kill 1 | killing 1 timed-out 10s
        ",
    );
    check_serving(
        &command(),
        "
         100 requested quit        -> await-idle 1 | quitting 10s
         100 handles-stop-signal 1 -> nothing
        2099 tick                  -> nothing
        2100 tick                  -> stop 1
        2100 idle 1                -> nothing
        ",
    );
}

#[test]
fn quitting_stops_a_program_that_is_no_server_at_once() {
    check_serving(
        &auto(&command()),
        "
        100 requested quit -> stop 1 | quitting 10s
        ",
    );
}

#[test]
fn quitting_also_waits_for_the_requests_of_a_draining_generation() {
    check_draining(
        &command(),
        "
         1010 quiescent 1    -> await-idle 1 pause 5s
         1100 requested quit -> await-idle 2 | quitting 10s
         1200 idle 2         -> stop 2
         9100 tick           -> forward 1, stop 1
        11010 tick           -> kill 1 | killing 1 timed-out 10.01s
        ",
    );
}

#[test]
fn quitting_also_stops_a_draining_generation() {
    check_draining(
        &command(),
        "
        1100 requested quit  -> await-idle 2, await-idle 1 | quitting 10s
        1120 idle 1          -> forward 1, stop 1
        1130 idle 2          -> stop 2
        1200 exited 1 code 0 -> nothing
        1201 gone 1          -> release 1 | gone 1 drained 201ms
        1300 gone 2          -> release 2, finish clean | gone 2 drained 200ms
        ",
    );
}

#[test]
fn a_crash_while_quitting_is_not_reported_as_a_failure() {
    check_serving(
        &command(),
        "
        100 requested quit    -> await-idle 1 | quitting 10s
        101 exited 1 code 101 -> stop 1
        102 gone 1            -> release 1, finish clean | gone 1 drained 2ms
        ",
    );
}

#[test]
fn quitting_kills_a_program_that_ignores_the_stop_signal() {
    check_serving(
        &command(),
        "
          100 requested quit -> await-idle 1 | quitting 10s
          120 idle 1         -> stop 1
        10099 tick           -> nothing
        10100 tick           -> kill 1 | killing 1 timed-out 10s
        10200 gone 1         -> release 1, finish | gone 1 timed-out 10.1s
        ",
    );
}

#[test]
fn quitting_finishes_even_if_a_program_survives_the_kill() {
    check_serving(
        &command(),
        "
          100 requested quit -> await-idle 1 | quitting 10s
          120 idle 1         -> stop 1
        10100 tick           -> kill 1 | killing 1 timed-out 10s
        15099 tick           -> nothing
        15100 tick           -> finish
        15101 gone 1         -> nothing
        15102 tick           -> nothing
        ",
    );
}

#[test]
fn a_tick_that_arrives_much_too_late_kills_the_program_and_finishes() {
    check_serving(
        &command(),
        "
          100 requested quit -> await-idle 1 | quitting 10s
          120 idle 1         -> stop 1
        90000 tick           -> kill 1, finish | killing 1 timed-out 89.9s
        ",
    );
}

#[test]
fn quitting_at_once_kills_the_programs_that_are_being_stopped() {
    check_draining(
        &command(),
        "
        1100 requested quit     -> await-idle 2, await-idle 1 | quitting 10s
        1150 requested quit     -> nothing
        1160 idle 2             -> stop 2
        1200 requested quit-now -> forward 1, kill 1, kill 2 | killing 1 killed 200ms, killing 2 killed 100ms
        1201 exited 1 code 137  -> nothing
        1202 gone 1             -> release 1 | gone 1 killed 202ms
        1203 gone 2             -> release 2, finish clean | gone 2 killed 103ms
        ",
    );
}

#[test]
fn quitting_at_once_finishes_even_if_a_program_survives_the_kill() {
    check_serving(
        &command(),
        "
         100 requested quit     -> await-idle 1 | quitting 10s
         200 requested quit-now -> kill 1 | killing 1 killed 100ms
         300 requested quit-now -> nothing
        5199 tick               -> nothing
        5200 tick               -> finish
        ",
    );
}

#[test]
fn quitting_at_once_kills_the_live_generation() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        5100 requested quit-now      -> cancel-build 2, await-idle 1, kill 1 | quitting 10s, killing 1 killed 0ns
        5101 gone 1                  -> release 1 | gone 1 killed 1ms
        5102 build-ended 2 cancelled -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quitting_starts_no_new_generation_in_stop_first_mode() {
    check_serving(
        &stop_first(&command()),
        "
        100 changed build  -> hold, await-quiescent 1 | draining 1 10s
        150 requested quit -> await-idle 1 | quitting 10s
        170 idle 1         -> forward 1, stop 1
        200 gone 1         -> release 1, finish clean | gone 1 drained 100ms
        ",
    );
}
