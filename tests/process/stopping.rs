//! Tests which processes get a signal, how often they get it, and that a kill leaves nothing behind.

use std::time::Duration;

use hotrun::process::Signal;
use hotrun::reload::Ended;

use crate::support::*;

const LOOP: &str = "while :; do sleep 0.02; done";

#[tokio::test]
async fn hc20_the_stop_signal_arrives_once() {
    let mark = Mark::new();
    let traps = "trap 'echo stop' TERM; trap 'echo end; exit 5' USR2";
    let mut running = shell(&mark, &format!("{traps}; echo up; {LOOP}"));
    running.started().await;
    assert_eq!(running.line().await, "up");
    for _ in 0..3 {
        running.control.stop(Signal::SIGTERM);
    }
    assert_eq!(running.line().await, "stop");
    running.control.stop(Signal::SIGTERM);
    running.control.signal(Signal::SIGUSR2);
    assert_eq!(running.rest().await, ["end"]);
    assert_eq!(running.end().await.0, Ended::Code(5));
}

#[tokio::test]
async fn other_signals_arrive_as_often_as_they_are_sent() {
    let mark = Mark::new();
    let mut running = shell(&mark, &format!("trap 'echo hup' HUP; echo up; {LOOP}"));
    running.started().await;
    assert_eq!(running.line().await, "up");
    for _ in 0..3 {
        running.control.signal(Signal::SIGHUP);
        assert_eq!(running.line().await, "hup");
    }
    running.control.kill();
    running.end().await;
}

#[tokio::test]
async fn hc21_a_server_inside_a_shell_is_stopped_and_the_shell_does_not_continue() {
    let mark = Mark::new();
    let server = format!("trap \"echo served; exit 0\" TERM; echo up; {LOOP}");
    let mut running = shell(&mark, &format!("sh -c '{server}'; echo further"));
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.rest().await, ["served"]);
    assert_eq!(running.end().await.0, Ended::Signal(15));
    mark.assert_none_left();
}

#[tokio::test]
async fn the_reader_of_a_pipe_gets_no_stop_signal_and_reads_everything() {
    let mark = Mark::new();
    let stopping = "echo stopping; sleep 0.3; echo stopped; exit 0";
    let server = format!("trap \"{stopping}\" TERM; echo up; {LOOP}");
    let mut running = shell(
        &mark,
        &format!("sh -c '{server}' | cat | cat; echo further"),
    );
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.rest().await, ["stopping", "stopped"]);
    assert_eq!(running.end().await.0, Ended::Signal(15));
    mark.assert_none_left();
}

#[tokio::test]
async fn a_pipe_reader_that_ignores_the_end_of_its_input_gets_the_stop_signal() {
    let mark = Mark::new();
    let mut running = shell(&mark, "sleep 1000 | (echo up; exec sleep 1000)");
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.end().await, (Ended::Signal(15), true));
    mark.assert_none_left();
}

#[tokio::test]
async fn children_get_the_stop_signal_only_once_they_are_orphans() {
    let mark = Mark::new();
    let child = format!("trap \"echo child; exit 0\" TERM; echo up; {LOOP}");
    let parent = "trap 'echo parent' TERM; trap 'echo bye; exit 0' USR2";
    let mut running = shell(&mark, &format!("{parent}; sh -c '{child}' & {LOOP}"));
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.line().await, "parent");
    running.control.signal(Signal::SIGUSR2);
    // The child gets the signal only once it is an orphan, because its parent can then no longer stop it.
    assert_eq!(running.rest().await, ["bye", "child"]);
    assert_eq!(running.end().await, (Ended::Code(0), true));
    mark.assert_none_left();
}

/// A script that prints `up` once its daemon is running. The daemon has left the session and lost its parent.
const DAEMON: &str = "setsid sh -c 'sleep 1000 & echo up' & wait; exec sleep 1000";

#[tokio::test]
async fn a_double_forked_daemon_belongs_to_the_tree() {
    let mark = Mark::new();
    let mut running = shell(&mark, DAEMON);
    running.started().await;
    assert_eq!(running.line().await, "up");
    let reparented = || running.control.pids().len() == 2;
    until("only the program and its daemon are left", reparented).await;
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.end().await.0, Ended::Signal(15));
    mark.assert_none_left();
}

