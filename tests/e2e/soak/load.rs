use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::http;

/// Two clients that send requests in a loop, each on a new connection, and record when a failed request began and ended.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Counts>>,
    /// The times of crashes. A crash may lose the requests that began before it.
    crashes: Arc<Mutex<Vec<Crash>>>,
}

#[derive(Clone, Copy)]
struct Crash {
    /// A time at which the program has certainly crashed.
    until: Instant,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) answered: usize,
    pub(super) slowest: Duration,
    failed: Vec<(Instant, Instant, String)>,
}

impl Load {
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
    pub(super) fn paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Records that a program has crashed by now, so later requests cannot have reached it.
    pub(super) fn crashed(&self) {
        let until = Instant::now();
        let mut crashes = self.crashes.lock().expect("no thread panics");
        crashes.push(Crash { until });
    }

    /// Stops the load. Returns the counts, and the number of requests that a crash lost. No other request may be lost.
    #[track_caller]
    pub(super) fn end(self) -> (Counts, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for client in self.clients {
            let one = client.join().expect("a client does not panic");
            all.answered += one.answered;
            all.slowest = all.slowest.max(one.slowest);
            all.failed.extend(one.failed);
        }
        let crashes = self.crashes.lock().expect("no thread panics");
        let in_crash = |(began, ended, _): &(Instant, Instant, String)| {
            let mut crashes = crashes.iter();
            // The request failed with the program, or hotrun spliced its connection and noticed the crash a little later.
            let soon = Duration::from_secs(1);
            crashes.any(|crash| *began < crash.until && crash.until < *ended + soon)
        };
        let (lost_in_crash, lost): (Vec<_>, Vec<_>) = all.failed.drain(..).partition(in_crash);
        let lost: Vec<_> = lost.into_iter().map(|(_, _, what)| what).collect();
        assert!(lost.is_empty(), "{} answered, lost: {lost:?}", all.answered);
        (all, lost_in_crash.len())
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
                counts.answered += 1;
                counts.slowest = counts.slowest.max(began.elapsed());
            }
            Err(failure) => counts
                .failed
                .push((began, Instant::now(), failure.to_string())),
        }
    }
    counts
}
