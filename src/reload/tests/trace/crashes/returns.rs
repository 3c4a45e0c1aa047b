//! What still drains serves again.

use super::{cargo, check, check_second, command};

#[test]
fn what_still_drains_serves_again() {
    check_second(
        "built 2 a2",
        "
        6200 settled 1      -> inspect 1
        6500 exited 2 101   -> switch 1, relay 2
        6500 switched 1     -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6501 gone 2         -> release 2 | gone 2 drained 1ms
        6502 dies-of-stop 1 -> nothing
        7000 changed        -> build 3 | building 3 change
        8000 built 3 a3 -> start 3 a3 | built 3 1000ms, starting 3 change
        8030 ready 3        -> switch 3 | ready 3 30ms
        8031 switched 3     -> settle 1 | live 3 1ms, draining 1 10000ms
        8100 settled 1      -> inspect 1
        ",
    );
}

/// It has shut its socket while it drained: what follows is what would have followed without it.
#[test]
fn what_cannot_serve_again_is_started_again_from_its_build() {
    check_second(
        "built 2 a2 kept",
        "
        6200 settled 1       -> inspect 1
        6500 exited 2 101    -> switch 1, relay 2
        6500 switch-failed 1 -> hold, settle 1, start 3 a1 | draining 1 10000ms, failed 2 (crashed (exit status 101)), starting 3 go-back
        6530 ready 3         -> switch 3 | ready 3 30ms
        6531 switched 3      -> | live 3 1ms
        6600 settled 1       -> inspect 1
        ",
    );
}

#[test]
fn whether_it_can_serve_again_is_answered_once() {
    check_second(
        "built 2 a2",
        "
        6500 exited 2 101    -> switch 1, relay 2
        6500 switched 1      -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6501 switch-failed 1 -> nothing
        6501 switched 1      -> nothing
        7000 exited 1 101    -> relay 1, hold | failed 1 (crashed (exit status 101)), again 1 1000ms
        ",
    );
}

/// What has served for long was not saved that way: nobody gets an older build because of it, however soon it crashes then.
#[test]
fn a_build_that_has_served_for_long_is_not_gone_back_from() {
    check_second(
        "built 2 a2 kept",
        "
        6100 settled 1      -> inspect 1
        6101 handles-stop 1 -> relay 1, stop 1
        6200 gone 1         -> release 1 | gone 1 drained 159ms
        20000 exited 2 101  -> relay 2, hold | failed 2 (crashed (exit status 101)), again 2 1000ms
        21000 tick          -> start 3 a2 | starting 3 crash
        21030 ready 3       -> switch 3 | ready 3 30ms
        21031 switched 3    -> | live 3 1ms
        22000 exited 3 101  -> relay 3, hold | failed 3 (crashed (exit status 101)), again 3 1000ms
        ",
    );
}

/// A restart has something new: what it reads when it starts.
#[test]
fn a_wish_is_blamed_for_a_crash_whatever_the_build_has_proven() {
    check(
        &cargo(),
        "
        20000 exited 1 101    -> relay 1, hold | failed 1 (crashed (exit status 101)), again 1 1000ms
        21000 tick            -> start 2 a1 | starting 2 crash
        21030 ready 2         -> switch 2 | ready 2 30ms
        21031 switched 2      -> | live 2 1ms
        22000 changed-restart -> start 3 a1 | starting 3 change
        22030 ready 3         -> switch 3 | ready 3 30ms
        22031 switched 3      -> settle 2 | live 3 1ms, draining 2 10000ms
        22500 exited 3 101    -> switch 2, relay 3
        ",
    );
}

/// Not blamed for anything later, even if the one that came back has to go without a crash.
#[test]
fn a_crash_that_was_made_good_is_forgotten() {
    check(
        &command(),
        "
        5000 changed        -> start 2 a1 | starting 2 change
        5030 ready 2        -> switch 2 | ready 2 30ms
        5031 switched 2     -> settle 1 | live 2 1ms, draining 1 10000ms
        5500 exited 2 101   -> switch 1, relay 2
        5500 switched 1     -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        5501 gone 2         -> release 2 | gone 2 drained 1ms
        6000 stores 1       -> | stores 1
        7000 changed        -> hold, settle 1 | draining 1 10000ms
        7100 settled 1      -> inspect 1
        7101 handles-stop 1 -> relay 1, stop 1
        7200 gone 1         -> release 1, start 3 a1 | gone 1 drained 200ms, starting 3 change
        7230 exited 3 101   -> relay 3, hold, answer 3 | failed 3 (exited before it was ready (exit status 101)), waiting
        ",
    );
}

/// Nobody has to wait for the build.
#[test]
fn what_still_drains_serves_again_during_a_build() {
    check_second(
        "built 2 a2",
        "
        6200 changed        -> build 3 | building 3 change
        6500 exited 2 101   -> switch 1, relay 2
        6500 switched 1     -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6501 gone 2         -> release 2 | gone 2 drained 1ms
        7000 build-failed 3 -> | failed 3 (failed to build; 1 serves)
        ",
    );
}

/// To hold, or to go back, would undo it.
#[test]
fn it_does_not_come_back_during_a_switch() {
    check_second(
        "built 2 a2",
        "
        6100 changed      -> build 3 | building 3 change
        6200 built 3 a3 -> start 3 a3 | built 3 100ms, starting 3 change
        6230 ready 3      -> switch 3 | ready 3 30ms
        6230 exited 2 101 -> relay 2 | failed 2 (crashed (exit status 101))
        6231 switched 3   -> | live 3 1ms
        ",
    );
}

/// Not of the one that has crashed.
#[test]
fn a_restart_is_of_what_serves_again() {
    check_second(
        "built 2 a2 kept",
        "
        6500 exited 2 101    -> switch 1, relay 2
        6500 switched 1      -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6501 gone 2          -> release 2 | gone 2 drained 1ms
        7000 changed-restart -> start 3 a1 | starting 3 change
        ",
    );
}

#[test]
fn a_restart_is_of_what_was_starting_when_it_came_back() {
    check_second(
        "built 2 a2 kept",
        "
        6200 changed         -> build 3 | building 3 change
        6300 built 3 a3 -> start 3 a3 | built 3 100ms, starting 3 change
        6400 exited 2 101    -> switch 1, relay 2
        6400 switched 1      -> | failed 2 (crashed (exit status 101); 1 serves), restored 1
        6500 exited 3 1      -> relay 3 | failed 3 (exited before it was ready (exit status 1); 1 serves)
        6600 changed-restart -> start 4 a3 | starting 4 change
        ",
    );
}
