//! Whether a crash is blamed on the artifact, which decides between rolling back and restarting.

use super::{auto, cargo, check, check_built, check_second, command, stop_first};
use crate::reload::Policy;

/// Like [`check_second`], but with generation 1 gone.
#[track_caller]
fn check_alone(transcript: &str) {
    let gone = "
        6100 quiescent 1           -> await-idle 1 pause 5s
        6101 handles-stop-signal 1 -> nothing
        6101 idle 1                -> forward 1, stop 1
        6200 gone 1                -> release 1 | gone 1 drained 159ms
        ";
    check_second("build-ended 2 built a2 kept", &[gone, transcript].concat());
}

/// The user guide makes this promise.
#[test]
fn hotrun_does_not_roll_back_from_a_proven_artifact_that_fails_to_restart() {
    check_alone(
        "
        20000 exited 2 code 101 -> forward 2, hold | failed 2 crashed code 101, restart-scheduled 2 1s
        21000 tick              -> start 3 a2 | starting 3 crash
        21010 exited 3 code 1   -> forward 3, hold, respond-unavailable 3 exited-early code 1 | failed 3 exited-early code 1, waiting
        25000 tick              -> nothing
        ",
    );
}

/// The program's configuration is the more likely cause.
#[test]
fn a_crash_of_a_restarted_artifact_is_not_blamed_on_it() {
    check_alone(
        "
        20000 changed restart       -> start 3 a2 | starting 3 change
        20030 ready 3               -> switch 3 | ready 3 30ms
        20031 switched 3            -> await-quiescent 2 | live 3 1ms, draining 2 10s
        20100 quiescent 2           -> await-idle 2 pause 5s
        20101 handles-stop-signal 2 -> nothing
        20101 idle 2                -> forward 2, stop 2
        20200 gone 2                -> release 2 | gone 2 drained 169ms
        21000 exited 3 code 1       -> forward 3, hold | failed 3 crashed code 1, restart-scheduled 3 1s
        22000 tick                  -> start 4 a2 | starting 4 crash
        22030 ready 4               -> switch 4 | ready 4 30ms
        22031 switched 4            -> | live 4 1ms
        23000 exited 4 code 1       -> forward 4, hold | failed 4 crashed code 1, restart-scheduled 4 1s
        ",
    );
}

/// Both generations were started from the same artifact.
#[test]
fn the_generation_before_a_restart_is_restored_while_it_is_draining() {
    check_alone(
        "
        20000 changed restart -> start 3 a2 | starting 3 change
        20030 ready 3         -> switch 3 | ready 3 30ms
        20031 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10s
        21000 exited 3 code 1 -> switch 2, forward 3
        21000 switched 2      -> | failed 3 crashed code 1 live 2, restored 2 crash
        ",
    );
}

#[test]
fn a_failed_restart_in_stop_first_mode_does_not_roll_back() {
    check(
        &stop_first(&cargo()),
        "
         5000 changed build               -> build 2 | building 2 change
         6000 build-ended 2 built a2 kept -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
         6100 gone 1                      -> forward 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
         6140 ready 2                     -> switch 2 | ready 2 40ms
         6141 switched 2                  -> | live 2 1ms
        20000 changed restart             -> hold, await-quiescent 2 | draining 2 10s
        20100 gone 2                      -> forward 2, release 2, start 3 a2 | gone 2 drained 100ms, starting 3 change
        20110 exited 3 code 1             -> forward 3, hold, respond-unavailable 3 exited-early code 1 | failed 3 exited-early code 1, waiting
        ",
    );
}

/// The build changed only assets or nothing at all, so both generations have the same artifact.
#[test]
fn hotrun_does_not_roll_back_to_the_same_artifact() {
    check_second(
        "build-ended 2 built a1 kept",
        "
        6100 quiescent 1           -> await-idle 1 pause 5s
        6101 handles-stop-signal 1 -> nothing
        6101 idle 1                -> forward 1, stop 1
        6200 gone 1                -> release 1 | gone 1 drained 159ms
        6300 requested undo        -> | nothing-to-undo
        6500 exited 2 code 101     -> forward 2, hold | failed 2 crashed code 101, restart-scheduled 2 1s
        7500 tick                  -> start 3 a1 | starting 3 crash
        ",
    );
}

