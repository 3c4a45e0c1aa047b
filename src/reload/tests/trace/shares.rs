//! A new generation gets a share of the new connections before it goes live (`--share`).

use std::time::Duration;

use super::{cargo, check, check_serving, command, queue};
use crate::reload::Policy;

fn share(policy: &Policy, steps: &str) -> Policy {
    Policy {
        share: steps.parse().unwrap(),
        ..policy.clone()
    }
}

fn every(policy: &Policy, steps: &str) -> Policy {
    Policy {
        share_every: Some(Duration::from_secs(30)),
        ..share(policy, steps)
    }
}

fn checked(policy: &Policy, steps: &str) -> Policy {
    Policy {
        share_check: true,
        ..every(policy, steps)
    }
}

#[test]
fn the_first_generation_gets_everything_at_once() {
    check(
        &share(&command(), "10%"),
        "
        0  begin      -> start 1 a1 | starting 1 begin
        30 ready 1    -> switch 1 | ready 1 30ms
        31 switched 1 -> | live 1 1ms
        ",
    );
}

#[test]
fn a_new_generation_takes_its_steps_by_itself_and_then_replaces_the_live_one() {
    check_serving(
        &every(&cargo(), "10%,50%,100%"),
        "
        5000  changed build               -> build 2 | building 2 change
        6000  build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6500  ready 2                     -> share 2 10 | ready 2 500ms, sharing 2 10
        36499 tick                        -> nothing
        36500 tick                        -> share 2 50 | sharing 2 50
        66500 tick                        -> switch 2
        66501 switched 2                  -> await-quiescent 1 | live 2 60.001s, draining 1 10s
        ",
    );
}

#[test]
fn without_an_interval_the_user_takes_every_further_step() {
    check_serving(
        &share(&command(), "10%,50%"),
        "
        5000 changed build        -> start 2 a1 | starting 2 change
        6000 requested share-more -> | nothing-shared
        6500 ready 2              -> share 2 10 | ready 2 1.5s, sharing 2 10
        7000 requested share-less -> nothing
        7001 requested share-more -> share 2 50 | sharing 2 50
        7002 requested share-more -> nothing
        7003 requested share-less -> share 2 10 | sharing 2 10
        8000 requested share-all  -> switch 2
        8001 requested share-all  -> | nothing-shared
        8002 switched 2           -> await-quiescent 1 | live 2 1.502s, draining 1 10s
        ",
    );
}

/// From 1 to 99.
#[test]
fn a_single_step_changes_by_ten_points() {
    check_serving(
        &share(&command(), "85%"),
        "
        5000 changed build        -> start 2 a1 | starting 2 change
        6000 ready 2              -> share 2 85 | ready 2 1s, sharing 2 85
        6001 requested share-more -> share 2 95 | sharing 2 95
        6002 requested share-more -> share 2 99 | sharing 2 99
        6003 requested share-more -> nothing
        6004 requested share-less -> share 2 89 | sharing 2 89
        ",
    );
}

/// The check runs before the first step, every 5 s, and before each further step.
#[test]
fn a_step_is_taken_only_after_a_check() {
    check_serving(
        &checked(&command(), "10%,100%"),
        "
        5000  changed build          -> start 2 a1 | starting 2 change
        6000  ready 2                -> check-share 2 | ready 2 1s
        6900  tick                   -> nothing
        7000  share-checked 2 passed -> share 2 10 | sharing 2 10
        12000 tick                   -> check-share 2
        12100 share-checked 2 passed -> nothing
        12200 share-checked 2 passed -> nothing
        36000 tick                   -> check-share 2
        36900 tick                   -> nothing
        37000 share-checked 2 passed -> switch 2
        ",
    );
}

/// The generation has connections, which finish first.
#[test]
fn after_a_failed_check_the_generation_leaves_and_the_live_one_is_not_touched() {
    check_serving(
        &checked(&command(), "10%,100%"),
        "
        5000  changed build          -> start 2 a1 | starting 2 change
        6000  ready 2                -> check-share 2 | ready 2 1s
        7000  share-checked 2 passed -> share 2 10 | sharing 2 10
        12000 tick                   -> check-share 2
        12100 share-checked 2        -> share 2 0, await-quiescent 2 | draining 2 10s, failed 2 share-check live 1
        12200 quiescent 2            -> await-idle 2 pause 5s
        12300 idle 2                 -> forward 2, stop 2
        12400 exited 2 code 0        -> nothing
        12401 gone 2                 -> release 2 | gone 2 drained 301ms
        ",
    );
}

#[test]
fn a_check_that_fails_before_the_first_step_stops_the_generation() {
    check_serving(
        &checked(&command(), "10%,100%"),
        "
        5000 changed build   -> start 2 a1 | starting 2 change
        6000 ready 2         -> check-share 2 | ready 2 1s
        7000 share-checked 2 -> forward 2, stop 2 | failed 2 share-check live 1
        ",
    );
}

