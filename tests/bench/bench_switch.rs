//! Measures the time from `ready` until every new connection goes to the new generation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::harness::{Project, http, say};

const RELOADS: u64 = 20;
const AT_MOST: Duration = Duration::from_millis(5);

/// The time when a connection was started, and the generation that responded.
type Probe = (Instant, u64);

/// Sends requests on new connections, without a pause.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Probe>>,
}

impl Prober {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let body = http::get(to, "/").expect("every connection gets a response");
                answers.push((began, generation(&body)));
            }
            answers
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Probe> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

fn generation(body: &str) -> u64 {
    let number = body.split(' ').nth(1).and_then(|word| word.parse().ok());
    number.expect("the server names its generation")
}

#[test]
#[ignore = "a benchmark: run it alone, with optimizations"]
fn new_connections_reach_a_ready_generation_quickly() {
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
    assert_in_order(&answers);
    let events = Figures::new(switches);
    say(&format!(
        "ready to every new connection, from hotrun's events: {events}"
    ));
    say(&format!(
        "gap between the last old and the first new connection, seen by a client: {}",
        gaps(&answers)
    ));
    assert!(events.worst() < AT_MOST, "{events}");
    run.quit();
}

/// Checks that no connection goes to an older generation than the connection before it.
fn assert_in_order(answers: &[Probe]) {
    let back = answers.windows(2).find(|pair| pair[1].1 < pair[0].1);
    assert!(
        back.is_none(),
        "a later connection went to an older generation: {back:?}"
    );
}

/// The times from the start of the last connection to the old generation to the start of the first connection to the
/// new one. The switch happens in between, so each is an upper bound as seen by a client. Each includes one whole
/// request.
fn gaps(answers: &[Probe]) -> Figures {
    let pairs = answers.windows(2).filter(|pair| pair[1].1 > pair[0].1);
    Figures::new(pairs.map(|pair| pair[1].0 - pair[0].0).collect())
}
