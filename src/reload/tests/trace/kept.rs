//! After the switch, the old generation stays as it is for a while (`--keep`).

use std::time::Duration;

use super::{after, cargo, command, compare};
use crate::reload::Policy;

/// Generation 1 is kept for a minute since 1031.
#[track_caller]
fn check_kept(transcript: &str) {
    check_with(&keeping(), transcript);
}

#[track_caller]
fn check_with(policy: &Policy, transcript: &str) {
    let events = [
        (0, "begin"),
        (30, "ready 1"),
        (31, "switched 1"),
        (1000, "changed build"),
        (1030, "ready 2"),
    ];
    let switched = "1031 switched 2 -> keep 1 | live 2 1ms, kept 1 60s";
    compare(after(policy, &events), &format!("{switched}\n{transcript}"));
}

fn keeping() -> Policy {
    Policy {
        keep: Duration::from_secs(60),
        rollback_within: Duration::from_secs(10),
        ..command()
    }
}

#[test]
fn a_kept_generation_drains_when_its_time_is_over() {
    check_kept(
        "
        61030 tick        -> nothing
        61031 tick        -> await-quiescent 1 | draining 1 10s
        61100 quiescent 1 -> await-idle 1 pause 5s
        61200 idle 1      -> forward 1, stop 1
        61300 gone 1      -> release 1 | gone 1 drained 269ms
        ",
    );
}

/// Nothing is started, and the generation that was undone is not kept.
#[test]
fn undo_switches_back_to_the_kept_generation() {
    check_kept(
        "
        5000 requested undo         -> switch 1
        5001 switched 1             -> await-quiescent 2 | restored 1 undo, draining 2 10s
        5002 requested undo         -> | nothing-to-undo
        5100 quiescent 2            -> await-idle 2 pause 5s
        5200 idle 2                 -> forward 2, stop 2
        5300 gone 2                 -> release 2 | gone 2 drained 299ms
        6000 changed build          -> start 3 a1 | starting 3 change
        6030 ready 3                -> switch 3 | ready 3 30ms
        6031 switched 3             -> keep 1 | live 3 1ms, kept 1 60s
        ",
    );
}

/// The first undo cancels the reload.
#[test]
fn undo_cancels_a_reload_before_it_switches_back() {
    check_kept(
        "
        5000 changed build       -> measure-memory
        5000 memory-measured 2 1 -> start 3 a1 | starting 3 change
        5001 requested undo -> forward 3, stop 3 | undone 2, superseded 3
        5002 requested undo -> switch 1
        5003 switched 1     -> await-quiescent 2 | restored 1 undo, draining 2 10s
        ",
    );
}

#[test]
fn the_generation_stays_live_if_the_switch_back_is_refused() {
    check_kept(
        "
        5000 requested undo  -> switch 1
        5001 switch-failed 1 -> forward 1, stop 1 | failed 1 switch live 2
        5002 gone 1          -> release 1 | gone 1 drained 1ms
        ",
    );
}

/// Ten seconds after the switch, hotrun would otherwise only restart it.
#[test]
fn a_late_crash_makes_the_kept_generation_live_again() {
    check_kept(
        "
        30000 exited 2 signal 9 -> switch 1, forward 2
        30000 switched 1        -> | failed 2 crashed signal 9 live 1, restored 1 crash
        30001 gone 2            -> release 2 | gone 2 drained 1ms
        90000 changed build     -> start 3 a1 | starting 3 change
        ",
    );
}

/// Exit status 0 counts as intentional, but the user may still go back.
#[test]
fn an_intentional_end_does_not_make_the_kept_generation_live_again() {
    check_kept(
        "
        30000 exited 2 code 0 -> forward 2, hold, respond-unavailable 2 crashed code 0 | failed 2 crashed code 0, waiting
        30001 requested undo  -> stop-responding, switch 1
        30002 switched 1      -> | restored 1 undo
        ",
    );
}

#[test]
fn a_kept_generation_can_be_drained_early_and_then_killed() {
    check_kept(
        "
        2000 requested kill-draining -> await-quiescent 1 | draining 1 10s
        2100 quiescent 1             -> await-idle 1 pause 5s
        2200 requested kill-draining -> forward 1, kill 1 | killing 1 killed 200ms
        ",
    );
}

#[test]
fn only_the_generation_that_was_just_replaced_is_kept() {
    check_kept(
        "
        2000 changed build           -> measure-memory
        2000 memory-measured 2 1     -> start 3 a1 | starting 3 change
        2030 ready 3                 -> switch 3 | ready 3 30ms
        2031 switched 3              -> await-quiescent 1, keep 2 | live 3 1ms, draining 1 10s, kept 2 60s
        2100 requested kill-draining -> await-quiescent 2 | draining 2 10s
        2200 requested kill-draining -> forward 1, kill 1, forward 2, kill 2 | killing 1 killed 169ms, killing 2 killed 100ms
        ",
    );
}

#[test]
fn a_kept_generation_that_ends_is_reported_and_released() {
    check_kept(
        "
        2000 exited 1 signal 9 -> forward 1, stop 1 | kept-ended 1 crashed signal 9
        2001 gone 1            -> release 1 | gone 1 drained 1ms
        2002 requested undo    -> | nothing-to-undo
        ",
    );
}