#[test]
fn a_crash_ends_the_share_and_the_live_generation_is_not_touched() {
    check_serving(
        &share(&command(), "50%"),
        "
        5000 changed build              -> start 2 a1 | starting 2 change
        6000 ready 2                    -> share 2 50 | ready 2 1s, sharing 2 50
        7000 exited 2 signal 9          -> forward 2 | failed 2 crashed signal 9 live 1
        7001 gone 2                     -> release 2 | gone 2 drained 1ms
        8000 requested share-more       -> | nothing-shared
        ",
    );
}

#[test]
fn an_undo_takes_the_share_back() {
    check_serving(
        &share(&cargo(), "10%"),
        "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6500 ready 2                     -> share 2 10 | ready 2 500ms, sharing 2 10
        7000 requested undo              -> share 2 0, await-quiescent 2 | undone 1, draining 2 10s
        ",
    );
}

/// Also while builds and starts finish first: the candidate may never get everything.
#[test]
fn a_newer_save_replaces_the_candidate() {
    check_serving(
        &queue(&share(&cargo(), "10%")),
        "
        5000 changed build               -> build 2 | building 2 change
        6000 build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6500 ready 2                     -> share 2 10 | ready 2 500ms, sharing 2 10
        7000 changed build               -> build 3 | building 3 change
        8000 build-ended 3 built a3 kept -> share 2 0, await-quiescent 2, start 3 a3 | built 3 1s, draining 2 10s, starting 3 change
        8500 ready 3                     -> share 3 10 | ready 3 500ms, sharing 3 10
        ",
    );
}

#[test]
fn if_the_live_generation_crashes_the_candidate_takes_all() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build     -> start 2 a1 | starting 2 change
        6000 ready 2           -> share 2 10 | ready 2 1s, sharing 2 10
        7000 exited 1 code 1   -> switch 2, forward 1 | failed 1 crashed code 1
        7001 switched 2        -> | live 2 1.001s
        ",
    );
}

/// Connections that are waiting then go to the next generation.
#[test]
fn if_that_switch_is_refused_the_candidate_finishes_its_connections() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build     -> start 2 a1 | starting 2 change
        6000 ready 2           -> share 2 10 | ready 2 1s, sharing 2 10
        7000 exited 1 code 1   -> switch 2, forward 1 | failed 1 crashed code 1
        7001 switch-failed 2   -> forward 2, hold, await-idle 2, respond-unavailable 2 switch | failed 2 switch, waiting
        ",
    );
}

#[test]
fn if_the_live_generation_fails_its_liveness_check_the_candidate_takes_all() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build -> start 2 a1 | starting 2 change
        6000 ready 2       -> share 2 10 | ready 2 1s, sharing 2 10
        7000 liveness 1    -> switch 2
        ",
    );
}

#[test]
fn a_share_that_is_refused_is_a_failure() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build  -> start 2 a1 | starting 2 change
        6000 ready 2        -> share 2 10 | ready 2 1s, sharing 2 10
        6000 share-failed 2 -> share 2 0, await-quiescent 2 | draining 2 10s, failed 2 switch live 1
        6001 share-failed 2 -> nothing
        ",
    );
}

#[test]
fn while_hotrun_is_paused_only_the_user_takes_steps() {
    check_serving(
        &every(&command(), "10%,50%,100%"),
        "
        5000  changed build        -> start 2 a1 | starting 2 change
        6000  ready 2              -> share 2 10 | ready 2 1s, sharing 2 10
        7000  requested pause      -> | paused
        40000 tick                 -> nothing
        41000 requested share-more -> share 2 50 | sharing 2 50
        80000 requested resume     -> | resumed
        80000 tick                 -> switch 2
        ",
    );
}

#[test]
fn both_generations_keep_their_connections_while_hotrun_quits() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build        -> start 2 a1 | starting 2 change
        6000 ready 2              -> share 2 10 | ready 2 1s, sharing 2 10
        7000 requested quit       -> await-idle 2, await-idle 1 | quitting 10s
        7001 requested share-all  -> nothing
        ",
    );
}

/// A repair must not wait for anybody.
#[test]
fn a_rollback_gets_everything_at_once() {
    let policy = Policy {
        rollback_within: Duration::from_secs(10),
        ..share(&cargo(), "10%")
    };
    check_serving(
        &policy,
        "
        5000  changed build               -> build 2 | building 2 change
        6000  build-ended 2 built a2 kept -> start 2 a2 | built 2 1s, starting 2 change
        6500  ready 2                     -> share 2 10 | ready 2 500ms, sharing 2 10
        7000  requested share-all         -> switch 2
        7001  switched 2                  -> await-quiescent 1 | live 2 501ms, draining 1 10s
        20000 requested undo              -> start 3 a1 | starting 3 undo
        20500 ready 3                     -> switch 3 | ready 3 500ms
        ",
    );
}

/// Both may store descriptors at any time. From then on, no two generations run at a time.
#[test]
fn a_generation_with_a_share_is_restarted_to_inherit_descriptors() {
    check_serving(
        &share(&command(), "10%"),
        "
        5000 changed build -> start 2 a1 | starting 2 change
        6000 ready 2       -> share 2 10 | ready 2 1s, sharing 2 10
        7000 stored-fds 1  -> share 2 0, await-quiescent 2, hold, await-quiescent 1 | stored-fds 1, draining 2 10s, draining 1 10s
        ",
    );
}
