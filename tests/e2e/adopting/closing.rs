//! Programs that close, shut down or reopen their listeners.

use std::time::{Duration, Instant};

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, TIMEOUT, http, say, until};

/// A server that changes its listener on request: `/again` listens again with other backlogs, `/reopen` closes the
/// socket and opens another one, and `/shut` shuts the socket down and listens again.
const RESTLESS: &str = "
current = open_socket()
def act(path):
    global current
    if path == '/again':
        for backlog in (1, 500, 0): current.listen(backlog)
    elif path == '/reopen':
        old = current
        old.shutdown(socket.SHUT_RD); old.close()
        current = open_socket()
        threading.Thread(target=serve, args=(current, act), daemon=True).start()
    elif path == '/shut':
        current.shutdown(socket.SHUT_RD)
        current.listen(5)
        threading.Thread(target=serve, args=(current, act), daemon=True).start()
    return f'generation {generation}'
serve(current, act)
while True: time.sleep(60)
";

#[test]
#[ignore = "needs python3"]
fn a_program_may_listen_again_and_close_and_reopen_its_listener() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(RESTLESS);
    let mut run = app.run().spawn();
    for generation in 1..=3 {
        assert_eq!(run.live(), generation);
        until("the program responds", TIMEOUT, || {
            http::get(app.address(), "/").ok()
        });
        for path in ["/again", "/reopen", "/again", "/shut", "/reopen"] {
            // Other clients may be refused while this happens, as without hotrun. This client gets its response.
            assert_eq!(run.get(path), format!("generation {generation}"), "{path}");
            until("the program responds", TIMEOUT, || {
                http::get(app.address(), "/").ok()
            });
        }
        assert_eq!(run.get("/"), format!("generation {generation}"));
        app.save(&format!("{RESTLESS}\n# {generation}"));
    }
    run.live();
    run.quit();
}

/// A server that first checks on several addresses whether its port is free, like `detect-port`.
const CHECKER: &str = "
for n in range(20):
    for host in ('0.0.0.0', '::', '127.0.0.1', '::1'):
        open_socket(host, options=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)] if ':' in host else []).close()
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_checks_its_port_first_loses_no_request() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(CHECKER);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=6 {
        app.save(&format!("{CHECKER}\n# {generation}"));
        assert_eq!(run.live(), generation);
        asking.more(50);
        run.wait_until_gone(generation - 1);
    }
    let outcome = asking.assert_none_lost();
    say(&format!(
        "a program that binds its port 80 times before it listens: 5 reloads, {} requests, none lost",
        outcome.succeeded
    ));
    assert!(
        outcome.slowest < Duration::from_secs(10),
        "{:?}",
        outcome.slowest
    );
    run.quit();
}

/// A server that first listens on all addresses for a moment, to find out whether its port is free, and then listens only
/// on one. Does so again on `/restart`.
const CHECKS_WIDER: &str = "
import select
told, tell = socket.socketpair()
def act(path):
    if path == '/restart': tell.send(b'!')
    return f'generation {generation}'
for n in range(9):
    for host in ('0.0.0.0', '::'):
        check = open_socket(host)
        time.sleep(.05)
        check.close()
    s = open_socket()
    print('listening', n, flush=True)
    while s in select.select([s, told], [], [])[0]:
        c, _ = s.accept()
        threading.Thread(target=answer, args=(c, act), daemon=True).start()
    told.recv(1)
    s.close()
";

#[test]
#[ignore = "needs python3"]
fn a_program_may_check_its_port_on_all_addresses_and_then_listen_on_one() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(CHECKS_WIDER);
    let mut run = app.run().spawn();
    run.expect("listening");
    // The first requests wait in the socket that the program only checks with.
    let asking = RequestLoop::start(app.address());
    assert_eq!(run.live(), 1);
    for n in 1..=3 {
        asking.more(20);
        run.get("/restart");
        run.wait_for_line(1, &format!("listening {n}"));
    }
    for generation in 2..=6 {
        asking.more(20);
        app.save(&format!("{CHECKS_WIDER}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_until_gone(generation - 1);
    }
    asking.more(20);
    let outcome = asking.assert_none_lost();
    say(&format!(
        "a program that checks a wider address first: 3 restarts, 5 reloads, {} requests, none lost, the slowest took {:?}",
        outcome.succeeded, outcome.slowest
    ));
    assert!(
        outcome.slowest < Duration::from_secs(2),
        "{:?}",
        outcome.slowest
    );
    let warned = |event: &&Event| event.is("message") && event.text("level") == "warning";
    let warning = run.so_far().iter().find(warned).map(ToString::to_string);
    assert_eq!(warning, None);
    run.quit();
}

/// A server that first listens for a moment, to find out whether its port is free, and then prepares for a while.
const PREPARES: &str = "
import select
s = open_socket()
select.select([s], [], [], .05)
s.close()
time.sleep(.6)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_program_is_not_ready_while_it_checks_its_port() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(PREPARES);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=3 {
        let saved = Instant::now();
        app.save(&format!("{PREPARES}# {generation}"));
        assert_eq!(run.live(), generation);
        assert!(saved.elapsed() > Duration::from_millis(600));
        asking.more(20);
    }
    asking.assert_none_lost();
    run.quit();
}
