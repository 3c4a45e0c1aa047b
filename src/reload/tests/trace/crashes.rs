//! What happens after the live generation crashes.

mod blame;
mod restores;

use std::time::Duration;

use super::{after, auto, compare, stop_first};
use crate::reload::Policy;

/// This policy with the default `rollback_within`.
fn with_rollback(policy: &Policy) -> Policy {
    let rollback_within = Duration::from_secs(10);
    Policy {
        rollback_within,
        ..policy.clone()
    }
}

fn cargo() -> Policy {
    with_rollback(&super::cargo())
}

fn command() -> Policy {
    with_rollback(&super::command())
}

/// Plays a transcript that begins with generation 1 live and its artifact kept.
#[track_caller]
fn check(policy: &Policy, transcript: &str) {
    check_built(policy, "build-ended 1 built a1 kept", transcript);
}

#[track_caller]
fn check_built(policy: &Policy, built: &str, transcript: &str) {
    let live = [
        (0, "begin"),
        (10, built),
        (30, "ready 1"),
        (31, "switched 1"),
    ];
    compare(after(policy, &live), transcript);
}

/// Plays a transcript that begins when generation 2 has just gone live and generation 1 is draining.
#[track_caller]
fn check_second(built: &str, transcript: &str) {
    let steps = [
        (0, "begin"),
        (10, "build-ended 1 built a1 kept"),
        (30, "ready 1"),
        (31, "switched 1"),
        (5000, "changed build"),
        (6000, built),
        (6040, "ready 2"),
        (6041, "switched 2"),
    ];
    compare(after(&cargo(), &steps), transcript);
}

#[test]
fn the_artifact_of_a_stopped_generation_is_started_again_after_a_crash() {
    check_second(
        "build-ended 2 built a2 kept",
        "
        6100 quiescent 1           -> await-idle 1 pause 5s
        6101 handles-stop-signal 1 -> nothing
        6101 idle 1                -> forward 1, stop 1
        6200 gone 1                -> release 1 | gone 1 drained 159ms
        6500 exited 2 code 101     -> forward 2, hold, start 3 a1 | failed 2 crashed code 101, starting 3 roll-back
        6501 gone 2                -> release 2 | gone 2 drained 1ms
        6530 ready 3               -> switch 3 | ready 3 30ms
        6531 switched 3            -> | live 3 1ms
        ",
    );
}

/// Crashes alone cause at most two starts.
#[test]
fn after_two_starts_caused_by_crashes_hotrun_waits_for_a_change() {
    check_second(
        "build-ended 2 built a2",
        "
        6100 quiescent 1            -> await-idle 1 pause 5s
        6101 handles-stop-signal 1  -> nothing
        6101 idle 1                 -> forward 1, stop 1
        6200 gone 1                 -> release 1 | gone 1 drained 159ms
        6500 exited 2 code 101      -> forward 2, hold, start 3 a1 | failed 2 crashed code 101, starting 3 roll-back
        6530 ready 3                -> switch 3 | ready 3 30ms
        6531 switched 3             -> | live 3 1ms
        7000 exited 3 code 101      -> forward 3, hold | failed 3 crashed code 101, restart-scheduled 3 1s
        7999 tick                   -> nothing
        8000 tick                   -> start 4 a1 | starting 4 crash
        8030 ready 4                -> switch 4 | ready 4 30ms
        8031 switched 4             -> | live 4 1ms
        8500 exited 4 code 101      -> forward 4, hold, respond-unavailable 4 crashed code 101 | failed 4 crashed code 101, waiting
        9000 changed build          -> stop-responding, build 5 | building 5 change
        9100 build-ended 5 built a5 -> start 5 a5 | built 5 100ms, starting 5 change
        9130 ready 5                -> switch 5 | ready 5 30ms
        9131 switched 5             -> | live 5 1ms
        9200 exited 5 code 101      -> forward 5, hold | failed 5 crashed code 101, restart-scheduled 5 1s
        ",
    );
}

