//! Tests files that our own child processes write.

use std::io::Write;
use std::process::{Child, Command, Stdio};

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
    let WatchMessage::Changed { changes, .. } = watched.next() else {
        panic!("the child's write must be reported")
    };
    let [change] = &changes[..] else {
        panic!("{changes:?}")
    };
    let child = i32::try_from(child.id()).expect("a pid fits into an i32");
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
