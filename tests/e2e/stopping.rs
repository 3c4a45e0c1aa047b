//! Tests draining and quitting, and checks that nothing is left behind.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Event, Project, Run, TIMEOUT, apps, http, leftovers, say, until};

/// Whether this process, and thus every process that it starts, ignores the signal.
fn is_ignored(signal: Signal) -> bool {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("can read `/proc/self/status`");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("the status has a `SigIgn` line").trim(), 16);
    mask.expect("the mask is a number") & 1 << (signal as i32 - 1) != 0
}

/// Sends hotrun this signal during a drain, and checks the exit code and that nothing is left behind.
fn quit_with_signal(signal: Signal, code: i32) {
    if signal == Signal::SIGHUP && is_ignored(signal) {
        return say("not tested: `SIGHUP` is ignored here (`nohup`), so hotrun ignores it, too");
    }
    let project = Project::new();
    let socket = project.beside("socket");
    let unix = format!("unix:{}", socket.display());
    project.faulty("unix one");
    // hotrun runs in a session without a terminal, as if its terminal had been closed.
    let run = Run::through(&project, "exec setsid \"$0\" \"$@\"");
    let run = run.args(["--listen", &unix]).program(["sh", "start"]);
    let mut run = run.spawn();
    run.live();
    project.faulty("unix two");
    run.live();
    run.signal(signal);
    assert_eq!(run.wait_for_exit().code(), Some(code), "{signal}");
    run.assert_nothing_left();
    assert!(!socket.exists(), "the socket file is gone");
    project.assert_untouched(&["start"]);
}

#[test]
fn quitting_leaves_nothing_behind() {
    quit_with_signal(Signal::SIGINT, 0);
    quit_with_signal(Signal::SIGTERM, 128 + 15);
}

#[test]
fn hc22_closing_the_terminal_leaves_nothing_behind() {
    quit_with_signal(Signal::SIGHUP, 128 + 1);
}

/// Because hotrun replaced the shell, hotrun is the job's parent.
#[test]
fn quitting_spares_a_background_job_of_the_shell_that_hotrun_replaced() {
    let project = Project::new();
    let file = project.beside("job");
    let start_job = format!("sleep 1000 >/dev/null 2>&1 & echo $! >'{}'", file.display());
    let run = Run::through(&project, &format!("{start_job}; exec \"$0\" \"$@\""));
    let mut run = run.program(["sleep", "1001"]).spawn();
    run.live();
    let job = std::fs::read_to_string(&file).expect("the shell has started the job");
    run.signal(Signal::SIGTERM);
    run.wait_for_exit();
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.trim()));
    let status = status.expect("the job is running");
    assert!(status.contains("State:\tS"), "the job is running: {status}");
    let job = Pid::from_raw(job.trim().parse().expect("the file contains a pid"));
    kill(job, Signal::SIGKILL).expect("can end the job");
}

#[test]
fn quitting_finishes_the_requests_in_flight() {
    let project = Project::new();
    project.swap(&apps::axum().v1);
    quit_during_a_request(Run::new(&project).listen().program(["./server"]));
}

#[test]
fn quitting_finishes_the_requests_in_flight_of_a_server_that_the_stop_signal_kills() {
    let project = Project::new();
    project.server("v1");
    quit_during_a_request(project.run().listen());
}

fn quit_during_a_request(run: Run) {
    let mut run = run.spawn();
    run.live();
    let address = run.address();
    let long = std::thread::spawn(move || http::get(address, "/slow?ms=1000"));
    until("the request is in flight", TIMEOUT, || {
        (crate::harness::sockets::established_connections(address) > 0).then_some(())
    });
    run.quit();
    let answer = long
        .join()
        .expect("the client has not panicked")
        .expect("a complete response");
    assert!(answer.starts_with("1000 ms later"), "{answer}");
}

#[test]
fn a_second_interrupt_stops_hotrun_at_once() {
    let project = Project::new();
    project.faulty("ignore");
    let mut run = project
        .run()
        .listen()
        .args(["--stop-timeout", "60s"])
        .spawn();
    run.live();
    run.signal(Signal::SIGINT);
    run.expect("quitting");
    let began = Instant::now();
    // hotrun counts signals that arrive almost together as one request to quit, so wait as long as a user would.
    std::thread::sleep(Duration::from_millis(100));
    run.signal(Signal::SIGINT);
    run.wait_for_exit();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "hotrun exited only after {:?}",
        began.elapsed()
    );
    run.assert_nothing_left();
}

