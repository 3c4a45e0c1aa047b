//! Live generations that fail their liveness check.

use super::{check_serving, command};

#[test]
fn a_generation_that_fails_is_replaced_twice_and_then_stays_live_until_a_change() {
    check_serving(
        &command(),
        "
        5000 liveness 1    -> start 2 a1 | starting 2 unhealthy
        5100 ready 2       -> switch 2 | ready 2 100ms
        5101 switched 2    -> await-quiescent 1 | live 2 1ms, draining 1 10s
        5200 gone 1        -> forward 1, release 1 | gone 1 drained 99ms
        6000 liveness 2    -> start 3 a1 | starting 3 unhealthy
        6100 ready 3       -> switch 3 | ready 3 100ms
        6101 switched 3    -> await-quiescent 2 | live 3 1ms, draining 2 10s
        6200 gone 2        -> forward 2, release 2 | gone 2 drained 99ms
        7000 liveness 3    -> | not-replaced 3
        8000 changed build -> start 4 a1 | starting 4 change
        ",
    );
}