#[test]
fn hotrun_does_not_roll_back_to_an_artifact_that_was_not_kept() {
    check_built(
        &cargo(),
        "build-ended 1 built a1",
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> start 2 a2 | built 2 1s, starting 2 change
        6040 ready 2                -> switch 2 | ready 2 40ms
        6041 switched 2             -> await-quiescent 1 | live 2 1ms, draining 1 10s
        6100 quiescent 1            -> await-idle 1 pause 5s
        6101 handles-stop-signal 1  -> nothing
        6101 idle 1                 -> forward 1, stop 1
        6200 gone 1                 -> release 1 | gone 1 drained 159ms
        6500 exited 2 code 101      -> forward 2, hold | failed 2 crashed code 101, restart-scheduled 2 1s
        7500 tick                   -> start 3 a2 | starting 3 crash
        ",
    );
}

#[test]
fn a_late_crash_leads_to_a_restart() {
    check(
        &command(),
        "
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20001 gone 1            -> release 1 | gone 1 drained 1ms
        20999 tick              -> nothing
        21000 tick              -> start 2 a1 | starting 2 crash
        21030 ready 2           -> switch 2 | ready 2 30ms
        21031 switched 2        -> | live 2 1ms
        ",
    );
}

#[test]
fn a_restart_after_a_crash_is_not_repeated_if_it_fails() {
    check(
        &command(),
        "
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20001 gone 1            -> release 1 | gone 1 drained 1ms
        21000 tick              -> start 2 a1 | starting 2 crash
        21010 exited 2 code 1   -> forward 2, hold, respond-unavailable 2 exited-early code 1 | failed 2 exited-early code 1, waiting
        25000 tick              -> nothing
        ",
    );
}

#[test]
fn a_change_replaces_the_scheduled_restart() {
    check(
        &cargo(),
        "
        20000 exited 1 code 101      -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20500 changed build          -> build 2 | building 2 change
        21000 tick                   -> nothing
        22000 build-ended 2 built a2 -> start 2 a2 | built 2 1.5s, starting 2 change
        ",
    );
}

#[test]
fn a_broken_build_does_not_prevent_the_restart() {
    check(
        &cargo(),
        "
        20000 exited 1 code 101    -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20500 changed build        -> build 2 | building 2 change
        22000 build-ended 2 failed -> | failed 2 build, restart-scheduled 1 1s
        23000 tick                 -> start 3 a1 | starting 3 crash
        ",
    );
}

#[test]
fn a_restart_after_a_crash_is_not_repeated_if_a_restart_that_superseded_it_fails() {
    check(
        &command(),
        "
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20001 gone 1            -> release 1 | gone 1 drained 1ms
        21000 tick              -> start 2 a1 | starting 2 crash
        21001 changed restart   -> forward 2, hold, await-idle 2, start 3 a1 | superseded 2, starting 3 change
        21010 exited 3 code 1   -> forward 3, hold, respond-unavailable 3 exited-early code 1 | failed 3 exited-early code 1, waiting
        ",
    );
}

#[test]
fn a_failed_start_after_a_change_does_not_prevent_the_restart() {
    check(
        &cargo(),
        "
        20000 exited 1 code 101      -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20001 gone 1                 -> release 1 | gone 1 drained 1ms
        21000 tick                   -> start 2 a1 | starting 2 crash
        21001 changed build          -> build 3 | building 3 change
        21010 build-ended 3 built a3 -> forward 2, hold, await-idle 2, start 3 a3 | built 3 9ms, superseded 2, starting 3 change
        21020 exited 3 code 3        -> forward 3, hold | failed 3 exited-early code 3, restart-scheduled 1 1s
        22020 tick                   -> start 4 a1 | starting 4 crash
        22030 ready 4                -> switch 4 | ready 4 10ms
        ",
    );
}

#[test]
fn a_pause_does_not_prevent_a_restart_after_a_crash() {
    check(
        &cargo(),
        "
         5000 requested pause   -> | paused
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20500 changed build     -> nothing
        21000 tick              -> start 2 a1 | starting 2 crash
        21030 ready 2           -> switch 2 | ready 2 30ms
        21031 switched 2        -> | live 2 1ms
        ",
    );
}

#[test]
fn a_program_that_exits_with_status_zero_is_not_restarted() {
    check(
        &command(),
        "
         500 exited 1 code 0 -> forward 1, hold, respond-unavailable 1 crashed code 0 | failed 1 crashed code 0, waiting
        2000 tick            -> nothing
        ",
    );
}

