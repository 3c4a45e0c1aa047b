//! Programs that start other programs. The whole process tree is one generation.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::say;

const RELOADS: u64 = 5;

/// Reloads five times under a light load, and checks that no request is lost and that each process tree is one
/// generation.
fn assert_no_request_is_lost(what: &str, app: &App, argv: &[&str], save: impl Fn(u64)) {
    save(1);
    let mut run = app.run_as([]).program(argv.iter().copied()).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=1 + RELOADS {
        save(generation);
        assert_eq!(run.live(), generation);
        let answer = run.get("/");
        assert!(
            answer.starts_with(&format!("generation {generation}")),
            "{answer}"
        );
        asking.more(50);
        run.wait_until_gone(generation - 1);
    }
    let outcome = asking.assert_none_lost();
    say(&format!(
        "{what}: {RELOADS} reloads, {} requests, none lost",
        outcome.succeeded
    ));
    run.quit();
}

const SERVER: &str = "serve(open_socket())";

#[test]
#[ignore = "needs python3"]
fn a_shell_that_starts_the_server_belongs_to_the_servers_generation() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::new();
    let save = |n: u64| app.save(&format!("{SERVER}# {n}"));
    // Because of the second command, the shell does not replace itself with the server. The shell gets the stop signal.
    assert_no_request_is_lost(
        "sh -c",
        &app,
        &["sh", "-c", "/usr/bin/python3 app.py; echo it has ended"],
        save,
    );
}

#[test]
#[ignore = "needs python3"]
fn a_script_that_forwards_no_signals_does_not_prevent_reloads() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::new();
    app.project
        .save("start.sh", "/usr/bin/python3 app.py &\nwait\n");
    let save = |n: u64| app.save(&format!("{SERVER}# {n}"));
    assert_no_request_is_lost(
        "a script with a server in the background",
        &app,
        &["sh", "start.sh"],
        save,
    );
}

const NODE: &str =
    "require('http').createServer((q, a) => a.end(`generation ${process.env.HOTRUN_GENERATION}`))
    .listen(Number(process.env.PORT), '127.0.0.1');";

#[test]
#[ignore = "needs npm"]
fn npm_start_can_be_reloaded() {
    if !installed_or_skip("node") || !installed_or_skip("npm") {
        return;
    }
    let app = App::new();
    let package = r#"{"name": "app", "version": "1.0.0", "scripts": {"start": "node app.js"}}"#;
    app.project.save("package.json", package);
    let save = |n: u64| app.project.save("app.js", &format!("{NODE}\n// {n}"));
    assert_no_request_is_lost("npm start", &app, &["npm", "start"], save);
}

/// A server with two workers, for which the primary process opens the socket.
const CLUSTER: &str = "const cluster = require('cluster');
if (cluster.isPrimary) { cluster.fork(); cluster.fork(); }
else SERVER";

#[test]
#[ignore = "needs node"]
fn the_workers_of_a_node_cluster_are_one_generation() {
    if !installed_or_skip("node") {
        return;
    }
    let app = App::new();
    let cluster = CLUSTER.replace("SERVER", NODE);
    let save = |n: u64| app.project.save("app.js", &format!("{cluster}\n// {n}"));
    assert_no_request_is_lost("node cluster, 2 workers", &app, &["node", "app.js"], save);
}