/// Cleaning the target directory removes kept executables.
#[test]
fn if_the_kept_artifact_is_gone_the_crashed_one_is_restarted() {
    check_alone(
        "
        6500 exited 2 code 101 -> forward 2, hold, start 3 a1 | failed 2 crashed code 101, starting 3 roll-back
        6501 start-failed 3    -> forward 3, hold, release 3 | failed 3 start, restart-scheduled 2 1s
        7501 tick              -> start 4 a2 | starting 4 crash
        7502 start-failed 4    -> forward 4, hold, release 4, respond-unavailable 4 start | failed 4 start, waiting
        8000 requested undo    -> | nothing-to-undo
        ",
    );
}

#[test]
fn nothing_is_restored_after_exit_status_zero() {
    check_second(
        "build-ended 2 built a2 kept",
        "
        6500 exited 2 code 0 -> forward 2, hold, respond-unavailable 2 crashed code 0 | failed 2 crashed code 0, waiting
        6501 gone 2          -> release 2 | gone 2 drained 1ms
        6600 quiescent 1     -> await-idle 1
        ",
    );
}

/// The policy on systems where hotrun cannot adopt listeners.
fn without_adoption() -> Policy {
    let passes_sockets = false;
    Policy {
        passes_sockets,
        ..stop_first(&cargo())
    }
}

#[test]
fn a_program_that_listens_after_the_switch_counts_as_a_server() {
    check(
        &without_adoption(),
        "
         500 listening 1            -> nothing
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6100 gone 1                 -> forward 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6110 exited 2 code 1        -> forward 2, hold | failed 2 exited-early code 1
        6111 gone 2                 -> release 2, start 3 a1 | gone 2 drained 1ms, starting 3 roll-back
        ",
    );
}

#[test]
fn a_program_that_is_known_to_be_a_server_is_restarted_after_a_crash() {
    for policy in [without_adoption(), auto(&command())] {
        check(
            &policy,
            "
              500 is-server 1     -> nothing
            15000 exited 1 code 1 -> forward 1, hold | failed 1 crashed code 1, restart-scheduled 1 1s
            16000 gone 1          -> release 1, start 2 a1 | gone 1 drained 1s, starting 2 crash
            ",
        );
    }
}

/// hotrun could roll back only to the artifact that has just failed.
#[test]
fn an_undo_that_fails_does_not_roll_back() {
    check(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6100 gone 1                 -> forward 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6140 ready 2                -> switch 2 | ready 2 40ms
        6141 switched 2             -> | live 2 1ms
        7000 requested undo         -> hold, await-quiescent 2 | draining 2 10s
        7100 gone 2                 -> forward 2, release 2, start 3 a1 | gone 2 drained 100ms, starting 3 undo
        7110 exited 3 code 1        -> forward 3, hold, respond-unavailable 3 exited-early code 1 | failed 3 exited-early code 1, waiting
        ",
    );
}

/// Only the newest artifact could be started, and it has crashed before.
#[test]
fn a_restored_artifact_that_was_not_kept_is_not_restarted() {
    check_built(
        &cargo(),
        "build-ended 1 built a1",
        "
         5000 changed build          -> build 2 | building 2 change
         6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
         6040 ready 2                -> switch 2 | ready 2 40ms
         6041 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
         6500 exited 2 code 101      -> switch 1, forward 2
         6500 switched 1             -> | failed 2 crashed code 101 live 1, restored 1 crash
         6501 gone 2                 -> release 2 | gone 2 drained 1ms
        20000 exited 1 code 101      -> forward 1, hold, respond-unavailable 1 crashed code 101 | failed 1 crashed code 101, waiting
        21000 tick                   -> nothing
        ",
    );
}
