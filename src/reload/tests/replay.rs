//! Logs of `--log` can be replayed.

use crate::reload::notation;

/// Written by a run of a server that was edited once and then stopped with Ctrl-C.
#[test]
fn the_log_of_a_real_run_leads_to_the_same_effects() {
    let log = "
        # hotrun 0.1.0 on linux
        policy builds=no mode=auto passes-sockets=no when-busy=cancel ready-timeout=60000ms stop-timeout=10000ms stop-delay-min=20ms stop-delay-max=2500ms watchdog=none roll-back-within=10000ms kill-timeout=5000ms
        13.105 begin -> start 1 a1 | starting 1 begin
        524.179 ready 1 -> switch 1 | ready 1 511.074ms
        524.571 switched 1 -> | live 1 0.392ms
        3000.25 changed -> hold, await-quiescent 1 | draining 1 10000ms
        3030.672 quiescent 1 -> check-stop-signal 1
        3030.997 stop-unhandled 1 -> await-idle 1
        3043.115 idle 1 -> forward 1, stop 1
        3048.787 exited 1 signal-15 -> nothing
        3048.869 gone 1 -> release 1, start 2 a1 | gone 1 drained 48.619ms, starting 2 change
        3563.142 ready 2 -> switch 2 | ready 2 514.273ms
        3563.646 switched 2 -> | live 2 0.504ms
        5996.277 quit -> stop 2 | quitting 10000ms
        6001.526 exited 2 signal-15 -> nothing
        6001.859 gone 2 -> release 2, finish clean | gone 2 drained 5.582ms
        ";
    notation::replay(log).unwrap();
    let error = notation::replay(&log.replace("idle 1 -> forward 1", "idle 1 -> stop 1"));
    assert!(error.unwrap_err().contains("found:    forward 1, stop 1"));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let policy = "policy builds=yes mode=overlap";
    for (line, named) in [
        ("5 begin", "no arrow in `5 begin`"),
        ("5 started 1 -> nothing", "no such event: `started`"),
        ("5 ready one -> nothing", "no number: `one`"),
    ] {
        let error = notation::replay(&format!("{policy}\n{line}")).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    assert!(notation::replay("5 begin -> nothing").is_err(), "no policy");
}
