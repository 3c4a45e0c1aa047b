//! Tests that no process is left behind when hotrun or a guardian is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotrun::os::process_tree::children;
use hotrun::os::seccomp::Reply;
use hotrun::process::{Process, ProgramEvent, Signal, become_subreaper, reap_ended};
use hotrun::reload::Ended;
use nix::sys::signal::{SIGKILL, kill};
use nix::unistd::Pid;

use crate::intercept::{self, Replier};
use crate::support::*;

/// A script that starts a tree of processes that are hard to kill.
const TREE: &str = "trap '' HUP INT QUIT TERM USR1 USR2 PIPE
sleep 1000 &
setsid sh -c 'sh -c \"sleep 1000 & sleep 1000 &\"; sleep 1000' &
(while :; do sleep 0.01; done) &
echo up
sleep 1000; sleep 1000";

/// Starts an ignored test of this binary as a separate process that acts as hotrun.
fn start_helper(name: &str, mark: &Mark) -> Child {
    helper(name, mark).spawn().unwrap()
}

fn helper(name: &str, mark: &Mark) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            name,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(MARK, mark.value())
        .stdout(Stdio::piped());
    command
}

fn helpers_mark() -> String {
    std::env::var(MARK).expect("the test that starts this helper must set the mark")
}

fn tree() -> hotrun::process::Spec {
    let mut spec = spec(&Mark::new(), &["sh", "-c", TREE]);
    spec.env[1].1 = helpers_mark().into();
    spec
}

#[tokio::test]
#[ignore = "helper: starts trees until it is killed"]
async fn helper_starts_trees() {
    let mut running = Vec::new();
    for _ in 0..3 {
        let mut tree = Running::start(tree());
        tree.started().await;
        running.push(tree);
    }
    std::future::pending::<()>().await;
}

#[test]
fn hc22_kill_9_of_hotrun_at_any_time_leaves_no_process_behind() {
    let mark = Mark::new();
    for round in 0..20 {
        let mut helper = start_helper("kills::helper_starts_trees", &mark);
        // Kill the helper at different times, from before its first guardian starts to after its last tree has started.
        std::thread::sleep(Duration::from_micros(round * 4_700 + round * round * 113));
        helper.kill().unwrap();
        helper.wait().unwrap();
        mark.assert_none_left();
    }
}

#[test]
fn hc22_kill_9_of_hotrun_with_running_trees_leaves_no_process_behind() {
    let mark = Mark::new();
    let mut helper = start_helper("kills::helper_starts_trees", &mark);
    // There are three trees of at least nine processes each, three guardians, and the helper.
    let running = || mark.processes().len() > 3 * 9 + 3;
    wait_until("all trees are running", running);
    helper.kill().unwrap();
    helper.wait().unwrap();
    mark.assert_none_left();
}

/// Binds sockets without a pause in 21 processes, and adds to a file how that fails. Each process has a session of its
/// own, so that killing all of them takes a while.
const BINDER: &str = "import os, socket, sys
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        break
log = open(sys.argv[1], 'a', buffering=1)
for count in range(10 ** 9):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', 0))
        except OSError as error:
            print(error, file=log)
    if count == 100:
        print('up', file=log)
";

/// An environment variable with the path of the file.
const LOG: &str = "HOTRUN_TEST_LOG";

#[tokio::test]
#[ignore = "helper: intercepts the calls of a program until it is killed"]
async fn helper_intercepts_calls() {
    let log = std::env::var(LOG).unwrap();
    let mut spec = spec(&Mark::new(), &["python3", "-c", BINDER, &log]);
    spec.env[1].1 = helpers_mark().into();
    let (_running, calls) = intercept::start(spec).await;
    let _replier = Replier::start(calls, |_, _| Reply::Continue);
    std::future::pending::<()>().await;
}

#[test]
fn hc22_no_intercepted_call_fails_between_the_kill_of_hotrun_and_that_of_the_program() {
    if !python_or_skip() {
        return;
    }
    let bound = "up\n".repeat(21);
    for _ in 0..3 {
        let mark = Mark::new();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut helper = helper("kills::helper_intercepts_calls", &mark);
        let mut helper = helper.env(LOG, &log).spawn().unwrap();
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        wait_until("all processes bind sockets", || text() == bound);
        helper.kill().unwrap();
        helper.wait().unwrap();
        mark.assert_none_left();
        assert_eq!(text(), bound);
    }
}

#[tokio::test]
#[ignore = "helper: kills one of its guardians"]
async fn helper_kills_a_guardian() {
    become_subreaper().unwrap();
    let mut other = Running::start(tree());
    let other_pid = other.started().await;
    let mut running = Running::start(tree());
    let pid = running.started().await;
    assert_eq!(running.line().await, "up");
    kill(Pid::from_raw(guardian_of(pid)), SIGKILL).unwrap();
    let (ended, survivors) = (Ended::Signal(9), false);
    assert_eq!(
        running.event().await,
        Some(ProgramEvent::Exited { ended, survivors })
    );
    assert_eq!(running.event().await, Some(ProgramEvent::Gone));
    assert_eq!(running.event().await, None);
    // The other tree must still be running.
    kill(Pid::from_raw(other_pid), None).unwrap();
    other.control.kill();
    assert_eq!(other.end().await.0, Ended::Signal(9));
    println!("helper: done");
}