#[tokio::test]
async fn hc23_a_tree_that_ignores_every_signal_is_killed() {
    let mark = Mark::new();
    let deaf = "trap '' HUP INT QUIT TERM USR1 USR2 ALRM PIPE CHLD TSTP TTIN TTOU";
    let script = format!("{deaf}; ({LOOP}) & setsid sh -c '{LOOP}' & echo up; {LOOP}");
    let mut running = shell(&mark, &script);
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.stop(Signal::SIGTERM);
    assert!(!running.control.handles(Signal::SIGTERM));
    // The program has not exited, so there is no event.
    running.control.signal(Signal::SIGHUP);
    let timeout = Duration::from_millis(100);
    assert!(
        tokio::time::timeout(timeout, running.events.next())
            .await
            .is_err()
    );
    running.control.kill();
    assert_eq!(running.end().await.0, Ended::Signal(9));
    mark.assert_none_left();
}

#[tokio::test]
async fn a_stopped_process_handles_the_stop_signal() {
    let mark = Mark::new();
    let mut running = shell(
        &mark,
        "trap 'echo stopping; exit 6' TERM; echo up; kill -STOP $$; exit 1",
    );
    let pid = running.started().await;
    assert_eq!(running.line().await, "up");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    until("the program is stopped", || state().contains(") T ")).await;
    running.control.stop(Signal::SIGTERM);
    assert_eq!(running.rest().await, ["stopping"]);
    assert_eq!(running.end().await.0, Ended::Code(6));
}

/// A Python program in which every process forks and exits immediately, so that none of them lives for long.
const COMET: &str = "import os
os.setsid()
print('up', flush=True)
while True:
    if os.fork():
        os._exit(0)";

#[tokio::test]
async fn a_tree_that_keeps_forking_is_killed() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let mut running = Running::start(spec(
        &mark,
        &["sh", "-c", "python3 -c \"$0\"; sleep 1000", COMET],
    ));
    running.started().await;
    assert_eq!(running.line().await, "up");
    running.control.kill();
    running.end().await;
    mark.assert_none_left();
}

#[tokio::test]
async fn a_wide_and_deep_tree_is_killed() {
    let mark = Mark::new();
    let deep =
        "d=$((${d:-0} + 1)); export d; [ $d -lt 8 ] && sh -c \"$0\" \"$0\" & sleep 1000 & wait";
    let wide = "for i in 1 2 3 4 5; do sh -c \"$0\" \"$0\" & done; wait";
    let mut running = Running::start(spec(&mark, &["sh", "-c", wide, deep]));
    running.started().await;
    until("the whole tree is running", || {
        running.control.pids().len() >= 5 * 8 * 2
    })
    .await;
    running.control.kill();
    assert_eq!(running.end().await.0, Ended::Signal(9));
    mark.assert_none_left();
}

#[tokio::test]
async fn handled_signals_are_recognized() {
    let mark = Mark::new();
    for (script, handled) in [
        ("trap 'exit 0' TERM; echo up; sleep 1000".to_owned(), true),
        ("echo up; sleep 1000".to_owned(), false),
        ("trap '' TERM; echo up; sleep 1000".to_owned(), false),
        (
            format!("sh -c 'trap \"exit 0\" TERM; echo up; {LOOP}'; true"),
            true,
        ),
    ] {
        let mut running = shell(&mark, &script);
        running.started().await;
        assert_eq!(running.line().await, "up");
        assert_eq!(
            running.control.handles(Signal::SIGTERM),
            handled,
            "{script}"
        );
        // `INT` would not be suitable, because dash always catches it.
        assert!(!running.control.handles(Signal::SIGHUP), "{script}");
        running.control.kill();
        running.end().await;
        assert!(!running.control.handles(Signal::SIGTERM));
    }
}

/// A Python server that waits in `accept`.
const SERVER: &str = "import signal, socket, sys
if sys.argv[1] == 'blocks':
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if sys.argv[1] == 'catches':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
s = socket.create_server(('127.0.0.1', 0))
print('up', flush=True)
s.accept()";

#[tokio::test]
async fn a_wrapper_that_only_forwards_the_signal_does_not_count_as_handling_it() {
    if !python_or_skip() {
        return;
    }
    for (how, handled) in [("plain", false), ("blocks", true), ("catches", true)] {
        let mark = Mark::new();
        let wrapper = "trap 'kill $!' TERM; python3 -c \"$0\" $1 & wait";
        let mut running = Running::start(spec(&mark, &["sh", "-c", wrapper, SERVER, how]));
        running.started().await;
        assert_eq!(running.line().await, "up");
        assert_eq!(running.control.handles(Signal::SIGTERM), handled, "{how}");
    }
}
