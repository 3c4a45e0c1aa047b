//! Load from an independent client, `hey`.

use std::fmt;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::skip;

/// Returns whether `hey` is installed; if not, reports the test as skipped.
pub(crate) fn installed_or_skip() -> bool {
    let run = Command::new("hey")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if run.is_err() {
        skip("`hey` is not installed (`apt install hey`)");
    }
    run.is_ok()
}

/// Whether the client opens a new connection for each request, or reuses connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    New,
    KeepAlive,
}

/// The number of concurrent connections, and the requests per second on each.
#[derive(Clone, Copy)]
pub(crate) struct Pressure {
    pub(crate) clients: usize,
    pub(crate) rate: usize,
}

/// Requests sent in batches until the load is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<LoadResults>,
}

/// The results of a load.
#[derive(Default)]
pub(crate) struct LoadResults {
    pub(crate) sent: usize,
    pub(crate) succeeded: usize,
    /// The number of responses with status 503.
    pub(crate) unavailable: usize,
    /// Sorted once the load has stopped.
    latencies: Vec<Duration>,
}

impl Load {
    /// Sends batches of `batch` requests on new connections, at least one batch.
    pub(crate) fn start(to: SocketAddr, pressure: Pressure, batch: usize) -> Self {
        Self::start_with(Connections::New, to, pressure, batch)
    }

    /// Like [`Self::start`], but with connections of this kind. Every batch begins with new connections.
    pub(crate) fn start_with(
        connections: Connections,
        to: SocketAddr,
        pressure: Pressure,
        batch: usize,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            let mut results = LoadResults::default();
            loop {
                results.add(batch, &run(connections, to, pressure, batch));
                count.store(results.sent, Ordering::Relaxed);
                if until.load(Ordering::Relaxed) {
                    break;
                }
            }
            results.latencies.sort_unstable();
            results
        });
        Self { stop, sent, thread }
    }

    /// The number of requests that the finished batches have sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for the last batch to end, and returns the results.
    pub(crate) fn stop(self) -> LoadResults {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load has not panicked")
    }
}

/// Runs `hey` once, and returns its CSV, which has a line for each response. A failed request has no line.
fn run(connections: Connections, to: SocketAddr, pressure: Pressure, count: usize) -> String {
    let mut hey = Command::new("hey");
    if connections == Connections::New {
        hey.arg("-disable-keepalive");
    }
    let output = hey
        .args(["-o", "csv", "-t", "20"])
        .args([
            "-n",
            &count.to_string(),
            "-c",
            &pressure.clients.to_string(),
        ])
        .args(["-q", &pressure.rate.to_string()])
        .arg(format!("http://{to}/"))
        .output()
        .expect("can start `hey`");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl LoadResults {
    /// Adds a batch. Column 1 is the time in seconds from dialing to the end of the response. Column 7 is the status.
    fn add(&mut self, sent: usize, csv: &str) {
        self.sent += sent;
        for line in csv.lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            self.unavailable += usize::from(fields.get(6) == Some(&"503"));
            if fields.get(6) == Some(&"200") {
                self.succeeded += 1;
                let seconds = fields[0].parse().expect("`hey` prints seconds");
                self.latencies.push(Duration::from_secs_f64(seconds));
            }
        }
    }

    /// The latency at this quantile.
    fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let index = (share * last as f64).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for LoadResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p999, worst) = (self.quantile(0.5), self.quantile(0.999), self.quantile(1.0));
        let (sent, failed) = (self.sent, self.sent - self.succeeded);
        write!(f, "{sent} requests on new connections, {failed} failed; ")?;
        write!(f, "p50 {p50:.1?}, p99.9 {p999:.1?}, worst {worst:.1?}")
    }
}
