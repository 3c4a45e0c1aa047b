//! Builds, starts and switches without failures.

use super::{cargo, check, check_serving, command, queue};

#[test]
fn the_first_generation_is_built_and_goes_live() {
    check(
        &cargo(),
        "
           0 begin                  -> build 1 | building 1 begin
        1000 build-ended 1 built a1 -> start 1 a1 | built 1 1s, starting 1 begin
        1030 ready 1                -> switch 1 | ready 1 30ms
        1032 switched 1             -> | live 1 2ms
        ",
    );
}

#[test]
fn a_command_needs_no_build() {
    check(
        &command(),
        "
         0 begin      -> start 1 a1 | starting 1 begin
        30 ready 1    -> switch 1 | ready 1 30ms
        32 switched 1 -> | live 1 2ms
        ",
    );
}

#[test]
fn a_reload_switches_to_the_new_generation_and_drains_the_old_one() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6041 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        6080 quiescent 1            -> await-idle 1 pause 5s
        6081 handles-stop-signal 1  -> nothing
        6081 idle 1                 -> forward 1, stop 1
        6500 exited 1 code 0        -> nothing
        6501 gone 1                 -> release 1 | gone 1 drained 460ms
        ",
    );
}

#[test]
fn a_requested_reload_starts_a_new_generation() {
    check(
        &command(),
        "
          0 begin            -> start 1 a1 | starting 1 begin
         30 ready 1          -> switch 1 | ready 1 30ms
         32 switched 1       -> | live 1 2ms
        100 requested reload -> start 2 a1 | starting 2 request
        130 ready 2          -> switch 2 | ready 2 30ms
        131 switched 2       -> await-quiescent 1 | live 2 1ms, draining 1 10s
        ",
    );
}

#[test]
fn a_build_is_cancelled_for_newer_sources() {
    check_serving(
        &cargo(),
        "
        5000 changed build           -> build 2 | building 2 change
        5100 changed build           -> cancel-build 2
        5150 changed build           -> nothing
        5200 build-ended 2 cancelled -> build 3 | build-cancelled 2, building 3 change
        6000 build-ended 3 built a3  -> start 3 a3 | built 3 800ms, starting 3 change
        ",
    );
}

#[test]
fn a_build_that_succeeds_despite_its_cancellation_is_outdated() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 changed build          -> cancel-build 2
        5101 build-ended 2 built a2 -> build 3 | outdated 2, building 3 change
        6000 build-ended 3 built a3 -> start 3 a3 | built 3 899ms, starting 3 change
        ",
    );
}

/// The sources of a cancelled build are outdated.
#[test]
fn the_failure_of_a_cancelled_build_is_not_reported() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 changed build          -> cancel-build 2
        5101 build-ended 2 failed   -> build 3 | build-cancelled 2, building 3 change
        6000 build-ended 3 built a3 -> start 3 a3 | built 3 899ms, starting 3 change
        ",
    );
}

#[test]
fn a_change_during_a_build_is_queued() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 changed build          -> nothing
        5500 build-ended 2 built a2 -> build 3 | outdated 2, building 3 change
        6000 build-ended 3 built a3 -> start 3 a3 | built 3 500ms, starting 3 change
        ",
    );
}

#[test]
fn a_queued_change_is_built_after_a_broken_build() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 changed build          -> nothing
        5500 build-ended 2 failed   -> build 3 | failed 2 build live 1, building 3 change
        6000 build-ended 3 built a3 -> start 3 a3 | built 3 500ms, starting 3 change
        ",
    );
}

/// Until the newer build succeeds, the starting generation may still go live.
#[test]
fn a_new_build_supersedes_a_starting_generation() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 changed build          -> build 3 | building 3 change
        7000 build-ended 3 built a3 -> forward 2, stop 2, start 3 a3 | built 3 990ms, superseded 2, starting 3 change
        7001 ready 2                -> nothing
        7010 exited 2 code 0        -> nothing
        7011 gone 2                 -> release 2 | gone 2 drained 11ms
        7030 ready 3                -> switch 3 | ready 3 30ms
        7031 switched 3             -> await-quiescent 1 | live 3 1ms, draining 1 10s
        ",
    );
}

#[test]
fn a_generation_can_go_live_during_the_next_build() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 changed build          -> build 3 | building 3 change
        6020 ready 2                -> switch 2 | ready 2 20ms
        6021 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 build-ended 3 built a3 -> start 3 a3 | built 3 990ms, starting 3 change
        7030 ready 3                -> switch 3 | ready 3 30ms
        7031 switched 3             -> await-quiescent 2 | live 3 1ms, draining 2 10s
        ",
    );
}

#[test]
fn a_generation_is_not_superseded_during_its_switch() {
    check(
        &command(),
        "
         0 begin         -> start 1 a1 | starting 1 begin
        30 ready 1       -> switch 1 | ready 1 30ms
        31 changed build -> nothing
        32 switched 1    -> start 2 a1 | live 1 2ms, starting 2 change
        ",
    );
}

