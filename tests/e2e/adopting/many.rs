//! Programs that open many sockets.

use std::time::{Duration, Instant};

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::say;

/// Shares its port among 64 sockets, as servers with many workers do, and opens it on 200 more addresses.
const MANY: &str = "
import selectors
shared = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
all = [open_socket(options=shared) for _ in range(64)] + [open_socket(f'127.0.1.{n}') for n in range(1, 201)]
waiting = selectors.DefaultSelector()
for s in all: waiting.register(s, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        answer(key.fileobj.accept()[0], f'generation {generation}')
";

/// `--stop-timeout`: how long it takes if hotrun does not notice that the generation is idle. The target is half a second,
/// but other tests may keep the machine busy.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs python3"]
fn an_idle_generation_with_many_sockets_ends_soon() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(MANY);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    app.save(&format!("{MANY}# 2"));
    assert_eq!(run.live(), 2);
    let switched = Instant::now();
    run.wait_until_gone(1);
    let drained = switched.elapsed();
    asking.more(20);
    asking.assert_none_lost();
    let quits = Instant::now();
    run.quit();
    let quit = quits.elapsed();
    say(&format!(
        "264 sockets: drained in {drained:?}, quit in {quit:?}"
    ));
    assert!(drained.max(quit) < STOP_TIMEOUT, "{drained:?}, {quit:?}");
}