#[tokio::test]
#[ignore = "helper: inherits an orphan"]
async fn helper_inherits_an_orphan() {
    become_subreaper().unwrap();
    let reaping = tokio::spawn(reap_ended());
    let mut shell = Command::new("sh");
    shell.args(["-c", "setsid sleep 0.5 >/dev/null 2>&1 & echo $!"]);
    let orphan = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let own = std::process::id().cast_signed();
    assert_eq!(children(own), [orphan.trim().parse::<i32>().unwrap()]);
    // An ended child is listed until it is reaped.
    let reaped = async {
        while !children(own).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within_deadline("reaping the orphan", reaped).await;
    reaping.abort();
    println!("helper: done");
}

#[test]
fn hotrun_reaps_the_orphans_that_it_inherits() {
    assert_helper_succeeds("kills::helper_inherits_an_orphan");
}

#[test]
fn hotrun_kills_the_tree_of_a_killed_guardian() {
    assert_helper_succeeds("kills::helper_kills_a_guardian");
}

fn assert_helper_succeeds(name: &str) {
    let mark = Mark::new();
    let mut helper = start_helper(name, &mark);
    let mut text = String::new();
    helper
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(helper.wait().unwrap().success(), "{text}");
    assert!(text.contains("helper: done"), "{text}");
    mark.assert_none_left();
}

#[tokio::test]
async fn a_tree_is_killed_when_its_last_control_is_dropped() {
    let mark = Mark::new();
    let Process {
        control,
        mut events,
        stdout,
        stderr,
    } = spawner().spawn(spec(&mark, &["sleep", "1000"])).unwrap();
    let second = control.clone();
    assert!(matches!(
        within_deadline("waiting for the start event", events.next()).await,
        Some(ProgramEvent::Started { .. })
    ));
    drop(control);
    second.signal(Signal::SIGHUP);
    let (ended, survivors) = (Ended::Signal(1), false);
    let exited = within_deadline("waiting for the exit event", events.next()).await;
    assert_eq!(exited, Some(ProgramEvent::Exited { ended, survivors }));
    drop((second, stdout, stderr));

    let mut running = Running::start(spec(&mark, &["sleep", "1000"]));
    running.started().await;
    drop(running.control);
    let (ended, survivors) = (Ended::Signal(9), false);
    let exited = within_deadline("waiting for the exit event", running.events.next()).await;
    assert_eq!(exited, Some(ProgramEvent::Exited { ended, survivors }));
    assert_eq!(
        within_deadline("waiting for the last event", running.events.next()).await,
        Some(ProgramEvent::Gone)
    );
    mark.assert_none_left();
}

#[test]
fn dropping_the_runtime_kills_its_trees() {
    let mark = Mark::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let running = runtime.block_on(async {
        let mut running = Running::start(spec(&mark, &["sleep", "1000"]));
        running.started().await;
        running
    });
    assert_eq!(mark.processes().len(), 1);
    drop(running);
    drop(runtime);
    mark.assert_none_left();
}

#[test]
fn a_tree_survives_the_thread_that_started_it() {
    let mark = Mark::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut running = runtime.block_on(async { Running::start(spec(&mark, &["sleep", "1000"])) });
    let pid = runtime.block_on(running.started());
    // `PDEATHSIG` is sent when a *thread* ends, so start another tree from a thread that ends.
    let handle = runtime.handle().clone();
    let sent = mark.value().to_owned();
    let mut other = std::thread::spawn(move || {
        let _inside = handle.enter();
        let mut spec = spec(
            &Mark::new(),
            &[
                "sh",
                "-c",
                "trap 'echo alive' HUP; echo up; while :; do sleep 0.02; done",
            ],
        );
        spec.env[1].1 = sent.into();
        Running::start(spec)
    })
    .join()
    .unwrap();
    runtime.block_on(async {
        other.started().await;
        assert_eq!(other.line().await, "up");
        other.control.signal(Signal::SIGHUP);
        assert_eq!(other.line().await, "alive");
        other.control.kill();
        other.end().await;
        kill(Pid::from_raw(pid), None).unwrap();
    });
}

#[tokio::test]
async fn a_guardian_survives_every_signal_except_kill() {
    let mark = Mark::new();
    let mut running = shell(
        &mark,
        "trap 'echo alive' HUP; echo up; while :; do sleep 0.02; done",
    );
    let pid = running.started().await;
    assert_eq!(running.line().await, "up");
    let guardian = Pid::from_raw(guardian_of(pid));
    let spared = [SIGKILL, nix::sys::signal::SIGSTOP];
    for signal in nix::sys::signal::Signal::iterator().filter(|signal| !spared.contains(signal)) {
        kill(guardian, signal).unwrap();
    }
    running.control.signal(Signal::SIGHUP);
    assert_eq!(running.line().await, "alive");
    running.control.kill();
    assert_eq!(running.end().await.0, Ended::Signal(9));
}

#[tokio::test]
async fn pkill_hotrun_does_not_find_a_guardian_by_its_name_or_its_command_line() {
    let mark = Mark::new();
    let mut running = Running::start(spec(&mark, &["sleep", "1000"]));
    let guardian = guardian_of(running.started().await);
    for file in ["comm", "cmdline"] {
        let text = std::fs::read_to_string(format!("/proc/{guardian}/{file}")).unwrap();
        assert!(
            text.starts_with("guardian") && !text.contains("hotrun"),
            "{text}"
        );
    }
    running.control.kill();
    running.end().await;
}

#[test]
fn a_guardian_without_a_socket_exits_silently() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotrun"));
    let output = command
        .arg("--guardian")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.stdout.is_empty());
    let mut lines = BufReader::new(&output.stderr[..]).lines();
    assert!(lines.next().is_none());
}
