//! Programs whose worker processes share a port.

use std::collections::HashSet;
use std::time::Duration;

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{TIMEOUT, http, say, until};

/// A server with three workers, each with its own socket on the port. `/end` kills the worker that receives the
/// request; after a while, a new worker replaces it.
const WORKERS: &str = "
share = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
def act(path):
    if path == '/end': os.kill(os.getpid(), signal.SIGKILL)
    return f'generation {generation} worker {os.getpid()}'
def worker():
    pid = os.fork()
    if pid == 0:
        serve(open_socket(options=share), act)
for n in range(3): worker()
while True:
    os.wait()
    time.sleep(0.5)
    worker()
";

#[test]
#[ignore = "needs python3"]
fn killing_a_worker_loses_no_connection_to_the_other_workers() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(WORKERS);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let get = || http::get(app.address(), "/").expect("a response");
    let all_respond = || {
        let seen: HashSet<String> = (0..40).map(|_| get()).collect();
        (seen.len() == 3).then_some(())
    };
    let mut slowest = Vec::new();
    for _ in 0..6 {
        until("all three workers respond", TIMEOUT, all_respond);
        let asking = RequestLoop::start(app.address());
        asking.more(20);
        // The worker is killed while it is handling this request.
        http::get(app.address(), "/end").expect_err("the worker is killed");
        asking.more(100);
        slowest.push(asking.assert_lost_at_most(2).slowest);
    }
    slowest.sort_unstable();
    say(&format!(
        "one of three workers that share a port is killed: slowest request in each round {slowest:.1?}"
    ));
    // If hotrun noticed the death only by polling, every delay up to 250 ms would be equally likely, and four of six
    // would be below 60 ms only by luck.
    assert!(slowest[3] < Duration::from_millis(60), "{slowest:?}");
    app.save(&format!("{WORKERS}\n# again"));
    assert_eq!(run.live(), 2);
    until("only new workers respond", TIMEOUT, || {
        (0..20)
            .all(|_| get().starts_with("generation 2"))
            .then_some(())
    });
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn workers_that_share_a_port_are_switched_together() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(WORKERS);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=6 {
        app.save(&format!("{WORKERS}\n# {generation}"));
        assert_eq!(run.live(), generation);
        for _ in 0..20 {
            let answer = run.get("/");
            assert!(
                answer.starts_with(&format!("generation {generation} ")),
                "{answer}"
            );
        }
        asking.more(20);
    }
    asking.assert_none_lost();
    run.quit();
}
