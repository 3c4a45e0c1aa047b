//! Programs that have never heard of hotrun, each as its documentation shows it, reloaded under a steady load of new
//! connections: no request may fail.
//!
//! In CI, or with `MATRIX=full`, that is 30 reloads and 20,000 requests each; else a taste of it.

mod clients;
mod kitchen;
mod program;

use std::env;
use std::time::{Duration, Instant};

use clients::Strict;
use program::Program;

use crate::harness::hey::{self, Load, Pressure};
use crate::harness::{
    BUILD_PATIENCE, Event, PATIENCE, Project, Run, Running, http, say, skip, until,
};

/// How many connections a second, about: half a core is left to the servers, whatever they are written in.
const STEADY: Pressure = Pressure {
    clients: 20,
    rate: 40,
};

/// How much of both there has to be.
#[derive(Clone, Copy)]
struct Size {
    reloads: usize,
    requests: usize,
}

impl Size {
    fn of(requests: usize) -> Self {
        match full() {
            true => Self {
                reloads: 30,
                requests,
            },
            false => Self {
                reloads: 3,
                requests: requests / 20,
            },
        }
    }

    fn batch(self) -> usize {
        self.requests / 10
    }
}

fn full() -> bool {
    env::var_os("CI").is_some() || env::var("MATRIX").is_ok_and(|size| size == "full")
}

/// Who runs hotrun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Whoever runs the tests.
    Us,
    /// `nobody`, if it is root who runs the tests.
    Nobody,
}

fn can_load() -> bool {
    if !hey::installed() {
        skip("`hey` is not installed (`apt install hey`)");
        return false;
    }
    true
}

/// Reloads until there were enough of both.
fn reloads(mut program: Program, who: Who, requests: usize) {
    if !can_load() || !program.can_run() {
        return;
    }
    if who == Who::Nobody && !nix::unistd::geteuid().is_root() {
        return say(&format!("{}: we are no root anyway", program.what()));
    }
    let project = Project::new();
    program.set_up(&project);
    let run = match who {
        Who::Us => Run::new(&project),
        Who::Nobody => Run::as_nobody(&project),
    };
    let run = run.opens(program.address());
    let run = match program.extension() {
        Some(extension) => run.args(["--exts", extension]),
        None => run,
    };
    let mut run = program.environment(run, &project).spawn();
    let first = run.expect_that("live", BUILD_PATIENCE, |event| event.is("live"));
    assert_eq!(first.generation(), 1);
    // The first one counts as live when it has lived for a moment, though it may open its socket later.
    until("the first answer", PATIENCE, || {
        http::get(program.address(), "/").ok()
    });
    under_load(&mut run, &mut program, &project, Size::of(requests));
    run.quit();
}

fn under_load(run: &mut Running, program: &mut Program, project: &Project, size: Size) {
    let (what, began) = (program.what(), Instant::now());
    let load = Load::start(run.address(), STEADY, size.batch());
    let strict = Strict::start(run.address());
    let mut count = 0;
    while count < size.reloads || load.asked() < size.requests {
        let word = program.save(project);
        let live = run.expect("live").generation();
        count += 1;
        assert!(run.get("/").contains(&word), "{what}: an old answer");
        // Two drain at once, never more.
        if live > 2 {
            run.gone_is(live - 2);
        }
    }
    let figures = load.stop();
    let (answered, failures) = strict.stop();
    say(&format!(
        "{what}: {count} reloads in {:.0?}; {figures}; read in full {answered}, {} failed",
        began.elapsed(),
        failures.len()
    ));
    let complaints: Vec<_> = run
        .so_far()
        .iter()
        .filter(|event| is_complaint(event))
        .collect();
    assert!(complaints.is_empty(), "{what}: {}", join(&complaints));
    assert_eq!(
        figures.answered, figures.asked,
        "{what}: hey was not answered"
    );
    assert!(failures.is_empty(), "{what}: {failures:?}");
    assert!(
        figures.asked >= size.requests && answered > 0,
        "{what}: too few"
    );
}

/// Whether hotrun tells of something that did not go as it should.
fn is_complaint(event: &Event) -> bool {
    let badly = event.is("gone") && event.text("how") != "drained";
    let level = event.text("level");
    badly || event.is("failed") || level == "warning" || level == "error"
}

fn join(events: &[&Event]) -> String {
    let lines: Vec<_> = events.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

const MANY: usize = 20_000;
const SOME: usize = 5_000;

macro_rules! matrix {
    ($($name:ident: $program:expr, $who:expr, $requests:expr;)*) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name);
            reloads($program(name), $who, $requests);
        }
    )*};
}

matrix! {
    axum: Program::axum, Who::Us, MANY;
    axum_as_nobody: Program::axum, Who::Nobody, MANY;
    actix_web: Program::actix, Who::Us, MANY;
    go_static: Program::go_static, Who::Us, MANY;
    go_static_as_nobody: Program::go_static, Who::Nobody, MANY;
    go_run: Program::go_run, Who::Us, MANY;
    node_http: Program::node, Who::Us, MANY;
    node_http_as_nobody: Program::node, Who::Nobody, MANY;
    node_express: Program::express, Who::Us, MANY;
    python_http_server: Program::http_server, Who::Us, MANY;
    python_http_server_as_nobody: Program::http_server, Who::Nobody, MANY;
    uvicorn: Program::uvicorn, Who::Us, MANY;
    uvicorn_as_nobody: Program::uvicorn, Who::Nobody, MANY;
    gunicorn: Program::gunicorn, Who::Us, MANY;
    gunicorn_as_nobody: Program::gunicorn, Who::Nobody, MANY;
    flask: Program::flask, Who::Us, MANY;
    java: Program::java, Who::Us, SOME;
}

/// How long a client of a test waits between two of its requests.
const PAUSE: Duration = Duration::from_millis(10);
