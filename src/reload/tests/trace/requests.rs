//! Pause, undo, and killing draining generations.

use super::{cargo, check, check_draining, check_serving, command, stop_first};

#[test]
fn changes_during_a_pause_are_built_when_it_ends() {
    check_serving(
        &cargo(),
        "
        5000 requested pause  -> | paused
        5001 requested pause  -> nothing
        5100 changed build    -> nothing
        5200 changed build    -> nothing
        6000 requested resume -> build 2 | resumed, building 2 change
        6001 requested resume -> nothing
        ",
    );
}

#[test]
fn a_pause_without_changes_builds_nothing() {
    check_serving(
        &cargo(),
        "
        5000 requested pause  -> | paused
        6000 requested resume -> | resumed
        ",
    );
}

#[test]
fn work_in_progress_continues_during_a_pause() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        5100 requested pause        -> | paused
        5200 changed build          -> nothing
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 requested resume       -> build 3 | resumed, building 3 change
        ",
    );
}

#[test]
fn a_reload_during_a_pause_covers_the_changes_that_were_held_back() {
    check_serving(
        &cargo(),
        "
        5000 requested pause        -> | paused
        5100 changed build          -> nothing
        5200 requested reload       -> build 2 | building 2 request
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 800ms, starting 2 request
        6100 requested resume       -> | resumed
        ",
    );
}

#[test]
fn quitting_drops_the_changes_that_were_held_back() {
    check_serving(
        &cargo(),
        "
        5000 requested pause  -> | paused
        5100 changed build    -> nothing
        5200 requested quit   -> await-idle 1 | quitting 10s
        5300 requested resume -> nothing
        5400 requested undo   -> nothing
        5500 gone 1           -> release 1, finish clean | gone 1 drained 300ms
        ",
    );
}

#[test]
fn undoing_twice_returns_to_the_newest_artifact() {
    check_serving(
        &cargo(),
        "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                     -> switch 2 | ready 2 30ms
        6031 switched 2                  -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 requested undo              -> start 3 a1 | starting 3 undo
        7030 ready 3                     -> switch 3 | ready 3 30ms
        7031 switched 3                  -> await-quiescent 2 | live 3 1ms, draining 2 10s
        8000 requested undo              -> start 4 a2 | starting 4 undo
        8030 ready 4                     -> switch 4 | ready 4 30ms
        8031 switched 4                  -> await-quiescent 3 | live 4 1ms, draining 3 10s
        9000 changed build               -> build 5 | building 5 change
        ",
    );
}

#[test]
fn a_restart_cannot_be_undone() {
    check_serving(
        &cargo(),
        "
        5000 requested undo  -> | nothing-to-undo
        6000 changed restart -> start 2 a1 | starting 2 change
        6030 ready 2         -> switch 2 | ready 2 30ms
        6031 switched 2      -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 requested undo  -> | nothing-to-undo
        ",
    );
}

#[test]
fn undo_cancels_a_start_until_the_switch() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 changed build          -> build 3 | building 3 change
        7500 build-ended 3 built a3 -> start 3 a3 | built 3 500ms, starting 3 change
        7510 requested undo         -> forward 3, stop 3 | undone 2, superseded 3
        7520 requested undo         -> start 4 a1 | starting 4 undo
        7530 requested undo         -> forward 4, stop 4 | undone 2, superseded 4
        7540 requested undo         -> start 5 a1 | starting 5 undo
        7550 ready 5                -> switch 5 | ready 5 10ms
        7550 requested undo         -> | nothing-to-undo
        ",
    );
}

#[test]
fn undo_cancels_a_build_and_keeps_the_live_generation() {
    check_serving(
        &cargo(),
        "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2      -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                     -> switch 2 | ready 2 30ms
        6031 switched 2                  -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 requested reload            -> build 3 | building 3 request
        7010 changed build               -> cancel-build 3
        7100 requested undo              -> | undone 2
        7200 build-ended 3 cancelled     -> | build-cancelled 3
        7300 changed build               -> build 4 | building 4 change
        7400 requested undo              -> cancel-build 4 | undone 2
        7400 requested undo              -> | undone 2
        7500 build-ended 4 built a4      -> | outdated 4
        8000 requested undo              -> start 5 a1 | starting 5 undo
        ",
    );
}

#[test]
fn undo_cancels_the_build_that_follows_a_crash_and_rolls_back() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 exited 2 code 1        -> forward 2, hold, respond-unavailable 2 crashed code 1 | failed 2 crashed code 1, waiting
        8000 changed build          -> stop-responding, build 3 | building 3 change
        8100 requested undo         -> cancel-build 3, start 4 a1 | starting 4 undo
        ",
    );
}

#[test]
fn undo_does_not_return_to_a_crashed_artifact() {
    check_serving(
        &cargo(),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6030 ready 2                -> switch 2 | ready 2 30ms
        6031 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        7000 exited 2 code 1        -> forward 2, hold, respond-unavailable 2 crashed code 1 | failed 2 crashed code 1, waiting
        7001 gone 2                 -> release 2 | gone 2 drained 1ms
        8000 requested undo         -> stop-responding, start 3 a1 | starting 3 undo
        8030 ready 3                -> switch 3 | ready 3 30ms
        8031 switched 3             -> | live 3 1ms
        8032 requested undo         -> | nothing-to-undo
        ",
    );
}

#[test]
fn undo_waits_until_the_old_generation_has_ended_in_stop_first_mode() {
    check_serving(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6300 tick                   -> await-idle 1
        6301 handles-stop-signal 1  -> nothing
        6301 idle 1                 -> forward 1, stop 1
        6400 gone 1                 -> release 1, start 2 a2 | gone 1 drained 400ms, starting 2 change
        6500 ready 2                -> switch 2 | ready 2 100ms
        6501 switched 2             -> | live 2 1ms
        7000 requested undo         -> hold, await-quiescent 2 | draining 2 10s
        7300 tick                   -> await-idle 2
        7301 handles-stop-signal 2  -> nothing
        7301 idle 2                 -> forward 2, stop 2
        7400 gone 2                 -> release 2, start 3 a1 | gone 2 drained 400ms, starting 3 undo
        ",
    );
}

#[test]
fn without_builds_there_is_nothing_to_undo() {
    check(
        &command(),
        "
          0 begin          -> start 1 a1 | starting 1 begin
         30 ready 1        -> switch 1 | ready 1 30ms
         31 switched 1     -> | live 1 1ms
        100 changed build  -> start 2 a1 | starting 2 change
        130 ready 2        -> switch 2 | ready 2 30ms
        131 switched 2     -> await-quiescent 1 | live 2 1ms, draining 1 10s
        200 requested undo -> | nothing-to-undo
        ",
    );
}

#[test]
fn killing_the_draining_generations_leaves_the_live_one_alone() {
    check_draining(
        &command(),
        "
        1100 requested kill-draining -> forward 1, kill 1 | killing 1 killed 100ms
        1101 requested kill-draining -> nothing
        1200 gone 1                  -> release 1 | gone 1 killed 200ms
        1300 requested kill-draining -> | nothing-to-kill
        ",
    );
}
