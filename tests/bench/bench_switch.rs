//! From "ready" to "every new connection is the new one's".

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::harness::{Project, http, say};

const RELOADS: u64 = 20;
const AT_MOST: Duration = Duration::from_millis(5);

/// When a connection was begun, and which generation answered on it.
type Answer = (Instant, u64);

/// Asks without a pause, on new connections.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Answer>>,
}

impl Prober {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let body = http::get(to, "/").expect("every connection is answered");
                answers.push((began, generation(&body)));
            }
            answers
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

fn generation(body: &str) -> u64 {
    let number = body.split(' ').nth(1).and_then(|word| word.parse().ok());
    number.expect("the server names its generation")
}

#[test]
#[ignore = "measures: run it alone and optimized"]
fn ready_to_every_new_connection() {
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    let prober = Prober::start(run.address());
    let mut switches = Vec::new();
    for n in 2..=RELOADS + 1 {
        project.server(&format!("v{n}"));
        let live = run.expect("live");
        assert_eq!(live.generation(), n);
        switches.push(live.took());
        run.expect("gone");
    }
    let answers = prober.stop();
    in_order(&answers);
    let events = Figures::new(switches);
    say(&format!(
        "ready to every new connection, by hotrun's events: {events}"
    ));
    say(&format!(
        "gap between the last old and the first new, by a client: {}",
        gaps(&answers)
    ));
    assert!(events.worst() < AT_MOST, "{events}");
    run.quit();
}

/// Once a connection went to a new generation, none that was begun later goes to an older one.
fn in_order(answers: &[Answer]) {
    let back = answers.windows(2).find(|pair| pair[1].1 < pair[0].1);
    assert!(back.is_none(), "back to an older one: {back:?}");
}

/// From the beginning of the last connection that the old one answered to the beginning of the
/// first that the new one did: the switch lies in between, so this is its upper bound as a client
/// sees it. It contains one whole request.
fn gaps(answers: &[Answer]) -> Figures {
    let pairs = answers.windows(2).filter(|pair| pair[1].1 > pair[0].1);
    Figures::new(pairs.map(|pair| pair[1].0 - pair[0].0).collect())
}
