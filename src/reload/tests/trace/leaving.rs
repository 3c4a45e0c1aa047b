//! How an old generation leaves.

use super::{check_draining, command};

#[test]
fn the_stop_signal_waits_for_the_least_time_to_settle() {
    check_draining(
        &command(),
        "
        1005 settled 1      -> nothing
        1019 tick           -> nothing
        1020 tick           -> inspect 1
        1021 handles-stop 1 -> relay 1, stop 1
        ",
    );
}

#[test]
fn the_stop_signal_waits_until_it_has_settled() {
    check_draining(
        &command(),
        "
        1020 tick           -> nothing
        1100 settled 1      -> inspect 1
        1101 handles-stop 1 -> relay 1, stop 1
        ",
    );
}

#[test]
fn the_stop_signal_waits_for_the_most_time_to_settle() {
    check_draining(
        &command(),
        "
        1249 tick           -> nothing
        1250 tick           -> inspect 1
        1251 settled 1      -> nothing
        1252 handles-stop 1 -> relay 1, stop 1
        ",
    );
}

#[test]
fn an_unwilling_program_is_asked_when_it_is_idle() {
    check_draining(
        &command(),
        "
        1100 settled 1      -> inspect 1
        1101 dies-of-stop 1 -> await-idle 1
        3000 idle 1         -> relay 1, stop 1
        3001 exited 1 143   -> nothing
        3002 gone 1         -> release 1 | gone 1 drained 2002ms
        ",
    );
}

#[test]
fn an_unwilling_program_that_is_never_idle() {
    check_draining(
        &command(),
        "
         1100 settled 1      -> inspect 1
         1101 dies-of-stop 1 -> await-idle 1
        11099 tick           -> nothing
        11100 tick           -> relay 1, stop 1
        13099 tick           -> nothing
        13100 tick           -> kill 1 | killing 1 timed-out
        13101 exited 1 137   -> nothing
        13102 gone 1         -> release 1 | gone 1 timed-out 12102ms
        ",
    );
}

#[test]
fn a_program_that_ignores_the_stop_signal() {
    check_draining(
        &command(),
        "
         1100 settled 1      -> inspect 1
         1101 handles-stop 1 -> relay 1, stop 1
        11099 tick           -> nothing
        11100 tick           -> kill 1 | killing 1 timed-out
        11300 tick           -> nothing
        11352 gone 1         -> release 1 | gone 1 timed-out 10352ms
        ",
    );
}

#[test]
fn nobody_says_whether_it_is_willing() {
    check_draining(
        &command(),
        "
         1250 tick   -> inspect 1
        11250 tick   -> relay 1, kill 1 | killing 1 timed-out
        11252 gone 1 -> release 1 | gone 1 timed-out 10252ms
        ",
    );
}

#[test]
fn it_is_woken_much_too_late() {
    check_draining(
        &command(),
        "
        30000 tick   -> relay 1, kill 1 | killing 1 timed-out
        30001 gone 1 -> release 1 | gone 1 timed-out 29001ms
        ",
    );
}

#[test]
fn it_ends_before_it_is_asked() {
    check_draining(
        &command(),
        "
        1100 exited 1 0 -> relay 1, stop 1
        1101 gone 1     -> release 1 | gone 1 drained 101ms
        ",
    );
}

/// A generation that nobody needs any more can not fail.
#[test]
fn it_crashes_while_it_drains() {
    check_draining(
        &command(),
        "
         1100 exited 1 101 survivors -> relay 1, stop 1
        11250 tick                   -> kill 1 | killing 1 timed-out
        11252 gone 1                 -> release 1 | gone 1 timed-out 10252ms
        ",
    );
}

#[test]
fn it_leaves_processes_behind_when_asked() {
    check_draining(
        &command(),
        "
        1100 settled 1            -> inspect 1
        1101 handles-stop 1       -> relay 1, stop 1
        1200 exited 1 0 survivors -> nothing
        5000 gone 1               -> release 1 | gone 1 drained 4000ms
        ",
    );
}

/// What still waits at its sockets is carried over.
#[test]
fn it_vanishes_while_it_drains() {
    check_draining(
        &command(),
        "
        1100 gone 1 -> relay 1, release 1 | gone 1 drained 100ms
        ",
    );
}

#[test]
fn a_drain_does_not_block_the_next_reload() {
    check_draining(
        &command(),
        "
         1100 settled 1      -> inspect 1
         1101 handles-stop 1 -> relay 1, stop 1
         1200 changed        -> start 3 a1 | starting 3 change
         1230 ready 3        -> switch 3 | ready 3 30ms
         1231 switched 3     -> settle 2 | live 3 1ms, draining 2 10000ms
         1300 settled 2      -> inspect 2
         1301 handles-stop 2 -> relay 2, stop 2
         1400 gone 2         -> release 2 | gone 2 drained 169ms
        11250 tick           -> kill 1 | killing 1 timed-out
        11251 gone 1         -> release 1 | gone 1 timed-out 10251ms
        ",
    );
}
