//! Builds, starts and switches that fail, and programs that crash.

use super::{cargo, check, check_serving, command};

#[test]
fn after_a_broken_first_build_hotrun_waits_for_a_change() {
    check(
        &cargo(),
        "
           0 begin                  -> build 1 | building 1 begin
        1000 build-ended 1 failed   -> respond-unavailable 1 build | failed 1 build, waiting
        2000 changed build          -> stop-responding, build 2 | building 2 change
        3000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        ",
    );
}

#[test]
fn a_broken_build_leaves_the_live_generation_alone() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 failed   -> | failed 2 build live 1
        7000 changed build          -> build 3 | building 3 change
        8000 build-ended 3 built a3 -> start 3 a3 | built 3 1s, starting 3 change
        ",
    );
}

/// Clients that connect in the meantime get an error response.
#[test]
fn after_a_crash_before_ready_with_nothing_live_hotrun_waits_for_a_change() {
    check(
        &cargo(),
        "
           0 begin                  -> build 1 | building 1 begin
        1000 build-ended 1 built a1 -> start 1 a1 | built 1 1s, starting 1 begin
        1010 exited 1 code 101      -> forward 1, hold, respond-unavailable 1 exited-early code 101 | failed 1 exited-early code 101, waiting
        1011 gone 1                 -> release 1 | gone 1 drained 1ms
        2000 changed build          -> stop-responding, build 2 | building 2 change
        3000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        ",
    );
}

#[test]
fn a_crash_before_ready_leaves_the_live_generation_alone() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 exited 2 code 101      -> forward 2 | failed 2 exited-early code 101 live 1
        6011 gone 2                 -> release 2 | gone 2 drained 1ms
        ",
    );
}

#[test]
fn processes_left_behind_by_a_crash_before_ready_are_killed() {
    check_serving(
        &cargo(),
        "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2      -> start 2 a2 | built 2 1s, starting 2 change
        6010 exited 2 code 101 survivors -> forward 2, kill 2 | failed 2 exited-early code 101 live 1
        6011 gone 2                      -> release 2 | gone 2 killed 1ms
        ",
    );
}

#[test]
fn exiting_with_status_zero_before_ready_is_also_a_failure() {
    check(
        &command(),
        "
         0 begin           -> start 1 a1 | starting 1 begin
        10 exited 1 code 0 -> forward 1, hold, respond-unavailable 1 exited-early code 0 | failed 1 exited-early code 0, waiting
        11 gone 1          -> release 1 | gone 1 drained 1ms
        ",
    );
}

#[test]
fn if_a_program_cannot_be_started_hotrun_waits_for_a_change() {
    check(
        &command(),
        "
          0 begin          -> start 1 a1 | starting 1 begin
         10 start-failed 1 -> forward 1, hold, release 1, respond-unavailable 1 start | failed 1 start, waiting
        100 changed build  -> stop-responding, start 2 a1 | starting 2 change
        ",
    );
}

#[test]
fn a_program_that_cannot_be_started_leaves_the_live_generation_alone() {
    check_serving(
        &cargo(),
        "
        5000 changed restart -> start 2 a1 | starting 2 change
        5001 start-failed 2  -> forward 2, release 2 | failed 2 start live 1
        ",
    );
}

#[test]
fn a_superseded_program_that_cannot_be_started_is_not_reported_as_a_failure() {
    check(
        &command(),
        "
         0 begin          -> start 1 a1 | starting 1 begin
         1 changed build  -> forward 1, hold, await-idle 1, start 2 a1 | superseded 1, starting 2 change
         2 start-failed 1 -> forward 1, release 1 | gone 1 drained 1ms
        40 ready 2        -> switch 2 | ready 2 39ms
        ",
    );
}

#[test]
fn a_superseded_generation_finishes_the_connections_that_it_has_accepted() {
    check(
        &command(),
        "
          0 begin              -> start 1 a1 | starting 1 begin
         10 changed build      -> forward 1, hold, await-idle 1, start 2 a1 | superseded 1, starting 2 change
         40 ready 2            -> switch 2 | ready 2 30ms
        300 idle 1             -> forward 1, stop 1
        301 exited 1 signal 15 -> nothing
        302 gone 1             -> release 1 | gone 1 drained 292ms
        ",
    );
}

