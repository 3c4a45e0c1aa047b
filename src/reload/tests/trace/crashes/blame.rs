//! What a crash is blamed on, and so what follows: an older build, or once more the same.

use super::{auto, cargo, check, command, stop_first};
use crate::reload::Policy;

/// As hotrun runs where nothing can be taken over.
fn unadopted() -> Policy {
    let passes_sockets = false;
    Policy {
        passes_sockets,
        ..stop_first(&cargo())
    }
}

#[test]
fn who_listens_only_after_the_switch_is_a_server_too() {
    check(
        &unadopted(),
        "
         500 listens 1   -> nothing
        5000 changed     -> build 2 | building 2 change
        6000 built 2     -> hold, settle 1 | built 2 1000ms, draining 1 10000ms
        6100 gone 1      -> relay 1, release 1, start 2 | gone 1 drained 100ms, starting 2 change
        6110 exited 2 1  -> relay 2, hold | failed 2 (ended before it was ready: exit status 1)
        6111 gone 2      -> release 2, start 3 again-from 1 | gone 2 drained 1ms, starting 3 go-back
        ",
    );
}

#[test]
fn who_says_that_it_is_ready_is_a_server_whatever_it_listens_on() {
    for policy in [unadopted(), auto(&command())] {
        check(
            &policy,
            "
            500 serves 1    -> nothing
            15000 exited 1 1 -> relay 1, hold | failed 1 (ended while live: exit status 1), again 1 1000ms
            16000 gone 1     -> release 1, start 2 | gone 1 drained 1000ms, starting 2 crash
            ",
        );
    }
}
