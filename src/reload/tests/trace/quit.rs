//! How hotrun quits.

use super::{cargo, check, check_draining, check_serving, command, stop_first};

#[test]
fn quit_before_the_first_build() {
    check(
        &cargo(),
        "
        0 requested quit -> finish clean | quitting 10s
        ",
    );
}

#[test]
fn quit_when_nothing_is_running() {
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
fn quit_during_a_build() {
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
fn quit_during_a_build_that_succeeds() {
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
fn quit_during_a_build_that_is_being_cancelled() {
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
fn quit_during_a_build_that_does_not_end() {
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
fn quit_during_a_start() {
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
fn quit_during_a_start_that_fails() {
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
fn quit_during_a_switch() {
    check_serving(
        &command(),
        "
        100 changed build  -> start 2 a1 | starting 2 change
        130 ready 2        -> switch 2 | ready 2 30ms
        130 requested quit -> stop 2, stop 1 | quitting 10s
        131 switched 2     -> nothing
        140 gone 1         -> release 1 | gone 1 drained 10ms
        150 gone 2         -> release 2, finish clean | gone 2 drained 20ms
        ",
    );
}

#[test]
fn quit_while_live() {
    check_serving(
        &command(),
        "
        100 requested quit   -> stop 1 | quitting 10s
        101 changed build    -> nothing
        102 requested reload -> nothing
        200 exited 1 code 0  -> nothing
        201 gone 1           -> release 1, finish clean | gone 1 drained 101ms
        ",
    );
}

#[test]
fn quit_while_live_and_building() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        5100 requested quit          -> cancel-build 2, stop 1 | quitting 10s
        5200 gone 1                  -> release 1 | gone 1 drained 100ms
        5300 build-ended 2 cancelled -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quit_during_a_drain() {
    check_draining(
        &command(),
        "
        1100 requested quit  -> stop 2, forward 1, stop 1 | quitting 10s
        1200 exited 1 code 0 -> nothing
        1201 gone 1          -> release 1 | gone 1 drained 201ms
        1300 gone 2          -> release 2, finish clean | gone 2 drained 200ms
        ",
    );
}

/// A crash during quit is not a failure.
#[test]
fn quit_when_a_program_crashes() {
    check_serving(
        &command(),
        "
        100 requested quit    -> stop 1 | quitting 10s
        101 exited 1 code 101 -> nothing
        102 gone 1            -> release 1, finish clean | gone 1 drained 2ms
        ",
    );
}

#[test]
fn quit_when_a_program_ignores_the_stop_signal() {
    check_serving(
        &command(),
        "
          100 requested quit -> stop 1 | quitting 10s
        10099 tick           -> nothing
        10100 tick           -> kill 1 | killing 1 timed-out 10s
        10200 gone 1         -> release 1, finish | gone 1 timed-out 10.1s
        ",
    );
}

#[test]
fn quit_when_a_program_survives_the_kill() {
    check_serving(
        &command(),
        "
          100 requested quit -> stop 1 | quitting 10s
        10100 tick           -> kill 1 | killing 1 timed-out 10s
        15099 tick           -> nothing
        15100 tick           -> finish
        15101 gone 1         -> nothing
        15102 tick           -> nothing
        ",
    );
}

#[test]
fn quit_with_a_tick_that_arrives_much_too_late() {
    check_serving(
        &command(),
        "
          100 requested quit -> stop 1 | quitting 10s
        90000 tick           -> kill 1, finish | killing 1 timed-out 89.9s
        ",
    );
}

#[test]
fn quit_twice() {
    check_draining(
        &command(),
        "
        1100 requested quit     -> stop 2, forward 1, stop 1 | quitting 10s
        1150 requested quit     -> nothing
        1200 requested quit-now -> kill 1, kill 2 | killing 1 killed 200ms, killing 2 killed 100ms
        1201 exited 1 code 137  -> nothing
        1202 gone 1             -> release 1 | gone 1 killed 202ms
        1203 gone 2             -> release 2, finish clean | gone 2 killed 103ms
        ",
    );
}

#[test]
fn quit_twice_when_a_program_survives_the_kill() {
    check_serving(
        &command(),
        "
         100 requested quit     -> stop 1 | quitting 10s
         200 requested quit-now -> kill 1 | killing 1 killed 100ms
         300 requested quit-now -> nothing
        5199 tick               -> nothing
        5200 tick               -> finish
        ",
    );
}

#[test]
fn quit_at_once() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        5100 requested quit-now      -> cancel-build 2, stop 1, kill 1 | quitting 10s, killing 1 killed 0ns
        5101 gone 1                  -> release 1 | gone 1 killed 1ms
        5102 build-ended 2 cancelled -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quit_in_stop_first_mode_between_two_generations() {
    check_serving(
        &stop_first(&command()),
        "
        100 changed build  -> hold, await-quiescent 1 | draining 1 10s
        150 requested quit -> forward 1, stop 1 | quitting 10s
        200 gone 1         -> release 1, finish clean | gone 1 drained 100ms
        ",
    );
}
