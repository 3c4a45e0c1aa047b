//! Clients that read each answer to its end. `hey` does not tell one that is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::PAUSE;
use crate::harness::http;

/// One client, one request after the other.
pub(super) struct Strict {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Strict {
    /// Whatever is answered now is the measure: the generations differ in digits alone.
    pub(super) fn start(to: SocketAddr) -> Self {
        let measure = http::get(to, "/").map(|body| without_digits(&body));
        let measure = measure.unwrap_or_else(|failure| panic!("before all: {failure}"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut answered, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                match http::get(to, "/") {
                    Ok(body) if without_digits(&body) == measure => answered += 1,
                    Ok(body) => failures.push(format!("a wrong body: {body:?}")),
                    Err(failure) => failures.push(failure.to_string()),
                }
                thread::sleep(PAUSE);
            }
            (answered, failures)
        });
        Self { stop, thread }
    }

    /// How many were answered in full, and what went wrong.
    pub(super) fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

fn without_digits(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "#")
}
