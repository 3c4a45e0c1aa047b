//! Checks that a run has left no processes, sockets or files behind.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::until;

/// The environment variable that marks all processes of a run.
pub(crate) const MARK: &str = "E2E_MARK";

/// How long a killed process may take to disappear.
const SOON: Duration = Duration::from_secs(5);

/// Returns a mark that no other run has.
pub(crate) fn new_mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is later than 1970");
    format!("{}-{count}-{}", std::process::id(), now.as_nanos())
}

/// The pids and command lines of the processes with this mark. Zombies have no environment, so they are not included.
pub(crate) fn marked(mark: &str) -> Vec<(i32, String)> {
    let wanted = format!("{MARK}={mark}");
    let entries = fs::read_dir("/proc").expect("Linux has /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_variable(*pid, wanted.as_bytes()))
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

fn has_variable(pid: i32, wanted: &[u8]) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ
        .split(|byte| *byte == 0)
        .any(|variable| variable == wanted)
}

fn command_line(pid: i32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}

/// Waits until no process with this mark is left.
#[track_caller]
pub(crate) fn no_process(mark: &str) {
    let began = Instant::now();
    let mut left = marked(mark);
    while !left.is_empty() && began.elapsed() < SOON {
        thread::sleep(Duration::from_millis(5));
        left = marked(mark);
    }
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Waits until the address can be bound.
#[track_caller]
pub(crate) fn port_free(address: SocketAddr) {
    until(&format!("{address} is free"), SOON, || {
        TcpListener::bind(address).ok()
    });
}

/// Checks that the directory is empty.
#[track_caller]
pub(crate) fn empty(dir: &Path) {
    let entries = fs::read_dir(dir).expect("can read the directory");
    let names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    assert!(
        names.is_empty(),
        "left behind in {}: {names:?}",
        dir.display()
    );
}