#[test]
fn hc19_an_open_request_delays_only_the_drain_of_its_own_generation() {
    let project = Project::new();
    project.server("v1");
    let mut run = project
        .run()
        .listen()
        .args(["--stop-timeout", "1s"])
        .spawn();
    run.live();
    let address = run.address();
    let endless = std::thread::spawn(move || http::get(address, "/slow?ms=60000"));
    until("the request is in flight", TIMEOUT, || {
        (crate::harness::sockets::established_connections(address) > 0).then_some(())
    });
    project.server("v2");
    assert_eq!(run.live(), 2);
    project.server("v3");
    assert_eq!(run.live(), 3);
    let gone = run.wait_until_gone(1);
    assert_eq!(gone.text("outcome"), "timed_out", "{gone}");
    endless
        .join()
        .expect("the client has not panicked")
        .expect_err("the request fails when its generation is killed");
    assert!(run.get("/").ends_with("version v3\n"));
    run.quit();
}

/// Reloads a server that exits as soon as it gets the stop signal, during a request that takes this many milliseconds.
/// Returns the `gone` event of the first generation, and the response.
fn reload_a_hasty_server(
    stop_timeout: &str,
    millis: u32,
) -> (String, Result<String, http::Failure>) {
    let project = Project::new();
    project.faulty("cleanup=0 one");
    let run = project.run().listen();
    let mut run = run.args(["--stop-timeout", stop_timeout]).spawn();
    run.live();
    let address = run.address();
    let slow = std::thread::spawn(move || http::get(address, &format!("/slow?ms={millis}")));
    until("the request is in flight or answered", TIMEOUT, || {
        let in_flight = crate::harness::sockets::established_connections(address) > 0;
        (in_flight || slow.is_finished()).then_some(())
    });
    project.server("two");
    assert_eq!(run.live(), 2);
    let gone = run.wait_until_gone(1).to_string();
    run.quit();
    (gone, slow.join().expect("the client has not panicked"))
}

#[test]
fn a_server_that_exits_at_once_on_the_stop_signal_gets_it_after_the_response() {
    let (gone, response) = reload_a_hasty_server("20s", 3000);
    assert!(gone.contains("drained"), "{gone}");
    let response = response.expect("the request is answered");
    assert!(response.ends_with("version one\n"), "{response}");
}

