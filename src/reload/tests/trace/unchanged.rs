//! Changes that need no new generation: an unchanged executable, or a program that reloads its configuration.

use super::{cargo, check, check_serving, command, queue, stop_first};

#[test]
fn an_unchanged_executable_is_not_restarted() {
    check_serving(
        &cargo(),
        "
        5000 changed build             -> build 2 | building 2 change
        5400 build-ended 2 unchanged 1 -> | unchanged 2 1
        6000 changed build             -> build 3 | building 3 change
        6400 build-ended 3 built a3    -> start 3 a3 | built 3 400ms, starting 3 change
        ",
    );
}

#[test]
fn a_requested_reload_restarts_an_unchanged_executable() {
    check_serving(
        &cargo(),
        "
        5000 requested reload          -> build 2 | building 2 request
        5100 changed build             -> cancel-build 2
        5200 build-ended 2 cancelled   -> build 3 | build-cancelled 2, building 3 change
        5400 build-ended 3 unchanged 1 -> start 3 a1 | built 3 200ms, starting 3 change
        ",
    );
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build             -> build 2 | building 2 change
        5100 requested reload          -> nothing
        5400 build-ended 2 unchanged 1 -> build 3 | outdated 2, building 3 request
        5800 build-ended 3 unchanged 1 -> start 3 a1 | built 3 400ms, starting 3 request
        ",
    );
}

#[test]
fn a_restart_requested_during_the_build_is_not_forgotten() {
    check_serving(
        &cargo(),
        "
        5000 changed build             -> build 2 | building 2 change
        5100 changed restart           -> nothing
        5400 build-ended 2 unchanged 1 -> start 2 a1 | built 2 400ms, starting 2 change
        ",
    );
    check_serving(
        &cargo(),
        "
        5000 changed build             -> build 2 | building 2 change
        5100 changed restart           -> nothing
        5200 changed build             -> cancel-build 2
        5300 build-ended 2 cancelled   -> build 3 | build-cancelled 2, building 3 change
        5400 build-ended 3 failed      -> | failed 3 build live 1
        5500 changed build             -> build 4 | building 4 change
        5700 build-ended 4 unchanged 1 -> start 4 a1 | built 4 200ms, starting 4 change
        ",
    );
    check_serving(
        &cargo(),
        "
        5000 requested pause           -> | paused
        5100 changed restart           -> nothing
        5200 changed build             -> nothing
        5300 requested resume          -> build 2 | resumed, building 2 change
        5500 build-ended 2 unchanged 1 -> start 2 a1 | built 2 200ms, starting 2 change
        ",
    );
}

#[test]
fn a_reverted_change_supersedes_the_starting_generation() {
    check_serving(
        &cargo(),
        "
        5000 changed build             -> build 2 | building 2 change
        5400 build-ended 2 built a2    -> start 2 a2 | built 2 400ms, starting 2 change
        5500 changed build             -> build 3 | building 3 change
        5700 build-ended 3 unchanged 1 -> forward 2, stop 2, start 3 a1 | built 3 200ms, superseded 2, starting 3 change
        ",
    );
    check_serving(
        &cargo(),
        "
        5000 changed build             -> build 2 | building 2 change
        5400 build-ended 2 built a2    -> start 2 a2 | built 2 400ms, starting 2 change
        5500 changed build             -> build 3 | building 3 change
        5700 build-ended 3 unchanged 2 -> | unchanged 3 2
        5800 ready 2                   -> switch 2 | ready 2 400ms
        ",
    );
}

#[test]
fn a_configuration_change_sends_the_reload_signal() {
    check_serving(
        &cargo(),
        "
        5000 config-changed 1               -> send-reload-signal 1 1
        5001 reload-signal-sent 1 1 handled -> | reload-signal-sent 1 1
        6000 config-changed 64              -> send-reload-signal 1 64
        ",
    );
}

#[test]
fn a_program_that_does_not_handle_the_signal_is_restarted() {
    check_serving(
        &cargo(),
        "
        5000 config-changed 1       -> send-reload-signal 1 1
        5001 reload-signal-sent 1 1 -> start 2 a1 | reload-signal-unhandled 1 1, starting 2 change
        ",
    );
}

#[test]
fn a_starting_generation_gets_the_signal_once_it_is_live() {
    check_serving(
        &cargo(),
        "
        5000 changed build                  -> build 2 | building 2 change
        5400 build-ended 2 built a2         -> start 2 a2 | built 2 400ms, starting 2 change
        5500 config-changed 1               -> send-reload-signal 1 1
        5500 config-changed 64              -> send-reload-signal 1 64
        5501 reload-signal-sent 1 1         -> forward 2, stop 2, start 3 a2 | reload-signal-unhandled 1 1, superseded 2, starting 3 change
        5600 config-changed 1               -> send-reload-signal 1 1
        5601 reload-signal-sent 1 1 handled -> | reload-signal-sent 1 1
        5700 ready 3                        -> switch 3 | ready 3 199ms
        5701 switched 3                     -> await-quiescent 1, send-reload-signal 3 1 | live 3 1ms, draining 1 10s
        5702 reload-signal-sent 3 1 handled -> | reload-signal-sent 3 1
        ",
    );
}

#[test]
fn a_generation_that_is_not_started_yet_needs_no_signal() {
    check(
        &cargo(),
        "
           0 begin                  -> build 1 | building 1 begin
         100 config-changed 1       -> nothing
        1000 build-ended 1 built a1 -> start 1 a1 | built 1 1s, starting 1 begin
        ",
    );
}

#[test]
fn a_configuration_change_restarts_a_crashed_program() {
    check(
        &stop_first(&command()),
        "
          0 begin            -> start 1 a1 | starting 1 begin
         50 exited 1 code 1  -> forward 1, hold, respond-unavailable 1 exited-early code 1 | failed 1 exited-early code 1, waiting
         60 gone 1           -> release 1 | gone 1 drained 10ms
        900 config-changed 1 -> stop-responding, start 2 a1 | starting 2 change
        ",
    );
}
