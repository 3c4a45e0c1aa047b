//! What does not make another generation: an executable that is the same, a program that reads its configuration again.

use super::{cargo, check, check_serving, command, queue, stop_first};

#[test]
fn an_executable_that_is_unchanged_is_not_started_again() {
    check_serving(
        &cargo(),
        "
        5000 changed        -> build 2 | building 2 change
        5400 unchanged 2 1 -> | unchanged 2 1
        6000 changed        -> build 3 | building 3 change
        6400 built 3 a3 -> start 3 a3 | built 3 400ms, starting 3 change
        ",
    );
}

#[test]
fn a_reload_that_was_asked_for_is_a_start_whatever_was_built() {
    check_serving(
        &cargo(),
        "
        5000 reload            -> build 2 | building 2 request
        5100 changed           -> cancel 2
        5200 build-cancelled 2 -> build 3 | cancelled 2, building 3 change
        5400 unchanged 3 1    -> start 3 a1 | built 3 200ms, starting 3 change
        ",
    );
    check_serving(
        &queue(&cargo()),
        "
        5000 changed        -> build 2 | building 2 change
        5100 reload         -> nothing
        5400 unchanged 2 1 -> build 3 | outdated 2, building 3 request
        5800 unchanged 3 1 -> start 3 a1 | built 3 400ms, starting 3 request
        ",
    );
}

#[test]
fn a_restart_that_was_asked_for_during_the_build_is_made() {
    check_serving(
        &cargo(),
        "
        5000 changed         -> build 2 | building 2 change
        5100 changed-restart -> nothing
        5400 unchanged 2 1  -> start 2 a1 | built 2 400ms, starting 2 change
        ",
    );
}

#[test]
fn going_back_while_the_change_starts_is_another_start() {
    check_serving(
        &cargo(),
        "
        5000 changed        -> build 2 | building 2 change
        5400 built 2 a2 -> start 2 a2 | built 2 400ms, starting 2 change
        5500 changed        -> build 3 | building 3 change
        5700 unchanged 3 1 -> relay 2, stop 2, start 3 a1 | built 3 200ms, superseded 2, starting 3 change
        ",
    );
    check_serving(
        &cargo(),
        "
        5000 changed        -> build 2 | building 2 change
        5400 built 2 a2 -> start 2 a2 | built 2 400ms, starting 2 change
        5500 changed        -> build 3 | building 3 change
        5700 unchanged 3 2 -> | unchanged 3 2
        5800 ready 2        -> switch 2 | ready 2 400ms
        ",
    );
}

#[test]
fn a_change_of_configuration_is_a_signal() {
    check_serving(
        &cargo(),
        "
        5000 configured  -> signal 1 1
        5001 signalled 1 -> | signalled 1 1
        6000 configured-otherwise -> signal 1 64
        ",
    );
}

#[test]
fn who_does_not_handle_the_signal_is_restarted() {
    check_serving(
        &cargo(),
        "
        5000 configured  -> signal 1 1
        5001 unhandled 1 -> start 2 a1 | unhandled 1 1, starting 2 change
        ",
    );
}

#[test]
fn who_is_starting_gets_the_signal_once_it_is_live() {
    check_serving(
        &cargo(),
        "
        5000 changed     -> build 2 | building 2 change
        5400 built 2 a2 -> start 2 a2 | built 2 400ms, starting 2 change
        5500 configured  -> signal 1 1
        5500 configured-otherwise -> signal 1 64
        5501 unhandled 1 -> relay 2, stop 2, start 3 a2 | unhandled 1 1, superseded 2, starting 3 change
        5600 configured  -> signal 1 1
        5601 signalled 1 -> | signalled 1 1
        5700 ready 3     -> switch 3 | ready 3 199ms
        5701 switched 3  -> settle 1, signal 3 1 | live 3 1ms, draining 1 10000ms
        5702 signalled 3 -> | signalled 3 1
        ",
    );
}

#[test]
fn who_will_be_started_reads_what_is_there() {
    check(
        &cargo(),
        "
           0 begin      -> build 1 | building 1 begin
         100 configured -> nothing
        1000 built 1 a1 -> start 1 a1 | built 1 1000ms, starting 1 begin
        ",
    );
}

#[test]
fn what_crashed_may_have_done_so_for_its_configuration() {
    check(
        &stop_first(&command()),
        "
          0 begin        -> start 1 a1 | starting 1 begin
         50 exited 1 1   -> relay 1, hold, answer 1 | failed 1 (exited before it was ready (exit status 1)), waiting
         60 gone 1       -> release 1 | gone 1 drained 10ms
        900 configured   -> answer-no-more, start 2 a1 | starting 2 change
        ",
    );
}
