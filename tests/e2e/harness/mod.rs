//! Helpers for the tests. Almost every wait has a deadline, and ends when something observable happens: a `--ui json`
//! event, a response, or the exit of a process.

pub(crate) mod apps;
pub(crate) mod bare;
pub(crate) mod builds;
pub(crate) mod event;
pub(crate) mod gunicorn;
pub(crate) mod hey;
pub(crate) mod http;
pub(crate) mod leftovers;
pub(crate) mod project;
pub(crate) mod request_loop;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod slow;
pub(crate) mod sockets;

#[allow(unused_imports, reason = "the benchmarks use the harness, too")]
pub(crate) use builds::Builds;
pub(crate) use event::Event;
pub(crate) use project::Project;
pub(crate) use run::Run;
pub(crate) use running::Running;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The usual time limit, except for builds. Only a failing test waits this long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Debian's Python: it finds Debian's packages, and starts faster than a Python behind a wrapper script.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// The time limit for builds, which may run on a busy machine without caches.
pub(crate) const BUILD_TIMEOUT: Duration = Duration::from_secs(300);

/// Prints a line even if the test passes: libtest captures only `println!`. The line is also appended to the file named
/// by `E2E_FIGURES`, in which CI collects the figures of all tests.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "      {line}");
    if let Some(path) = std::env::var_os("E2E_FIGURES") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}

/// Reports that a test cannot run here. In CI this is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped in CI: {why}");
    say(&format!("SKIPPED: {why}"));
}

/// Whether this command succeeds.
pub(crate) fn succeeds(command: &str, args: &[&str]) -> bool {
    let status = Command::new(command)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Calls `ask` until it returns a result. `what` says what the test is waiting for, as a statement.
#[track_caller]
pub(crate) fn until<T>(what: &str, timeout: Duration, ask: impl FnMut() -> Option<T>) -> T {
    let Some(answer) = poll(timeout, ask) else {
        panic!("timed out after {timeout:?} waiting until {what}");
    };
    answer
}

/// Asks until there is an answer. Returns `None` after the timeout.
pub(crate) fn poll<T>(timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || began.elapsed() > timeout {
            return answer;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The directory for builds that later test runs reuse: `target/apps`.
pub(crate) fn app_builds() -> PathBuf {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent()
        .expect("cargo's temporary directory is in the target directory")
        .join("apps")
}
