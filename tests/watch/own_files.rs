//! Tests files that our own child processes write.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hotrun::watch::WatchMessage;

use super::watched::{Watched, watch};

/// Starts a child that keeps `log` open and appends each line of its input to it.
fn logger(watched: &Watched) -> Child {
    let child = Command::new("sh")
        .args([
            "-c",
            "exec 9>>log; while read -r line; do echo \"$line\" >&9; done",
        ])
        .current_dir(watched.path(""))
        .stdin(Stdio::piped())
        .spawn();
    child.expect("can start the child")
}

fn log(child: &mut Child, line: &str) {
    let input = child.stdin.as_mut().expect("the input is a pipe");
    input.write_all(line.as_bytes()).expect("can send the line");
}

/// Expects the next report to say that the child has written `log`.
#[track_caller]
fn expect_written(watched: &mut Watched, child: &Child) {
    let child = i32::try_from(child.id()).expect("a pid fits into an i32");
    expect_written_by(watched, child);
}

#[track_caller]
fn expect_written_by(watched: &mut Watched, child: i32) {
    let WatchMessage::Changed { changes, .. } = watched.next() else {
        panic!("the child's write must be reported")
    };
    let [change] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(change.path, watched.path("log"));
    assert_eq!(change.writer, Some(child));
}

#[test]
fn hc08_writes_by_a_child_to_a_file_that_it_keeps_open_are_not_changes() {
    let mut watched = watch(&[("main.py", ""), ("log", "old\n")]);
    let mut child = logger(&watched);
    log(&mut child, "one\n");
    // The child has not closed the file, so nothing is reported yet.
    watched.expect_nothing();
    // A save in place cannot be told apart from a write by the child.
    watched.write("log", "by hand\n");
    expect_written(&mut watched, &child);
    // A save that replaces the file can be told apart from one.
    watched.write("new", "replaced\n");
    watched.rename("new", "log");
    watched.expect_batch(&["log"]);
    drop(child.stdin.take());
    child.wait().expect("the child ends");
    watched.expect_nothing();
}

#[test]
fn hc08_a_file_that_a_child_closes_when_it_ends_is_reported_as_written_by_the_child() {
    let mut watched = watch(&[("main.py", ""), ("log", "old\n")]);
    let mut child = logger(&watched);
    log(&mut child, "one\n");
    watched.expect_nothing();
    drop(child.stdin.take());
    child.wait().expect("the child ends");
    expect_written(&mut watched, &child);
    watched.write("log", "by hand\n");
    watched.expect_batch(&["log"]);
}

#[test]
fn hc08_a_change_that_follows_an_intercepted_call_is_reported_as_written_by_the_child() {
    const CHILD: i32 = 7;
    let mut watched = watch(&[("log", "old\n")]);
    let path = watched.path("log");
    let calls = watched.watch.calls.clone();
    let call = |before| calls.record(path.clone(), CHILD, Instant::now() - before);
    call(Duration::ZERO);
    watched.write("log", "written\n");
    expect_written_by(&mut watched, CHILD);
    call(Duration::ZERO);
    watched.write("new", "renamed\n");
    watched.rename("new", "log");
    expect_written_by(&mut watched, CHILD);
    call(Duration::ZERO);
    watched.remove("log");
    expect_written_by(&mut watched, CHILD);
    // A change that comes later than half a second after the call is somebody else's.
    call(Duration::from_secs(1));
    watched.write("log", "by hand\n");
    watched.expect_batch(&["log"]);
}