/// A job has no listener, so no client is waiting for it.
#[test]
fn a_job_is_not_restarted() {
    check(
        &auto(&command()),
        "
         500 exited 1 code 1 -> forward 1, hold, respond-unavailable 1 crashed code 1 | failed 1 crashed code 1, waiting
        2000 tick            -> nothing
        ",
    );
}

#[test]
fn stop_first_rolls_back_after_a_crash() {
    check(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6100 gone 1                 -> forward 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6140 ready 2                -> switch 2 | ready 2 40ms
        6141 switched 2             -> | live 2 1ms
        6500 exited 2 code 101      -> forward 2, hold | failed 2 crashed code 101
        6501 gone 2                 -> release 2, start 3 a1 | gone 2 drained 1ms, starting 3 roll-back
        ",
    );
}

#[test]
fn nothing_is_restarted_while_hotrun_is_quitting() {
    check(
        &command(),
        "
        20000 exited 1 code 101 -> forward 1, hold | failed 1 crashed code 101, restart-scheduled 1 1s
        20500 requested quit    -> | quitting 10s
        21000 tick              -> nothing
        21500 gone 1            -> release 1, finish clean | gone 1 drained 1.5s
        ",
    );
}

#[test]
fn a_restored_generation_gets_the_reload_signals_that_it_missed() {
    check_second(
        "build-ended 2 built a2",
        "
        6100 config-changed 1               -> send-reload-signal 2 1
        6101 reload-signal-sent 2 1 handled -> | reload-signal-sent 2 1
        6500 exited 2 code 101              -> switch 1, send-reload-signal 1 1, forward 2
        6500 switched 1                     -> | failed 2 crashed code 101 live 1, restored 1 crash
        6501 reload-signal-sent 1 1 handled -> | reload-signal-sent 1 1
        ",
    );
}

/// The old generation has ended by the time the new one fails.
#[test]
fn stop_first_rolls_back_if_the_new_generation_fails_to_start() {
    check(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6100 gone 1                 -> forward 1, release 1, start 2 a2 | gone 1 drained 100ms, starting 2 change
        6110 exited 2 code 1        -> forward 2, hold | failed 2 exited-early code 1
        6111 gone 2                 -> release 2, start 3 a1 | gone 2 drained 1ms, starting 3 roll-back
        6140 ready 3                -> switch 3 | ready 3 29ms
        6141 switched 3             -> | live 3 1ms
        ",
    );
}

#[test]
fn without_an_earlier_artifact_stop_first_waits_for_a_change() {
    check(
        &stop_first(&command()),
        "
        5000 changed build   -> hold, await-quiescent 1 | draining 1 10s
        6100 gone 1          -> forward 1, release 1, start 2 a1 | gone 1 drained 1.1s, starting 2 change
        6110 exited 2 code 1 -> forward 2, hold, respond-unavailable 2 exited-early code 1 | failed 2 exited-early code 1, waiting
        6111 gone 2          -> release 2 | gone 2 drained 1ms
        ",
    );
}

/// The old generation was already stopped for the queued one.
#[test]
fn a_broken_build_does_not_discard_the_queued_generation() {
    check(
        &stop_first(&cargo()),
        "
        5000 changed build          -> build 2 | building 2 change
        6000 build-ended 2 built a2 -> hold, await-quiescent 1 | built 2 1s, draining 1 10s
        6010 changed build          -> build 3 | building 3 change
        6100 gone 1                 -> forward 1, release 1 | gone 1 drained 100ms
        7000 build-ended 3 failed   -> start 2 a2 | failed 3 build, starting 2 change
        7030 ready 2                -> switch 2 | ready 2 30ms
        7031 switched 2             -> | live 2 1ms
        ",
    );
}

#[test]
fn a_program_that_opens_its_own_listener_counts_as_a_server() {
    let policy = Policy {
        passes_sockets: false,
        ..stop_first(&cargo())
    };
    check(
        &policy,
        "
          50 listening 1     -> nothing
        5000 exited 1 code 1 -> forward 1, hold | failed 1 crashed code 1, restart-scheduled 1 1s
        ",
    );
    check(
        &policy,
        "
        5000 exited 1 code 1 -> forward 1, hold, respond-unavailable 1 crashed code 1 | failed 1 crashed code 1, waiting
        ",
    );
}
