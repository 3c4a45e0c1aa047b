use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::http;

/// Two clients that send requests in a loop, each on a new connection, and record when each failed request began and
/// ended.
pub(super) struct TimedLoad {
    stop: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Counts>>,
    /// The crashes so far. A crash may lose the requests that began before it.
    crashes: Arc<Mutex<Vec<Crash>>>,
}

#[derive(Clone, Copy)]
struct Crash {
    /// A time by which the program had certainly crashed.
    until: Instant,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) succeeded: usize,
    pub(super) slowest: Duration,
    failed: Vec<Lost>,
}

/// A request that failed.
pub(super) struct Lost {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) error: String,
}

impl TimedLoad {
    pub(super) fn start(to: SocketAddr) -> Self {
        let (stop, paused) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let clients = (0..2)
            .map(|_| {
                let (stop, paused) = (Arc::clone(&stop), Arc::clone(&paused));
                thread::spawn(move || ask(to, &stop, &paused))
            })
            .collect();
        Self {
            stop,
            paused,
            clients,
            crashes: Arc::default(),
        }
    }

    /// Pauses or resumes the requests.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Records that the program has crashed: requests sent after this call cannot have reached it.
    pub(super) fn record_crash(&self) {
        let until = Instant::now();
        let mut crashes = self
            .crashes
            .lock()
            .expect("no thread panics while it holds the lock");
        crashes.push(Crash { until });
    }

    /// Stops the load, and returns the counts, the number of requests lost in a crash, and the other lost requests.
    pub(super) fn end(self) -> (Counts, usize, Vec<Lost>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for client in self.clients {
            let one = client.join().expect("the client has not panicked");
            all.succeeded += one.succeeded;
            all.slowest = all.slowest.max(one.slowest);
            all.failed.extend(one.failed);
        }
        let crashes = self
            .crashes
            .lock()
            .expect("no thread panics while it holds the lock");
        let in_crash = |lost: &Lost| {
            let mut crashes = crashes.iter();
            // A request lost in a crash fails when the program crashes, at most a second before `until`, or later if
            // hotrun forwarded the request's connection.
            let soon = Duration::from_secs(1);
            crashes.any(|crash| lost.began < crash.until && crash.until < lost.ended + soon)
        };
        let (lost_in_crash, lost): (Vec<_>, Vec<_>) = all.failed.drain(..).partition(in_crash);
        (all, lost_in_crash.len(), lost)
    }
}

fn ask(to: SocketAddr, stop: &AtomicBool, paused: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(4));
        if paused.load(Ordering::Relaxed) {
            continue;
        }
        let began = Instant::now();
        match http::get(to, "/") {
            Ok(_) => {
                counts.succeeded += 1;
                counts.slowest = counts.slowest.max(began.elapsed());
            }
            Err(failure) => counts.failed.push(Lost {
                began,
                ended: Instant::now(),
                error: failure.to_string(),
            }),
        }
    }
    counts
}
