//! A draining generation goes live again after its successor has crashed.

use super::{cargo, check, check_second, command};

#[test]
fn a_draining_generation_is_restored() {
    check_second(
        "build-ended 2 built a2",
        "
        6200 quiescent 1            -> await-idle 1 pause 5s
        6500 exited 2 code 101      -> switch 1, forward 2
        6500 switched 1             -> | failed 2 crashed code 101 live 1, restored 1 crash
        6501 gone 2                 -> release 2 | gone 2 drained 1ms
        7000 changed build          -> build 3 | building 3 change
        8000 build-ended 3 built a3 -> start 3 a3 | built 3 1s, starting 3 change
        8030 ready 3                -> switch 3 | ready 3 30ms
        8031 switched 3             -> await-quiescent 1 | live 3 1ms, draining 1 10s
        8100 quiescent 1            -> await-idle 1 pause 5s
        ",
    );
}

/// The switch back fails because the generation has already shut down its sockets.
#[test]
fn a_generation_that_cannot_be_restored_is_restarted_from_its_artifact() {
    check_second(
        "build-ended 2 built a2 kept",
        "
        6200 quiescent 1       -> await-idle 1 pause 5s
        6500 exited 2 code 101 -> switch 1, forward 2
        6500 switch-failed 1   -> hold, await-quiescent 1, start 3 a1 | draining 1 10s, failed 2 crashed code 101, starting 3 roll-back
        6530 ready 3           -> switch 3 | ready 3 30ms
        6531 switched 3        -> | live 3 1ms
        6600 quiescent 1       -> await-idle 1 pause 5s
        ",
    );
}

#[test]
fn the_switch_to_a_restored_generation_is_reported_once() {
    check_second(
        "build-ended 2 built a2",
        "
        6500 exited 2 code 101 -> switch 1, forward 2
        6500 switched 1        -> | failed 2 crashed code 101 live 1, restored 1 crash
        6501 switch-failed 1   -> nothing
        6501 switched 1        -> nothing
        7000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        ",
    );
}

/// A crash is not blamed on an artifact that was live for a long time, even if it crashes soon after a restart.
#[test]
fn hotrun_does_not_roll_back_from_a_proven_artifact() {
    check_second(
        "build-ended 2 built a2 kept",
        "
         6100 quiescent 1           -> await-idle 1 pause 5s
         6101 handles-stop-signal 1 -> nothing
         6101 idle 1                -> forward 1, stop 1
         6200 gone 1                -> release 1 | gone 1 drained 159ms
        20000 exited 2 code 101     -> forward 2, hold | failed 2 crashed code 101, restart-scheduled 2 1s
        21000 tick                  -> start 3 a2 | starting 3 crash
        21030 ready 3               -> switch 3 | ready 3 30ms
        21031 switched 3            -> | live 3 1ms
        22000 exited 3 code 101     -> forward 3, hold | failed 3 crashed code 101, restart-scheduled 3 1s
        ",
    );
}

/// The restarted program may have read new files.
#[test]
fn a_crash_soon_after_a_restart_restores_the_previous_generation() {
    check(
        &cargo(),
        "
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        21000 tick              -> start 2 a1 | starting 2 crash
        21030 ready 2           -> switch 2 | ready 2 30ms
        21031 switched 2        -> | live 2 1ms
        22000 changed restart   -> start 3 a1 | starting 3 change
        22030 ready 3           -> switch 3 | ready 3 30ms
        22031 switched 3        -> await-quiescent 2 | live 3 1ms, draining 2 10s
        22500 exited 3 code 101 -> switch 2, forward 3
        ",
    );
}

/// The crash must not cause a restart when the restored generation is stopped later.
#[test]
fn a_crash_is_forgotten_once_a_generation_has_been_restored() {
    check(
        &command(),
        "
        5000 changed build         -> start 2 a1 | starting 2 change
        5030 ready 2               -> switch 2 | ready 2 30ms
        5031 switched 2            -> await-quiescent 1 | live 2 1ms, draining 1 10s
        5500 exited 2 code 101     -> switch 1, forward 2
        5500 switched 1            -> | failed 2 crashed code 101 live 1, restored 1 crash
        5501 gone 2                -> release 2 | gone 2 drained 1ms
        6000 stored-fds 1          -> | stored-fds 1
        7000 changed build         -> hold, await-quiescent 1 | draining 1 10s
        7100 quiescent 1           -> await-idle 1
        7101 handles-stop-signal 1 -> nothing
        7101 idle 1                -> forward 1, stop 1
        7200 gone 1                -> release 1, start 3 a1 | gone 1 drained 200ms, starting 3 change
        7230 exited 3 code 101     -> forward 3, hold, respond-unavailable 3 exited-early code 101 | failed 3 exited-early code 101, waiting
        ",
    );
}

/// No client has to wait for the build.
#[test]
fn a_draining_generation_is_restored_during_a_build() {
    check_second(
        "build-ended 2 built a2",
        "
        6200 changed build        -> build 3 | building 3 change
        6500 exited 2 code 101    -> switch 1, forward 2
        6500 switched 1           -> | failed 2 crashed code 101 live 1, restored 1 crash
        6501 gone 2               -> release 2 | gone 2 drained 1ms
        7000 build-ended 3 failed -> | failed 3 build live 1
        ",
    );
}

/// Holding connections or restoring the old generation would undo the switch.
#[test]
fn nothing_is_restored_during_a_switch() {
    check_second(
        "build-ended 2 built a2",
        "
        6100 changed build          -> build 3 | building 3 change
        6200 build-ended 3 built a3 -> start 3 a3 | built 3 100ms, starting 3 change
        6230 ready 3                -> switch 3 | ready 3 30ms
        6230 exited 2 code 101      -> forward 2 | failed 2 crashed code 101
        6231 switched 3             -> | live 3 1ms
        ",
    );
}

/// The restart must not start the artifact that crashed.
#[test]
fn a_restart_starts_the_restored_artifact() {
    check_second(
        "build-ended 2 built a2 kept",
        "
        6500 exited 2 code 101 -> switch 1, forward 2
        6500 switched 1        -> | failed 2 crashed code 101 live 1, restored 1 crash
        6501 gone 2            -> release 2 | gone 2 drained 1ms
        7000 changed restart   -> start 3 a1 | starting 3 change
        ",
    );
}

#[test]
fn a_restart_starts_the_artifact_that_was_starting_during_the_restore() {
    check_second(
        "build-ended 2 built a2 kept",
        "
        6200 changed build          -> build 3 | building 3 change
        6300 build-ended 3 built a3 -> start 3 a3 | built 3 100ms, starting 3 change
        6400 exited 2 code 101      -> switch 1, forward 2
        6400 switched 1             -> | failed 2 crashed code 101 live 1, restored 1 crash
        6500 exited 3 code 1        -> forward 3 | failed 3 exited-early code 1 live 1
        6600 changed restart        -> start 4 a3 | starting 4 change
        ",
    );
}