#[test]
fn a_server_that_exits_during_a_request_is_not_reported_as_drained() {
    let (gone, response) = reload_a_hasty_server("5s", 60_000);
    assert!(gone.contains("unfinished"), "{gone}");
    assert!(gone.contains(r#""connections_in_use":1"#), "{gone}");
    response.expect_err("the request fails when the server exits");
}

#[test]
fn hc19_a_server_that_ends_its_streams_drains_at_once() {
    let project = Project::new();
    let pair = apps::axum();
    project.swap(&pair.v1);
    let mut run = Run::new(&project).listen().program(["./server"]).spawn();
    run.live();
    let mut stream = BufReader::new(http::open(run.address(), "/events")).lines();
    let first = stream.find_map(|line| line.ok()?.strip_prefix("data: ").map(str::to_owned));
    assert_eq!(first.as_deref(), Some("tick 0 of version 1"));
    project.swap(&pair.v2);
    run.live();
    let last = stream
        .map(|line| line.expect("the stream is not reset"))
        .last();
    assert_eq!(last.as_deref(), Some(""), "the stream ends properly");
    let gone = run.expect("gone");
    assert_eq!(gone.text("outcome"), "drained", "{gone}");
    run.quit();
}

#[test]
fn hc20_a_cleanup_is_not_interrupted_and_the_stop_signal_is_sent_once() {
    let project = Project::new();
    project.faulty("cleanup=3000 one");
    let mut run = project.run().listen().spawn();
    run.live();
    project.server("two");
    run.live();
    run.expect_that("the stop signal", TIMEOUT, |event| {
        event.mentions("stop signal 1")
    });
    run.expect_that("the end of the cleanup", TIMEOUT, |event| {
        event.mentions("cleaned up")
    });
    run.wait_until_gone(1);
    let again = run
        .so_far()
        .iter()
        .any(|event| event.mentions("stop signal 2"));
    assert!(!again, "the stop signal is sent only once");
    run.quit();
}

/// Makes `start` a shell script that runs a server, a daemon that a double fork has detached, and a process that
/// ignores every signal that can be ignored.
pub(crate) fn tree(project: &Project, version: &str) {
    let std = apps::std();
    let (server, faulty) = (std.server.display(), std.faulty.display());
    project.script(&format!(
        "unset LISTEN_PID\n\
         (setsid sh -c 'sleep 1001 & exec sleep 1002' 3>&- &)\n\
         '{faulty}' ignore hang 3>&- &\n\
         '{server}' {version}\n\
         exit 1"
    ));
}

#[test]
fn hc21_no_process_of_a_tree_survives() {
    let project = Project::new();
    tree(&project, "v1");
    let mut run = project
        .run()
        .listen()
        .args(["--stop-timeout", "500ms"])
        .spawn();
    run.live();
    // The server may be ready before the daemon has forked twice.
    until("the daemon is running", TIMEOUT, || {
        let first = leftovers::marked(&run.mark);
        let daemon = |(_, line): &(i32, String)| line.contains("sleep 1001");
        first.iter().any(daemon).then_some(())
    });
    project.server("v2");
    run.live();
    run.wait_until_gone(1);
    let left = leftovers::marked(&run.mark);
    let old = |line: &str| line.contains("sleep 100") || line.contains("hang");
    assert!(!left.iter().any(|(_, line)| old(line)), "{left:?}");
    run.quit();
}

#[test]
fn hc23_a_program_that_ignores_the_stop_signal_is_killed_and_reported() {
    let project = Project::new();
    project.faulty("ignore one");
    let mut run = project
        .run()
        .listen()
        .args(["--stop-timeout", "500ms"])
        .spawn();
    run.live();
    project.server("two");
    run.live();
    let killing = run.expect("killing");
    assert_eq!(killing.generation(), 1);
    run.wait_until_gone(1);
    run.quit();
}

#[test]
fn the_hint_for_a_program_that_is_killed_at_its_timeout_leads_to_a_signal_that_ends_it() {
    let project = Project::new();
    let start = |signal, timeout| {
        project.server("one");
        let ignoring = Run::new(&project).program(["sh", "-c", "trap '' TERM; exec sh start"]);
        let limited = ignoring.listen().args(["--stop-timeout", timeout]);
        let mut run = limited.args(["--stop-signal", signal]).spawn();
        run.live();
        project.server("two");
        run.live();
        run
    };
    let mut run = start("TERM", "500ms");
    let hint = run.expect_that("a hint", TIMEOUT, |event| event.mentions("`--stop-signal`"));
    assert!(hint.mentions("gen 1 did not end"), "{hint}");
    run.quit_with(1);
    let mut run = start("QUIT", "20s");
    let gone = run.wait_until_gone(1);
    assert_eq!(gone.text("outcome"), "drained", "{gone}");
    run.quit();
}

#[test]
fn the_hint_for_a_program_that_takes_long_to_end_leads_to_a_timeout_that_suffices() {
    for (timeout, outcome) in [("300ms", "timed_out"), ("20s", "drained")] {
        let project = Project::new();
        project.faulty("cleanup=1500 one");
        let run = project.run().listen().args(["--stop-timeout", timeout]);
        let mut run = run.spawn();
        run.live();
        project.faulty("cleanup=1500 two");
        run.live();
        assert_eq!(run.wait_until_gone(1).text("outcome"), outcome);
        let killed = outcome == "timed_out";
        let hint = |event: &Event| event.mentions("`--stop-timeout` allows more time");
        assert_eq!(run.so_far().iter().any(hint), killed);
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait_for_exit().code(), Some(i32::from(killed)));
        let text = run.wait_for_all_events();
        assert_eq!(
            text.contains("`--stop-timeout` gives it more time"),
            killed,
            "{text}"
        );
    }
}

#[test]
fn with_stop_first_connections_wait_until_the_next_generation_is_ready() {
    let project = Project::new();
    project.server("one");
    let mut run = project.run().listen().arg("--stop-first").spawn();
    run.live();
    project.faulty("late=300 two");
    run.wait_until_gone(1);
    assert_eq!(run.get("/"), "generation 2 version two\n");
    run.quit();
}

#[test]
fn quitting_does_not_wait_for_a_process_that_a_build_has_left_behind() {
    let project = Project::new();
    project.server("one");
    let run = project.run().listen();
    let mut run = run.args(["--build", "(setsid sleep 1000 &)"]).spawn();
    run.live();
    let began = Instant::now();
    run.quit();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
}
