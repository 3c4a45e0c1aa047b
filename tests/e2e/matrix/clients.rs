//! Clients that check every response completely. `hey` does not notice truncated responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::PAUSE;
use crate::harness::http;

/// A client that sends one request after another.
pub(super) struct StrictClient {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl StrictClient {
    /// Starts the client. Every response must be the same as the first one except for its digits, which differ between
    /// generations.
    pub(super) fn start(to: SocketAddr) -> Self {
        let expected = http::get(to, "/").map(|body| without_digits(&body));
        let expected = expected.unwrap_or_else(|failure| panic!("first request: {failure}"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut answered, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                match http::get(to, "/") {
                    Ok(body) if without_digits(&body) == expected => answered += 1,
                    Ok(body) => failures.push(format!("wrong body: {body:?}")),
                    Err(failure) => failures.push(failure.to_string()),
                }
                thread::sleep(PAUSE);
            }
            (answered, failures)
        });
        Self { stop, thread }
    }

    /// Stops the client, and returns the number of complete responses and the failures.
    pub(super) fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client has not panicked")
    }
}

fn without_digits(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "#")
}
