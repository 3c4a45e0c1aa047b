//! A light load of requests from clients in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{TIMEOUT, http, until};

/// Two clients that send requests in a loop, each on a new connection.
pub(crate) struct RequestLoop {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Outcome>>,
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) succeeded: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
}

impl RequestLoop {
    pub(crate) fn start(to: SocketAddr) -> Self {
        // A light load, so that the machine does not become the bottleneck.
        Self::paced(to, Duration::from_millis(1))
    }

    /// Like [`Self::start`], but with this pause after each response.
    pub(crate) fn paced(to: SocketAddr, pause: Duration) -> Self {
        let (stop, ended) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let client = |_| {
            let (stop, ended) = (Arc::clone(&stop), Arc::clone(&ended));
            thread::spawn(move || {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    outcome.request(to);
                    ended.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(pause);
                }
                outcome
            })
        };
        Self {
            clients: (0..2).map(client).collect(),
            stop,
            ended,
        }
    }

    /// Waits until this many more requests have succeeded or failed.
    #[track_caller]
    pub(crate) fn more(&self, count: usize) {
        let goal = self.ended.load(Ordering::Relaxed) + count;
        until("more requests have ended", TIMEOUT, || {
            (self.ended.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    pub(crate) fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            let one = client.join().expect("the client has not panicked");
            all.succeeded += one.succeeded;
            all.failures.extend(one.failures);
            all.slowest = all.slowest.max(one.slowest);
        }
        all
    }

    /// Stops the clients, and checks that at most `lost` requests failed.
    #[track_caller]
    pub(crate) fn assert_lost_at_most(self, lost: usize) -> Outcome {
        let outcome = self.stop();
        let failures = &outcome.failures;
        assert!(
            failures.len() <= lost,
            "{} requests succeeded, lost: {failures:?}",
            outcome.succeeded
        );
        outcome
    }

    /// Stops the clients, and checks that every request got a response.
    #[track_caller]
    pub(crate) fn assert_none_lost(self) -> Outcome {
        let outcome = self.stop();
        let failures = &outcome.failures;
        assert!(
            failures.is_empty(),
            "{} requests succeeded, lost: {failures:?}",
            outcome.succeeded
        );
        assert!(outcome.succeeded > 0);
        outcome
    }
}

impl Outcome {
    fn request(&mut self, to: SocketAddr) {
        let began = Instant::now();
        match http::get(to, "/") {
            Ok(_) => self.succeeded += 1,
            Err(failure) => self.failures.push(failure.to_string()),
        }
        self.slowest = self.slowest.max(began.elapsed());
    }
}