#[test]
fn a_readiness_timeout_leaves_the_live_generation_alone() {
    check_serving(
        &cargo(),
        "
         5000 changed build          -> build 2 | building 2 change
         6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        65999 tick                   -> nothing
        66000 tick                   -> forward 2, stop 2 | failed 2 ready-timeout live 1
        66001 ready 2                -> nothing
        66100 exited 2 code 0        -> nothing
        66101 gone 2                 -> release 2 | gone 2 drained 101ms
        ",
    );
}

#[test]
fn after_a_readiness_timeout_with_nothing_live_hotrun_waits_for_a_change() {
    check(
        &command(),
        "
            0 begin  -> start 1 a1 | starting 1 begin
        60000 tick   -> forward 1, hold, stop 1, respond-unavailable 1 ready-timeout | failed 1 ready-timeout, waiting
        70000 tick   -> kill 1 | killing 1 timed-out 10s
        70001 gone 1 -> release 1 | gone 1 timed-out 10.001s
        ",
    );
}

#[test]
fn a_program_may_become_ready_at_the_last_moment() {
    check(
        &command(),
        "
            0 begin      -> start 1 a1 | starting 1 begin
        60000 ready 1    -> switch 1 | ready 1 60s
        60000 tick       -> nothing
        60001 switched 1 -> | live 1 1ms
        ",
    );
}

#[test]
fn after_the_live_generation_crashes_hotrun_waits_for_a_change() {
    check_serving(
        &command(),
        "
        500 exited 1 code 101 -> forward 1, hold, respond-unavailable 1 crashed code 101 | failed 1 crashed code 101, waiting
        501 gone 1            -> release 1 | gone 1 drained 1ms
        600 changed build     -> stop-responding, start 2 a1 | starting 2 change
        630 ready 2           -> switch 2 | ready 2 30ms
        631 switched 2        -> | live 2 1ms
        ",
    );
}

#[test]
fn processes_left_behind_by_a_crash_of_the_live_generation_are_killed() {
    check_serving(
        &command(),
        "
        500 exited 1 code 101 survivors -> forward 1, hold, kill 1, respond-unavailable 1 crashed code 101 | failed 1 crashed code 101, waiting
        501 gone 1                      -> release 1 | gone 1 killed 1ms
        ",
    );
}

#[test]
fn after_the_live_generation_crashes_hotrun_waits_for_the_running_build() {
    check_serving(
        &cargo(),
        "
        5000 changed build        -> build 2 | building 2 change
        5500 exited 1 code 101    -> forward 1, hold | failed 1 crashed code 101
        5501 gone 1               -> release 1 | gone 1 drained 1ms
        6000 build-ended 2 failed -> respond-unavailable 2 build | failed 2 build, waiting
        ",
    );
}

#[test]
fn after_the_live_generation_crashes_the_starting_one_goes_live() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 exited 1 code 101      -> forward 1, hold | failed 1 crashed code 101
        6011 gone 1                 -> release 1 | gone 1 drained 1ms
        6040 ready 2                -> switch 2 | ready 2 40ms
        6041 switched 2             -> | live 2 1ms
        ",
    );
}

/// Holding connections would undo the switch.
#[test]
fn connections_are_not_held_if_the_live_generation_crashes_during_a_switch() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6040 exited 1 code 101      -> forward 1 | failed 1 crashed code 101
        6041 switched 2             -> | live 2 1ms
        6042 gone 1                 -> release 1 | gone 1 drained 2ms
        ",
    );
}

#[test]
fn after_a_crash_and_a_refused_switch_hotrun_waits_for_a_change() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6040 exited 1 code 101      -> forward 1 | failed 1 crashed code 101
        6041 switch-failed 2        -> forward 2, hold, stop 2, respond-unavailable 2 switch | failed 2 switch, waiting
        6042 gone 1                 -> release 1 | gone 1 drained 2ms
        ",
    );
}

/// The driver may already have made the switch.
#[test]
fn a_switch_is_undone_if_the_new_generation_crashes_during_it() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6040 exited 2 code 101      -> switch 1, forward 2 | failed 2 exited-early code 101 live 1
        6041 switched 2             -> nothing
        6042 gone 2                 -> release 2 | gone 2 drained 2ms
        ",
    );
}

