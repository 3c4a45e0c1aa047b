//! `--warm-up`: a new generation is warmed up between its readiness check and the switch.

use std::fs;

use crate::adopting::{App, installed_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, PYTHON, Run, Running, http};

/// A server that appends the generation and the path of each request to a file. `/warm` gets no response from a
/// generation that is `cold`.
const SERVER: &str = "cold = False
log = open(os.environ['LOG'], 'a', buffering=1)
def text(path):
    log.write(f'{generation} {path}\\n')
    if cold and path == '/warm':
        raise SystemExit
    return f'generation {generation}'
serve(open_socket(), text)";

const REQUEST: &str = "http:/warm";
const COMMAND: &str =
    "exec:curl -fsS http://$HOTRUN_ADDRESS/warm && echo warmed $HOTRUN_GENERATION";

fn run(app: &App, warm_up: &str) -> Run {
    let log = app.project.beside("log");
    let run = app.run().env("LOG", log);
    // With `auto`, the first generation may count as ready before it listens.
    run.args(["--ready", "listen", "--warm-up", warm_up])
}

/// The paths that this generation was asked for.
fn requests(app: &App, generation: u64) -> Vec<String> {
    let text = fs::read_to_string(app.project.beside("log")).expect("the program has written");
    let mark = format!("{generation} ");
    let own = text.lines().filter_map(|line| line.strip_prefix(&mark));
    own.map(str::to_owned).collect()
}

#[track_caller]
fn only_the_new_generation_is_warmed_up(warm_up: &str) -> Option<(App, Running)> {
    if !installed_or_skip(PYTHON) {
        return None;
    }
    let app = App::python(SERVER);
    let mut run = run(&app, warm_up).spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    for generation in 2..5 {
        load.more(50);
        app.save(&format!("{SERVER} # {generation}"));
        assert_eq!(run.live(), generation);
    }
    load.more(50);
    load.assert_none_lost();
    for generation in 1..5 {
        let paths = requests(&app, generation);
        assert_eq!(paths[0], "/warm", "gen {generation}");
        let warmed = paths.iter().filter(|path| *path == "/warm");
        assert_eq!(warmed.count(), 1, "gen {generation}");
        assert!(paths.len() > 1, "gen {generation} got no other request");
    }
    run.assert_count("failed", 0);
    Some((app, run))
}

#[test]
#[ignore = "needs python3"]
fn a_request_warms_up_only_the_new_generation_before_its_first_client() {
    if let Some((_app, run)) = only_the_new_generation_is_warmed_up(REQUEST) {
        run.quit();
    }
}

#[test]
#[ignore = "needs python3 and curl"]
fn a_command_warms_up_only_the_new_generation_before_its_first_client() {
    if !installed_or_skip("curl") {
        return;
    }
    if let Some((_app, mut run)) = only_the_new_generation_is_warmed_up(COMMAND) {
        for generation in 1..5 {
            let said = format!("[warm-up] generation {generation}warmed {generation}");
            run.wait_for_event(&said, |event| event.mentions(&said));
        }
        run.quit();
    }
}

/// Reloads to a program whose warm-up does not succeed, and then to one whose warm-up does. Returns the failure of the
/// first one, and what hotrun said about it.
#[track_caller]
fn fails_then_succeeds(warm_up: &str, options: &[&str], said: &str) -> Option<Event> {
    if !installed_or_skip(PYTHON) {
        return None;
    }
    let app = App::python(SERVER);
    let mut run = run(&app, warm_up).args(options).spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    app.save(&SERVER.replace("False", "True"));
    let failed = run.expect("failed");
    assert_eq!(failed.generation(), 2);
    run.wait_for_event(said, |event| event.mentions(said));
    run.wait_until_gone(2);
    load.more(50);
    let answer = http::get(app.address(), "/").expect("the old generation responds");
    assert_eq!(answer, "generation 1");
    app.save(&format!("{SERVER} # fixed"));
    assert_eq!(run.live(), 3);
    load.more(50);
    load.assert_none_lost();
    assert!(requests(&app, 2).iter().all(|path| path == "/warm"));
    run.assert_count("failed", 1);
    run.quit();
    Some(failed)
}

#[test]
#[ignore = "needs python3"]
fn a_request_that_fails_leaves_the_old_generation_live() {
    let said = "`--warm-up http:/warm` failed: the probe's connection was closed";
    if let Some(failed) = fails_then_succeeds(REQUEST, &[], said) {
        assert_eq!(failed.text("reason"), "warm_up");
        assert!(failed.mentions("failed to warm up"), "{failed}");
    }
}

#[test]
#[ignore = "needs python3 and curl"]
fn a_command_that_fails_leaves_the_old_generation_live() {
    if !installed_or_skip("curl") {
        return;
    }
    if let Some(failed) = fails_then_succeeds(COMMAND, &[], "failed: exit status 52") {
        assert_eq!(failed.text("reason"), "warm_up");
    }
}

#[test]
#[ignore = "needs python3 and curl"]
fn a_slow_warm_up_ends_at_the_ready_timeout() {
    if !installed_or_skip("curl") {
        return;
    }
    let slow = format!("{COMMAND} || sleep 1000");
    let failed = fails_then_succeeds(&slow, &["--ready-timeout", "3s"], "has not ended");
    if let Some(failed) = failed {
        assert_eq!(failed.text("reason"), "ready_timeout");
    }
}