/// A sick generation is no use, but an older one that is kept still is.
#[test]
fn an_unhealthy_generation_is_not_kept() {
    check_kept(
        "
        2000 liveness 2          -> measure-memory
        2000 memory-measured 2 1 -> start 3 a1 | starting 3 unhealthy
        2030 ready 3             -> switch 3 | ready 3 30ms
        2031 switched 3         -> await-quiescent 2 | live 3 1ms, draining 2 10s
        3000 exited 3 code 101  -> switch 1, forward 3
        3000 switched 1         -> | failed 3 crashed code 101 live 1, restored 1 crash
        ",
    );
}

#[test]
fn a_kept_generation_need_not_ping_its_watchdog() {
    let policy = Policy {
        watchdog: Some(Duration::from_secs(5)),
        ..keeping()
    };
    check_with(
        &policy,
        "
        5030 watchdog 2 ping    -> nothing
        9000 watchdog 1 trigger -> nothing
        9001 watchdog 2 ping    -> nothing
        9002 requested undo     -> switch 1
        9003 switched 1         -> await-quiescent 2 | restored 1 undo, draining 2 10s
        9100 gone 2             -> forward 2, release 2 | gone 2 drained 97ms
        14002 tick              -> abort 1 | aborting 1 after 5s
        ",
    );
}

/// It may have missed a change, so it gets the signal when it is live again.
#[test]
fn a_kept_generation_gets_its_reload_signals_when_it_is_live_again() {
    check_kept(
        "
        2000 config-changed 1               -> send-reload-signal 2 1
        2001 reload-signal-sent 2 1 handled -> | reload-signal-sent 2 1
        3000 requested undo                 -> switch 1
        3001 switched 1                     -> await-quiescent 2, send-reload-signal 1 1 | restored 1 undo, draining 2 10s
        ",
    );
}

#[test]
fn a_kept_generation_drains_before_the_next_start_if_descriptors_are_stored() {
    check_kept(
        "
        2000 stored-fds 2  -> | stored-fds 2
        3000 changed build -> await-quiescent 1, hold, await-quiescent 2 | draining 1 10s, draining 2 10s
        ",
    );
}

#[test]
fn a_kept_generation_is_stopped_on_quit() {
    check_kept(
        "
        2000 requested quit -> await-idle 2, await-idle 1 | quitting 10s
        2100 idle 1         -> forward 1, stop 1
        2200 idle 2         -> stop 2
        ",
    );
}

/// Undo starts the previous artifact if nothing is kept, and the generation that was undone is not kept either.
#[test]
fn a_generation_that_is_undone_by_a_start_is_not_kept() {
    let policy = Policy {
        keep: Duration::from_secs(60),
        ..cargo()
    };
    let events = [
        (0, "begin"),
        (20, "build-ended 1 built a1 kept"),
        (30, "ready 1"),
        (31, "switched 1"),
        (1000, "changed build"),
        (1020, "build-ended 2 built a2 kept"),
        (1030, "ready 2"),
        (1031, "switched 2"),
        (1040, "requested kill-draining"),
    ];
    compare(
        after(&policy, &events),
        "
        2000 requested undo  -> start 3 a1 | starting 3 undo
        2030 ready 3         -> switch 3 | ready 3 30ms
        2031 switched 3      -> await-quiescent 2 | live 3 1ms, draining 2 10s
        ",
    );
}

/// The start waits until the kept generation is gone.
#[test]
fn a_kept_generation_makes_room_for_the_next_start() {
    check_kept(
        "
        2000 changed build       -> measure-memory
        2001 memory-measured 1 2 -> await-quiescent 1 | makes-room 1 1 2, draining 1 10s
        2100 quiescent 1         -> await-idle 1 pause 5s
        2200 idle 1              -> forward 1, stop 1
        2300 gone 1              -> release 1, start 3 a1 | gone 1 drained 299ms, starting 3 change
        2330 ready 3             -> switch 3 | ready 3 30ms
        2331 switched 3          -> keep 2 | live 3 1ms, kept 2 60s
        ",
    );
}

/// Otherwise, the start would wait for the end of the live generation.
#[test]
fn a_start_does_not_wait_for_a_generation_that_is_live_again() {
    check_kept(
        "
        2000 changed build       -> measure-memory
        2001 memory-measured 1 2 -> await-quiescent 1 | makes-room 1 1 2, draining 1 10s
        2100 exited 2 signal 9   -> switch 1, forward 2, start 3 a1 | starting 3 change
        2100 switched 1          -> | failed 2 crashed signal 9 live 1, restored 1 crash
        ",
    );
}

#[test]
fn a_measurement_that_nothing_waits_for_changes_nothing() {
    check_kept(
        "
        2000 changed build       -> measure-memory
        2001 requested undo      -> | undone 2, outdated 3
        2002 memory-measured 1 2 -> nothing
        2003 changed build       -> measure-memory
        2004 requested undo      -> | undone 2, outdated 4
        2005 requested undo      -> switch 1
        2006 switched 1          -> await-quiescent 2 | restored 1 undo, draining 2 10s
        2007 memory-measured 1 2 -> nothing
        2008 changed build       -> start 5 a1 | starting 5 change
        ",
    );
}