#[test]
fn a_crash_of_the_first_generation_during_its_switch_leaves_nothing_live() {
    check(
        &command(),
        "
         0 begin             -> start 1 a1 | starting 1 begin
        30 ready 1           -> switch 1 | ready 1 30ms
        30 exited 1 code 101 -> forward 1, hold, respond-unavailable 1 exited-early code 101 | failed 1 exited-early code 101, waiting
        31 switched 1        -> nothing
        32 gone 1            -> release 1 | gone 1 drained 2ms
        ",
    );
}

#[test]
fn a_refused_switch_leaves_the_live_generation_alone() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6041 switch-failed 2        -> forward 2, stop 2 | failed 2 switch live 1
        6050 exited 2 code 0        -> nothing
        6051 gone 2                 -> release 2 | gone 2 drained 10ms
        ",
    );
}

#[test]
fn after_a_refused_switch_with_nothing_live_hotrun_waits_for_a_change() {
    check(
        &command(),
        "
         0 begin           -> start 1 a1 | starting 1 begin
        30 ready 1         -> switch 1 | ready 1 30ms
        31 switch-failed 1 -> forward 1, hold, stop 1, respond-unavailable 1 switch | failed 1 switch, waiting
        32 gone 1          -> release 1 | gone 1 drained 1ms
        ",
    );
}

#[test]
fn a_live_generation_whose_processes_vanish_has_failed() {
    check_serving(
        &command(),
        "
        500 gone 1 -> forward 1, hold, release 1, respond-unavailable 1 vanished | failed 1 vanished, gone 1 drained 0ns, waiting
        ",
    );
}

#[test]
fn a_starting_generation_whose_processes_vanish_has_failed() {
    check_serving(
        &cargo(),
        "
        5000 changed restart -> start 2 a1 | starting 2 change
        5001 gone 2          -> forward 2, release 2 | failed 2 vanished live 1, gone 2 drained 0ns
        ",
    );
}

/// The first process exits with status 0, and its children keep running.
#[test]
fn a_program_that_becomes_a_daemon_before_it_is_ready_can_go_live() {
    check(
        &command(),
        "
          0 begin                     -> start 1 a1 | starting 1 begin
         10 exited 1 code 0 survivors -> nothing
         30 ready 1                   -> switch 1 | ready 1 30ms
         31 switched 1                -> | live 1 1ms
        100 changed build             -> start 2 a1 | starting 2 change
        130 ready 2                   -> switch 2 | ready 2 30ms
        131 switched 2                -> await-quiescent 1 | live 2 1ms, draining 1 10s
        160 quiescent 1               -> await-idle 1 pause 5s
        161 handles-stop-signal 1     -> nothing
        161 idle 1                    -> forward 1, stop 1
        170 gone 1                    -> release 1 | gone 1 drained 39ms
        ",
    );
}

#[test]
fn a_live_program_that_becomes_a_daemon_stays_live() {
    check_serving(
        &command(),
        "
         40 exited 1 code 0 survivors -> nothing
        500 gone 1                    -> forward 1, hold, release 1, respond-unavailable 1 vanished | failed 1 vanished, gone 1 drained 0ns, waiting
        ",
    );
}

#[test]
fn events_from_a_generation_that_is_gone_change_nothing() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        6000 build-ended 2 built a2  -> start 2 a2 | built 2 1s, starting 2 change
        6010 exited 2 code 1         -> forward 2 | failed 2 exited-early code 1 live 1
        6011 gone 2                  -> release 2 | gone 2 drained 1ms
        6012 build-ended 2 built a2  -> nothing
        6012 build-ended 2 failed    -> nothing
        6012 build-ended 2 cancelled -> nothing
        6012 start-failed 2          -> nothing
        6012 ready 2                 -> nothing
        6012 switched 2              -> nothing
        6012 switch-failed 2         -> nothing
        6012 quiescent 2             -> nothing
        6012 handles-stop-signal 2   -> nothing
        6012 idle 2                  -> nothing
        6012 exited 2 code 1         -> nothing
        6012 gone 2                  -> nothing
        6012 gone 9                  -> nothing
        ",
    );
}
