//! Quitting.

use super::{cargo, check, check_draining, check_serving, command, stop_first};

#[test]
fn quit_before_anything() {
    check(
        &cargo(),
        "
        0 quit -> finish clean | quitting 10000ms
        ",
    );
}

#[test]
fn quit_when_nothing_runs() {
    check(
        &cargo(),
        "
           0 begin          -> build 1 | building 1 begin
        1000 build-failed 1 -> respond-unavailable 1 | failed 1 (failed to build), waiting
        2000 quit           -> finish clean | quitting 10000ms
        2001 quit           -> nothing
        2002 changed        -> nothing
        2003 begin          -> nothing
        9000 tick           -> nothing
        ",
    );
}

#[test]
fn quit_during_a_build() {
    check(
        &cargo(),
        "
          0 begin             -> build 1 | building 1 begin
        500 quit              -> cancel-build 1 | quitting 10000ms
        510 build-cancelled 1 -> finish clean | build-cancelled 1
        511 build-cancelled 1 -> nothing
        ",
    );
}

#[test]
fn quit_during_a_build_that_succeeds() {
    check(
        &cargo(),
        "
          0 begin      -> build 1 | building 1 begin
        500 quit       -> cancel-build 1 | quitting 10000ms
        510 built 1 a1 -> finish clean | outdated 1
        ",
    );
}

#[test]
fn quit_during_a_build_that_is_being_cancelled() {
    check(
        &cargo(),
        "
          0 begin             -> build 1 | building 1 begin
        400 changed           -> cancel-build 1
        500 quit              -> | quitting 10000ms
        510 build-cancelled 1 -> finish clean | build-cancelled 1
        ",
    );
}

#[test]
fn quit_during_a_build_that_does_not_end() {
    check(
        &cargo(),
        "
            0 begin -> build 1 | building 1 begin
          500 quit  -> cancel-build 1 | quitting 10000ms
        15499 tick  -> nothing
        15500 tick  -> finish unclean
        ",
    );
}

#[test]
fn quit_during_a_start() {
    check(
        &command(),
        "
         0 begin        -> start 1 a1 | starting 1 begin
        10 quit         -> stop 1 | quitting 10000ms
        11 ready 1      -> nothing
        20 exited 1 143 -> nothing
        21 gone 1       -> release 1, finish clean | gone 1 drained 11ms
        ",
    );
}

#[test]
fn quit_during_a_start_that_fails() {
    check(
        &command(),
        "
         0 begin          -> start 1 a1 | starting 1 begin
        10 quit           -> stop 1 | quitting 10000ms
        11 start-failed 1 -> release 1, finish clean | gone 1 drained 1ms
        ",
    );
}

#[test]
fn quit_during_a_switch() {
    check_serving(
        &command(),
        "
        100 changed    -> start 2 a1 | starting 2 change
        130 ready 2    -> switch 2 | ready 2 30ms
        130 quit       -> stop 2, stop 1 | quitting 10000ms
        131 switched 2 -> nothing
        140 gone 1     -> release 1 | gone 1 drained 10ms
        150 gone 2     -> release 2, finish clean | gone 2 drained 20ms
        ",
    );
}

#[test]
fn quit_while_live() {
    check_serving(
        &command(),
        "
        100 quit       -> stop 1 | quitting 10000ms
        101 changed    -> nothing
        102 reload     -> nothing
        200 exited 1 0 -> nothing
        201 gone 1     -> release 1, finish clean | gone 1 drained 101ms
        ",
    );
}

#[test]
fn quit_while_live_and_building() {
    check_serving(
        &cargo(),
        "
        5000 changed           -> build 2 | building 2 change
        5100 quit              -> cancel-build 2, stop 1 | quitting 10000ms
        5200 gone 1            -> release 1 | gone 1 drained 100ms
        5300 build-cancelled 2 -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quit_during_a_drain() {
    check_draining(
        &command(),
        "
        1100 quit       -> stop 2, forward 1, stop 1 | quitting 10000ms
        1200 exited 1 0 -> nothing
        1201 gone 1     -> release 1 | gone 1 drained 201ms
        1300 gone 2     -> release 2, finish clean | gone 2 drained 200ms
        ",
    );
}

/// A crash during quit is not a failure.
#[test]
fn quit_and_a_crash() {
    check_serving(
        &command(),
        "
        100 quit         -> stop 1 | quitting 10000ms
        101 exited 1 101 -> nothing
        102 gone 1       -> release 1, finish clean | gone 1 drained 2ms
        ",
    );
}

#[test]
fn quit_and_the_stop_signal_is_ignored() {
    check_serving(
        &command(),
        "
          100 quit   -> stop 1 | quitting 10000ms
        10099 tick   -> nothing
        10100 tick   -> kill 1 | killing 1 timed-out
        10200 gone 1 -> release 1, finish unclean | gone 1 timed-out 10100ms
        ",
    );
}

#[test]
fn quit_and_the_kill_does_not_help() {
    check_serving(
        &command(),
        "
          100 quit   -> stop 1 | quitting 10000ms
        10100 tick   -> kill 1 | killing 1 timed-out
        15099 tick   -> nothing
        15100 tick   -> finish unclean
        15101 gone 1 -> nothing
        15102 tick   -> nothing
        ",
    );
}

#[test]
fn quit_with_a_tick_that_comes_much_too_late() {
    check_serving(
        &command(),
        "
          100 quit -> stop 1 | quitting 10000ms
        90000 tick -> kill 1, finish unclean | killing 1 timed-out
        ",
    );
}

#[test]
fn quit_twice() {
    check_draining(
        &command(),
        "
        1100 quit         -> stop 2, forward 1, stop 1 | quitting 10000ms
        1150 quit         -> nothing
        1200 quit-now     -> kill 1, kill 2 | killing 1 killed, killing 2 killed
        1201 exited 1 137 -> nothing
        1202 gone 1       -> release 1 | gone 1 killed 202ms
        1203 gone 2       -> release 2, finish clean | gone 2 killed 103ms
        ",
    );
}

#[test]
fn quit_twice_and_the_kill_does_not_help() {
    check_serving(
        &command(),
        "
         100 quit     -> stop 1 | quitting 10000ms
         200 quit-now -> kill 1 | killing 1 killed
         300 quit-now -> nothing
        5199 tick     -> nothing
        5200 tick     -> finish unclean
        ",
    );
}

#[test]
fn quit_at_once() {
    check_serving(
        &cargo(),
        "
        5000 changed           -> build 2 | building 2 change
        5100 quit-now          -> cancel-build 2, stop 1, kill 1 | quitting 10000ms, killing 1 killed
        5101 gone 1            -> release 1 | gone 1 killed 1ms
        5102 build-cancelled 2 -> finish clean | build-cancelled 2
        ",
    );
}

#[test]
fn quit_in_stop_first_mode_between_two() {
    check_serving(
        &stop_first(&command()),
        "
        100 changed -> hold, await-quiescent 1 | draining 1 10000ms
        150 quit    -> forward 1, stop 1 | quitting 10000ms
        200 gone 1  -> release 1, finish clean | gone 1 drained 100ms
        ",
    );
}
