//! Restarts after undo, and which artifacts can be rolled back to.

use super::{cargo, check, check_serving, command, queue};

const SECOND: &str = "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                     -> switch 2 | ready 2 30ms
        6031 switched 2                  -> await-quiescent 1 | live 2 1ms, draining 1 10s
        ";

#[test]
fn a_restart_after_undo_starts_the_live_artifact() {
    let undone = "
        7000 requested undo  -> start 3 a1 | starting 3 undo
        7030 ready 3         -> switch 3 | ready 3 30ms
        7031 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10s
        8000 changed restart -> start 4 a1 | starting 4 change
        8030 ready 4         -> switch 4 | ready 4 30ms
        8031 switched 4      -> await-quiescent 3 | live 4 1ms, draining 3 10s
        9000 requested undo  -> start 5 a2 | starting 5 undo
        9030 ready 5         -> switch 5 | ready 5 30ms
        9031 switched 5      -> await-quiescent 4 | live 5 1ms, draining 4 10s
        9100 changed restart -> start 6 a2 | starting 6 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn a_restart_while_the_earlier_artifact_is_starting_starts_it_again() {
    let undone = "
        7000 requested undo  -> start 3 a1 | starting 3 undo
        7010 changed restart -> forward 3, stop 3, start 4 a1 | superseded 3, starting 4 change
        7020 exited 4 code 1 -> forward 4 | failed 4 exited-early code 1 live 2
        7030 changed restart -> start 5 a2 | starting 5 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn a_restart_after_a_newer_build_starts_the_new_artifact() {
    let undone = "
        7000 requested undo         -> start 3 a1 | starting 3 undo
        7030 ready 3                -> switch 3 | ready 3 30ms
        7031 switched 3             -> await-quiescent 2 | live 3 1ms, draining 2 10s
        8000 changed build          -> build 4 | building 4 change
        8100 build-ended 4 built a4 -> start 4 a4 | built 4 100ms, starting 4 change
        8110 exited 4 code 1        -> forward 4 | failed 4 exited-early code 1 live 3
        8200 changed restart        -> start 5 a4 | starting 5 change
        ";
    check_serving(&cargo(), &[SECOND, undone].concat());
}

#[test]
fn undo_needs_a_kept_artifact() {
    check(
        &cargo(),
        "
           0 begin                       -> build 1 | building 1 begin
          10 build-ended 1 built a1      -> start 1 a1 | built 1 10ms, starting 1 begin
          30 ready 1                     -> switch 1 | ready 1 20ms
          31 switched 1                  -> | live 1 1ms
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                     -> switch 2 | ready 2 30ms
        6031 switched 2                  -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 requested undo              -> | nothing-to-undo
        ",
    );
}

/// The outdated build is still newer than the live artifact.
#[test]
fn a_restart_uses_an_outdated_build_if_the_next_one_is_broken() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build               -> build 2 | building 2 change
        5100 changed build               -> nothing
        5200 build-ended 2 built a2 kept -> build 3 | outdated 2, building 3 change
        5300 build-ended 3 failed        -> | failed 3 build live 1
        5400 changed restart             -> start 4 a2 | starting 4 change
        5430 ready 4                     -> switch 4 | ready 4 30ms
        5431 switched 4                  -> await-quiescent 1 | live 4 1ms, draining 1 10s
        5500 requested undo              -> start 5 a1 | starting 5 undo
        ",
    );
}

/// The outdated build replaces the older artifact of the queued generation.
#[test]
fn a_queued_generation_uses_an_outdated_build_if_the_next_one_is_broken() {
    check_serving(
        &queue(&cargo()),
        "
        5000 changed build               -> build 2 | building 2 change
        5100 build-ended 2 built a2      -> start 2 a2 | built 2 100ms, starting 2 change
        5200 changed build               -> build 3 | building 3 change
        5300 build-ended 3 built a3      -> | built 3 100ms
        5400 changed build               -> build 4 | building 4 change
        5500 changed build               -> nothing
        5600 build-ended 4 built a4 kept -> build 5 | outdated 4, building 5 change
        5700 ready 2                     -> switch 2 | ready 2 600ms
        5701 switched 2                  -> await-quiescent 1 | live 2 1ms, draining 1 10s
        5800 build-ended 5 failed        -> start 3 a4 | failed 5 build live 2, starting 3 change
        5830 ready 3                     -> switch 3 | ready 3 30ms
        5831 switched 3                  -> await-quiescent 2 | live 3 1ms, draining 2 10s
        ",
    );
}

#[test]
fn without_builds_a_restart_starts_the_same_artifact() {
    check_serving(
        &command(),
        "
        5000 requested undo  -> | nothing-to-undo
        6000 changed restart -> start 2 a1 | starting 2 change
        ",
    );
}