#[test]
fn in_queue_mode_a_start_finishes_before_the_next_one_begins() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 changed build          -> build 3 | building 3 change
        7000 build-ended 3 built a3 -> | built 3 990ms
        7030 ready 2                -> switch 2 | ready 2 1.03s
        7031 switched 2             -> await-quiescent 1, start 3 a3 | live 2 1ms, draining 1 10s, starting 3 change
        ",
    );
}

#[test]
fn a_newer_build_replaces_the_queued_generation() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6010 changed build          -> build 3 | building 3 change
        7000 build-ended 3 built a3 -> | built 3 990ms
        7010 changed build          -> build 4 | building 4 change
        7030 ready 2                -> switch 2 | ready 2 1.03s
        7031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        8000 build-ended 4 built a4 -> start 4 a4 | built 4 990ms, outdated 3, starting 4 change
        ",
    );
}

#[test]
fn a_restart_starts_the_last_successful_build() {
    check_serving(
        &cargo(),
        "
        5000 changed restart -> start 2 a1 | starting 2 change
        5030 ready 2         -> switch 2 | ready 2 30ms
        5031 switched 2      -> await-quiescent 1 | live 2 1ms, draining 1 10s
        ",
    );
}

#[test]
fn a_restart_requested_during_a_build_needs_no_extra_start() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 changed restart        -> nothing
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        ",
    );
}

#[test]
fn a_restart_during_a_broken_build_is_not_forgotten() {
    check_serving(
        &cargo(),
        "
        5000 changed build        -> build 2 | building 2 change
        5100 changed restart      -> nothing
        6000 build-ended 2 failed -> start 3 a1 | failed 2 build live 1, starting 3 change
        ",
    );
}

#[test]
fn a_restart_does_not_cancel_the_first_build() {
    check(
        &cargo(),
        "
           0 begin                  -> build 1 | building 1 begin
         100 changed restart        -> nothing
        1000 build-ended 1 built a1 -> start 1 a1 | built 1 1s, starting 1 begin
        ",
    );
}

#[test]
fn a_restart_builds_if_no_build_has_succeeded() {
    check(
        &cargo(),
        "
           0 begin                -> build 1 | building 1 begin
        1000 build-ended 1 failed -> respond-unavailable 1 build | failed 1 build, waiting
        2000 changed restart      -> stop-responding, build 2 | building 2 change
        ",
    );
}

#[test]
fn a_restart_requested_while_a_generation_is_queued_needs_no_extra_start() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed restart -> start 2 a1 | starting 2 change
        5010 changed restart -> nothing
        5020 changed restart -> nothing
        5030 ready 2         -> switch 2 | ready 2 30ms
        5031 switched 2      -> await-quiescent 1, start 3 a1 | live 2 1ms, draining 1 10s, starting 3 change
        ",
    );
}

#[test]
fn a_restart_in_progress_does_not_delay_a_build() {
    check_serving(
        &cargo(),
        "
        5000 changed restart        -> start 2 a1 | starting 2 change
        5010 changed build          -> build 3 | building 3 change
        5030 ready 2                -> switch 2 | ready 2 30ms
        5031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        6000 build-ended 3 built a3 -> start 3 a3 | built 3 990ms, starting 3 change
        ",
    );
}

#[test]
fn a_change_that_needs_a_build_takes_precedence_over_one_that_needs_a_restart() {
    check(
        &cargo(),
        "
          0 begin                   -> build 1 | building 1 begin
        100 changed build           -> cancel-build 1
        110 changed restart         -> nothing
        120 build-ended 1 cancelled -> build 2 | build-cancelled 1, building 2 change
        ",
    );
}

/// The newer version may use other addresses on purpose.
#[test]
fn at_the_readiness_timeout_a_generation_that_lacks_nothing_but_addresses_goes_live() {
    check_serving(
        &cargo(),
        "
         5000 changed build                     -> build 2 | building 2 change
         6000 build-ended 2 built a2            -> start 2 a2 | built 2 1s, starting 2 change
         6500 lacks-addresses 2 otherwise-ready -> nothing
        66000 tick                              -> switch 2 | ready 2 60s
        66000 switched 2                        -> await-quiescent 1 | live 2 0ns, draining 1 10s
        66001 ready 2                           -> nothing
        ",
    );
    check_serving(
        &cargo(),
        "
         5000 changed build                     -> build 2 | building 2 change
         6000 build-ended 2 built a2            -> start 2 a2 | built 2 1s, starting 2 change
         6500 lacks-addresses 2 otherwise-ready -> nothing
         6600 lacks-addresses 2                 -> nothing
        66000 tick                              -> forward 2, stop 2 | failed 2 ready-timeout live 1
        ",
    );
}
