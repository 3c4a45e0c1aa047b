//! New generations that do not listen, or do not listen yet, on every address of the previous one.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, TIMEOUT, http};

/// Opens a second port at once. From generation 2 on, opens the main port only when the file `open` exists.
const SLOW: &str = "
second = open_socket(port=port + 1)
threading.Thread(target=serve, args=(second,), daemon=True).start()
while generation > 1 and not os.path.exists('open'): time.sleep(.01)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn the_old_generation_serves_until_the_new_one_has_opened_every_port() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SLOW);
    let mut run = app.run().args(["--ignore", "open"]).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    // Generation 2 crashes while hotrun waits for its main port.
    let crash = SLOW.replace(
        "while generation > 1",
        "time.sleep(1.5)\nsys.exit(3)\nwhile generation > 1",
    );
    app.save(&crash);
    run.expect_that("a message that names the missing port", TIMEOUT, |event| {
        event.mentions(&format!("does not listen on `{}`, only on", app.address()))
    });
    run.expect("failed");
    app.save(&format!("{SLOW}# again"));
    run.expect_that("a message that names the missing port", TIMEOUT, |event| {
        event.mentions(&format!("does not listen on `{}`, only on", app.address()))
    });
    asking.more(20);
    assert_eq!(run.get("/"), "generation 1");
    app.project.save("open", "");
    assert_eq!(run.live(), 3);
    run.wait_until_gone(1);
    asking.more(20);
    asking.assert_none_lost();
    run.quit();
}

/// Restarts itself when its file changes, as the development servers of many frameworks do, unless it has `--noreload`.
const SELF_RESTARTING: &str = "
time.sleep(.5)
s = open_socket()
threading.Thread(target=serve, args=(s,), daemon=True).start()
before = os.stat(__file__).st_mtime_ns
while '--noreload' in sys.argv or os.stat(__file__).st_mtime_ns == before: time.sleep(.005)
os.execv(sys.executable, [sys.executable] + sys.argv)
";

/// Runs the rest in a child process, and starts another one when that ends with code 3, as Django does.
const PARENT: &str = "
import subprocess
while 'CHILD' not in os.environ and '--noreload' not in sys.argv:
    code = subprocess.call([sys.executable] + sys.argv, env={**os.environ, 'CHILD': '1'})
    if code != 3: sys.exit(code)
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_restarts_itself_refuses_no_connection_and_loses_none_if_that_is_turned_off() {
    assert_restarts_refuse_nothing(SELF_RESTARTING);
}

#[test]
#[ignore = "needs python3"]
fn a_program_that_restarts_its_child_refuses_no_connection_and_loses_none_if_that_is_turned_off() {
    let (before, _) = SELF_RESTARTING
        .split_once("os.execv")
        .expect("it restarts itself");
    assert_restarts_refuse_nothing(&format!("{PARENT}{before}os._exit(3)\n"));
}

fn assert_restarts_refuse_nothing(text: &str) {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(text);
    let mut run = app.run().args(["--ready", "listen"]).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=4 {
        app.save(&format!("{text}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_until_gone(generation - 1);
        asking.more(10);
    }
    // Each time, the program itself may cut off the requests of the two clients that it has in hand.
    let outcome = asking.assert_lost_at_most(3 * 2);
    let refused = |failure: &&String| failure.starts_with("cannot connect");
    assert_eq!(outcome.failures.iter().find(refused), None);
    let says = |event: &&Event| event.mentions("seems to restart itself");
    let said: Vec<_> = run.so_far().iter().filter(says).cloned().collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].text("hint").contains("`--noreload`"));
    run.quit();

    let run = app.run_as([PYTHON, "app.py", "--noreload"]);
    let mut run = run.args(["--ready", "listen"]).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=3 {
        app.save(&format!("{text}# again {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_until_gone(generation - 1);
        asking.more(10);
    }
    asking.assert_none_lost();
    assert_eq!(run.so_far().iter().filter(says).count(), 0);
    run.quit();
}

/// Listens on the first free port, starting at `port`.
const FREE_PORT: &str = "
lines = [line.split() for line in open('/proc/net/tcp')]
while any(line[3] == '0A' and line[1].endswith(f':{port:04X}') for line in lines): port += 1
serve(open_socket(port=port))
";

#[test]
#[ignore = "needs python3"]
fn a_port_that_is_given_up_is_reported_and_is_kept_with_adopt_never() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(FREE_PORT);
    // On a busy machine, Python may take seconds to start.
    let mut run = app.run().args(["--ready-timeout", "5s"]).spawn();
    wait_until_serving(&mut run);
    app.save(&format!("{FREE_PORT}# 2"));
    assert_eq!(run.live(), 2);
    run.expect_that("a hint about the port that is given up", TIMEOUT, |event| {
        let given_up = format!("gen 2 does not listen on `{}`, only on `", app.address());
        event.mentions(&given_up)
            && event.mentions("`--adopt never`")
            && event.mentions("are then refused")
    });
    run.quit();
    let mut run = app.run().args(["--adopt", "never"]).spawn();
    wait_until_serving(&mut run);
    app.save(&format!("{FREE_PORT}# 3"));
    assert_eq!(run.live(), 2);
    crate::harness::until("the same port is served again", TIMEOUT, || {
        (http::get(app.address(), "/").ok()? == "generation 2").then_some(())
    });
    run.quit();
}
