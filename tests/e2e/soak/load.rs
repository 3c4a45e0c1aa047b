use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::http;

/// Two clients that ask all the time, each time on a new connection, and remember when they did what failed.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    rests: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Asked>>,
    /// When programs crashed: what was asked before was in their hands.
    crashes: Arc<Mutex<Vec<Crash>>>,
}

/// From when on a program was being made to crash, and since when it is certain that it has.
#[derive(Clone, Copy)]
struct Crash {
    until: Instant,
}

#[derive(Default)]
pub(super) struct Asked {
    pub(super) answered: usize,
    pub(super) slowest: Duration,
    failed: Vec<(Instant, Instant, String)>,
}

impl Load {
    pub(super) fn start(to: SocketAddr) -> Self {
        let (stop, rests) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let clients = (0..2)
            .map(|_| {
                let (stop, rests) = (Arc::clone(&stop), Arc::clone(&rests));
                thread::spawn(move || ask(to, &stop, &rests))
            })
            .collect();
        Self {
            stop,
            rests,
            clients,
            crashes: Arc::default(),
        }
    }

    /// Nothing is asked while it rests.
    pub(super) fn rests(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// A program has crashed by now: nobody can have connected to it later.
    pub(super) fn crashed(&self) {
        let until = Instant::now();
        let mut crashes = self.crashes.lock().expect("no panic");
        crashes.push(Crash { until });
    }

    /// All that was asked, and how many requests were in the hands of a program that crashed.
    #[track_caller]
    pub(super) fn end(self) -> (Asked, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Asked::default();
        for client in self.clients {
            let one = client.join().expect("a client does not panic");
            all.answered += one.answered;
            all.slowest = all.slowest.max(one.slowest);
            all.failed.extend(one.failed);
        }
        let crashes = self.crashes.lock().expect("no panic");
        let in_hand = |(began, ended, _): &(Instant, Instant, String)| {
            let mut crashes = crashes.iter();
            // It failed when the program did, or hotrun carried it and noticed a little later.
            let soon = Duration::from_secs(1);
            crashes.any(|crash| *began < crash.until && crash.until < *ended + soon)
        };
        let (excused, lost): (Vec<_>, Vec<_>) = all.failed.drain(..).partition(in_hand);
        let lost: Vec<_> = lost.into_iter().map(|(_, _, what)| what).collect();
        assert!(lost.is_empty(), "{} answered, lost: {lost:?}", all.answered);
        (all, excused.len())
    }
}

fn ask(to: SocketAddr, stop: &AtomicBool, rests: &AtomicBool) -> Asked {
    let mut asked = Asked::default();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(4));
        if rests.load(Ordering::Relaxed) {
            continue;
        }
        let began = Instant::now();
        match http::get(to, "/") {
            Ok(_) => {
                asked.answered += 1;
                asked.slowest = asked.slowest.max(began.elapsed());
            }
            Err(failure) => asked
                .failed
                .push((began, Instant::now(), failure.to_string())),
        }
    }
    asked
}
