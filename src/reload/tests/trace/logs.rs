//! Logs written by `--log` can be replayed.

use crate::reload::Policy;
use crate::reload::tests::replay::replay;

/// The log of a run in which a server was edited once, and hotrun was then stopped with Ctrl-C.
#[test]
fn replaying_the_log_of_a_real_run_leads_to_the_same_effects() {
    let log = "
        # hotrun 0.1.0 on linux
        Policy { builds: false, mode: Auto, passes_sockets: false, when_busy: Cancel, ready_timeout: 60s, stop_timeout: 10s, stop_delay_max: 2.5s, watchdog: None, rollback_within: 10s, kill_timeout: 5s }
        13.105ms begin               -> start 1 a1 | starting 1 begin
        524.179ms ready 1            -> switch 1 | ready 1 511.074ms
        524.571ms switched 1         -> | live 1 392µs
        3.00025s changed build       -> hold, await-quiescent 1 | draining 1 10s
        3.030672s quiescent 1        -> await-idle 1
        3.043115s idle 1             -> forward 1, stop 1
        3.048787s exited 1 signal 15 -> nothing
        3.048869s gone 1             -> release 1, start 2 a1 | gone 1 drained 48.619ms, starting 2 change
        3.563142s ready 2            -> switch 2 | ready 2 514.273ms
        3.563646s switched 2         -> | live 2 504µs
        5.996277s requested quit     -> stop 2 | quitting 10s
        6.001526s exited 2 signal 15 -> nothing
        6.001859s gone 2             -> release 2, finish clean | gone 2 drained 5.582ms
        ";
    replay(log).unwrap();
    let error = replay(&log.replace("-> forward 1", "-> stop 1"));
    assert!(error.unwrap_err().contains("found:    forward 1, stop 1"));
}

#[test]
fn an_error_names_the_text_that_cannot_be_read() {
    let policy = format!("{:?}", Policy::default());
    for (line, named) in [
        ("5 begin", "`5 begin` is not"),
        ("5 started 1 -> nothing", "unknown word: `started`"),
        ("5 ready one -> nothing", "not a number: `one`"),
    ] {
        let error = replay(&format!("{policy}\n{line}")).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    assert!(
        replay("5 begin -> nothing").is_err(),
        "a log needs a policy"
    );
}
