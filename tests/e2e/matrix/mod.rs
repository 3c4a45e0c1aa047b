//! Programs that have never heard of hotrun, each as its documentation shows it, reloaded under a steady load of new
//! connections: no request may fail.
//!
//! In CI, or with `MATRIX=full`, that is 30 reloads and 20,000 requests each; else a taste of it.

mod clients;
mod grpc;
mod keep_alive;
mod kitchen;
mod program;
mod slow;

use std::env;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clients::Strict;
use program::Program;

use crate::harness::hey::{self, Load, Pressure};
use crate::harness::{
    BUILD_PATIENCE, Event, PATIENCE, Project, Run, Running, gunicorn, say, skip, until,
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

    /// As many for each client: `hey` leaves out what is over.
    fn batch(self) -> usize {
        (self.requests / 10).next_multiple_of(STEADY.clients)
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

/// A program that runs under hotrun, and what it is saved to.
struct Served {
    program: Program,
    project: Project,
    run: Running,
    live: u64,
    reloads: usize,
}

impl Served {
    fn start(program: Program, who: Who) -> Self {
        Self::start_with(program, who, &[])
    }

    fn start_with(mut program: Program, who: Who, options: &[&str]) -> Self {
        let project = Project::new();
        program.set_up(&project);
        let run = match who {
            Who::Us => Run::new(&project),
            Who::Nobody => Run::as_nobody(&project),
        };
        let run = run.args(options).opens(program.address());
        let run = match program.extension() {
            Some(extension) => run.args(["--exts", extension]),
            None => run,
        };
        let mut run = program.environment(run, &project).spawn();
        let first = run.expect_that("live", BUILD_PATIENCE, |event| event.is("live"));
        // It counts as live when it has lived for a moment, though it may open its socket later.
        until("it listens", PATIENCE, || {
            TcpStream::connect(program.address()).ok()
        });
        let mut served = Self {
            live: first.generation(),
            program,
            project,
            run,
            reloads: 0,
        };
        served.complete();
        served
    }

    /// Saves, waits until that is live, and gives what it answers with. Two drain at once, never more.
    fn reload(&mut self) -> String {
        let word = self.program.save(&self.project);
        self.live = self.run.live();
        self.reloads += 1;
        if self.live > 2 {
            self.run.gone_is(self.live - 2);
        }
        self.complete();
        word
    }

    /// Waits until the newest generation can be asked to stop.
    fn complete(&mut self) {
        if let Some(workers) = self.program.gunicorn_workers() {
            gunicorn::workers_hear(self.run.pid_of(self.live), workers);
        }
    }

    /// Ends it. All went as it should.
    fn quit(mut self) {
        let told = self.run.so_far().iter();
        let complaints: Vec<_> = told
            .filter(|event| is_complaint(event))
            .map(ToString::to_string)
            .collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        self.run.quit();
    }
}

/// Reloads until there were enough of both.
fn reloads(program: Program, who: Who, requests: usize) {
    if !can_load() || !program.can_run() {
        return;
    }
    let what = program.what();
    if who == Who::Nobody && !nix::unistd::geteuid().is_root() {
        return say(&format!("{what}: we are no root anyway"));
    }
    let (mut served, size) = (Served::start(program, who), Size::of(requests));
    let began = Instant::now();
    let load = Load::start(served.run.address(), STEADY, size.batch());
    let strict = Strict::start(served.run.address());
    while served.reloads < size.reloads || load.asked() < size.requests {
        let word = served.reload();
        assert!(served.run.get("/").contains(&word), "{what}: an old answer");
    }
    let (count, took) = (served.reloads, began.elapsed());
    let figures = load.stop();
    let (answered, failures) = strict.stop();
    say(&format!(
        "{what}: {count} reloads in {took:.0?}; {figures}; {answered} more read in full, {} failed",
        failures.len()
    ));
    assert_eq!(
        figures.answered, figures.asked,
        "{what}: hey was not answered"
    );
    assert!(failures.is_empty(), "{what}: {failures:?}");
    assert!(
        figures.asked >= size.requests && answered > 0,
        "{what}: too few"
    );
    served.quit();
}

/// Whether hotrun tells of something that did not go as it should.
fn is_complaint(event: &Event) -> bool {
    let badly = event.is("gone") && event.text("outcome") != "drained";
    let level = event.text("level");
    badly || event.is("failed") || level == "warning" || level == "error"
}

const MANY: usize = 20_000;
const SOME: usize = 5_000;

macro_rules! matrix {
    ($($name:ident: $program:expr, $who:expr, $requests:expr;)*) => {$(
        #[test]
        #[ignore = "takes minutes, needs hey and the runtimes of the servers"]
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
