//! Restarts after undo, and which artifacts can be rolled back to.

use super::{cargo, check, check_serving, command, queue};

const SECOND: &str = "
        5000 changed         -> build 2 | building 2 change
        6000 built 2 a2 kept -> start 2 a2 | built 2 1000ms, starting 2 change
        6030 ready 2         -> switch 2 | ready 2 30ms
        6031 switched 2      -> await-quiescent 1 | live 2 1ms, draining 1 10000ms
        ";

#[test]
fn a_restart_after_undo_starts_the_live_artifact() {
    let undone = "
        7000 undo            -> start 3 a1 | starting 3 undo
        7030 ready 3         -> switch 3 | ready 3 30ms
        7031 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10000ms
        8000 changed-restart -> start 4 a1 | starting 4 change
        8030 ready 4         -> switch 4 | ready 4 30ms
        8031 switched 4      -> await-quiescent 3 | live 4 1ms, draining 3 10000ms
        9000 undo            -> start 5 a2 | starting 5 undo
        9030 ready 5         -> switch 5 | ready 5 30ms
        9031 switched 5      -> await-quiescent 4 | live 5 1ms, draining 4 10000ms
        9100 changed-restart -> start 6 a2 | starting 6 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn a_restart_while_the_earlier_artifact_starts_starts_it_again() {
    let undone = "
        7000 undo            -> start 3 a1 | starting 3 undo
        7010 changed-restart -> forward 3, stop 3, start 4 a1 | superseded 3, starting 4 change
        7020 exited 4 1      -> forward 4 | failed 4 (exited before it was ready (exit status 1); 2 stays live)
        7030 changed-restart -> start 5 a2 | starting 5 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn a_restart_after_a_newer_build_starts_that() {
    let undone = "
        7000 undo            -> start 3 a1 | starting 3 undo
        7030 ready 3         -> switch 3 | ready 3 30ms
        7031 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10000ms
        8000 changed         -> build 4 | building 4 change
        8100 built 4 a4      -> start 4 a4 | built 4 100ms, starting 4 change
        8110 exited 4 1      -> forward 4 | failed 4 (exited before it was ready (exit status 1); 3 stays live)
        8200 changed-restart -> start 5 a4 | starting 5 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn undo_needs_a_kept_artifact() {
    check(
        &cargo(),
        "
           0 begin           -> build 1 | building 1 begin
          10 built 1 a1      -> start 1 a1 | built 1 10ms, starting 1 begin
          30 ready 1         -> switch 1 | ready 1 20ms
          31 switched 1      -> | live 1 1ms
        5000 changed         -> build 2 | building 2 change
        6000 built 2 a2 kept -> start 2 a2 | built 2 1000ms, starting 2 change
        6030 ready 2         -> switch 2 | ready 2 30ms
        6031 switched 2      -> await-quiescent 1 | live 2 1ms, draining 1 10000ms
        7000 undo            -> | nothing-to-undo
        ",
    );
}

/// It is newer than the live artifact, and the build after it is broken.
#[test]
fn a_restart_uses_an_outdated_build_if_the_next_one_is_broken() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed         -> build 2 | building 2 change
        5100 changed         -> nothing
        5200 built 2 a2 kept -> build 3 | outdated 2, building 3 change
        5300 build-failed 3  -> | failed 3 (failed to build; 1 stays live)
        5400 changed-restart -> start 4 a2 | starting 4 change
        5430 ready 4         -> switch 4 | ready 4 30ms
        5431 switched 4      -> await-quiescent 1 | live 4 1ms, draining 1 10000ms
        5500 undo            -> start 5 a1 | starting 5 undo
        ",
    );
}

/// It replaces the older artifact of the queued generation.
#[test]
fn a_queued_generation_uses_an_outdated_build_if_the_next_one_is_broken() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed         -> build 2 | building 2 change
        5100 built 2 a2      -> start 2 a2 | built 2 100ms, starting 2 change
        5200 changed         -> build 3 | building 3 change
        5300 built 3 a3      -> | built 3 100ms
        5400 changed         -> build 4 | building 4 change
        5500 changed         -> nothing
        5600 built 4 a4 kept -> build 5 | outdated 4, building 5 change
        5700 ready 2         -> switch 2 | ready 2 600ms
        5701 switched 2      -> await-quiescent 1 | live 2 1ms, draining 1 10000ms
        5800 build-failed 5  -> start 3 a4 | failed 5 (failed to build; 2 stays live), starting 3 change
        5830 ready 3         -> switch 3 | ready 3 30ms
        5831 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10000ms
        ",
    );
}

#[test]
fn without_builds_a_restart_is_a_start() {
    check_serving(
        &command(),
        "
        5000 undo            -> | nothing-to-undo
        6000 changed-restart -> start 2 a1 | starting 2 change
        ",
    );
}
