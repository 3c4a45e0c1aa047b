//! Sends slow requests, so that some are always in flight, and checks that each response is complete.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http;

/// Clients that request `/slow` in a loop.
pub(crate) struct SlowClients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Result<(), String>>>>,
}

impl SlowClients {
    /// Starts this many clients. Their first requests differ in duration, so that the later ones are spread evenly.
    pub(crate) fn start(to: SocketAddr, clients: u32, takes: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |n: u32| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut outcomes = vec![ask(to, takes * n / clients)];
                while !stop.load(Ordering::Relaxed) {
                    outcomes.push(ask(to, takes));
                }
                outcomes
            })
        };
        Self {
            threads: (1..=clients).map(client).collect(),
            stop,
        }
    }

    /// Waits for the requests in flight, and returns the number of complete responses and the failures.
    pub(crate) fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("the client has not panicked"));
        let outcomes: Vec<_> = joined.flatten().collect();
        let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        (
            answered,
            outcomes.into_iter().filter_map(Result::err).collect(),
        )
    }
}

fn ask(to: SocketAddr, takes: Duration) -> Result<(), String> {
    let (began, ms) = (Instant::now(), takes.as_millis());
    let body = http::get(to, &format!("/slow?ms={ms}"))
        .map_err(|failure| format!("{failure}, {:.3?} after the request began", began.elapsed()))?;
    if body.starts_with(&format!("{ms} ms later: ")) && body.ends_with('\n') {
        return Ok(());
    }
    Err(format!("wrong body: {body:?}"))
}
