//! Example programs from the documentation of many servers, reloaded under a steady load of new connections. No request
//! may fail.
//!
//! In CI, or with `MATRIX=full`, each program is reloaded at least 30 times and gets at least 10,000 requests (the Java
//! program: 5,000). Otherwise, a tenth of the reloads and a twentieth of the requests are enough.

mod clients;
mod dependencies;
mod grpc;
mod instances;
mod keep_alive;
mod program;
mod slow;

use std::env;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clients::StrictClient;
use program::Program;

use crate::harness::hey::{self, Load, Pressure};
use crate::harness::{BUILD_TIMEOUT, Event, Project, Run, Running, TIMEOUT, gunicorn, say, until};

/// About 800 connections per second, few enough to leave CPU time for the server.
const STEADY: Pressure = Pressure {
    clients: 20,
    rate: 40,
};

/// The minimum numbers of reloads and requests.
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

    /// The requests per batch: a multiple of the number of clients, because `hey` drops the remainder.
    fn batch(self) -> usize {
        (self.requests / 10).next_multiple_of(STEADY.clients)
    }
}

/// Whether to run the full matrix.
fn full() -> bool {
    env::var_os("CI").is_some() || env::var("MATRIX").is_ok_and(|size| size == "full")
}

/// The user that hotrun runs as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunAs {
    /// The user who runs the tests.
    CurrentUser,
    /// `nobody`, if root runs the tests.
    Nobody,
}

/// A program under hotrun, and its project.
struct ServedProgram {
    program: Program,
    project: Project,
    run: Running,
    live: u64,
    reloads: usize,
}

impl ServedProgram {
    fn start(mut program: Program, who: RunAs) -> Self {
        let project = Project::new();
        program.set_up(&project);
        let run = match who {
            RunAs::CurrentUser => Run::new(&project),
            RunAs::Nobody => Run::as_nobody(&project),
        };
        let run = run.opens(program.address());
        let run = match program.extension() {
            Some(extension) => run.args(["--exts", extension]),
            None => run,
        };
        let mut run = program.environment(run, &project).spawn();
        let first = run.expect_that("the first generation to go live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        // A program without a listener goes live after a short time, so it may not be listening yet.
        until("the program is listening", TIMEOUT, || {
            TcpStream::connect(program.address()).ok()
        });
        let mut served = Self {
            live: first.generation(),
            program,
            project,
            run,
            reloads: 0,
        };
        served.wait_until_stoppable();
        served
    }

    /// Saves the next version, waits until it is live, and returns the word in its responses. Lets at most two
    /// generations drain at once.
    fn reload(&mut self) -> String {
        let word = self.program.save(&self.project);
        self.live = self.run.live();
        self.reloads += 1;
        if self.live > 2 {
            self.run.wait_until_gone(self.live - 2);
        }
        self.wait_until_stoppable();
        word
    }

    /// Waits until the live generation can handle a stop signal.
    fn wait_until_stoppable(&mut self) {
        if let Some(workers) = self.program.gunicorn_workers() {
            gunicorn::wait_for_handlers(self.run.pid_of(self.live), workers);
        }
    }

    /// Quits, and checks that hotrun reported no problem.
    fn quit(mut self) {
        let events = self.run.so_far().iter();
        let problems: Vec<_> = events
            .filter(|event| is_problem(event))
            .map(ToString::to_string)
            .collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        self.run.quit();
    }
}

/// Reloads under load, and checks that no request fails.
fn reload_under_load(program: Program, who: RunAs, requests: usize) {
    if !hey::installed_or_skip() || !program.can_run_or_skip() {
        return;
    }
    let what = program.what();
    if who == RunAs::Nobody && !nix::unistd::geteuid().is_root() {
        return say(&format!(
            "{what}: skipped, because the tests already run as a user other than root"
        ));
    }
    let (mut served, size) = (ServedProgram::start(program, who), Size::of(requests));
    let began = Instant::now();
    let load = Load::start(served.run.address(), STEADY, size.batch());
    let strict = StrictClient::start(served.run.address());
    while served.reloads < size.reloads || load.sent() < size.requests {
        let word = served.reload();
        assert!(
            served.run.get("/").contains(&word),
            "{what}: an old version responded"
        );
    }
    let (count, took) = (served.reloads, began.elapsed());
    let figures = load.stop();
    let (answered, failures) = strict.stop();
    say(&format!(
        "{what}: {count} reloads in {took:.0?}; {figures}; {answered} more responses checked completely, {} failed",
        failures.len()
    ));
    assert_eq!(
        figures.succeeded, figures.sent,
        "{what}: `hey` reports failed requests"
    );
    assert!(failures.is_empty(), "{what}: {failures:?}");
    assert!(
        figures.sent >= size.requests && answered > 0,
        "{what}: too few requests"
    );
    served.quit();
}

/// Whether this event reports a problem. A gRPC server has calls in progress until it ends, and answers them; the client
/// counts those that fail.
fn is_problem(event: &Event) -> bool {
    let killed = event.is("gone") && !["drained", "unfinished"].contains(&event.text("outcome"));
    let level = event.text("level");
    killed || event.is("failed") || level == "warning" || level == "error"
}

const MANY: usize = 10_000;
const SOME: usize = 5_000;

macro_rules! matrix {
    ($($name:ident: $program:expr, $who:expr, $requests:expr;)*) => {$(
        #[test]
        #[ignore = "takes minutes, needs hey and the runtimes of the servers"]
        fn $name() {
            let name = stringify!($name);
            reload_under_load($program(name), $who, $requests);
        }
    )*};
}

matrix! {
    axum: Program::axum, RunAs::CurrentUser, MANY;
    axum_as_nobody: Program::axum, RunAs::Nobody, MANY;
    actix_web: Program::actix, RunAs::CurrentUser, MANY;
    go_static: Program::go_static, RunAs::CurrentUser, MANY;
    go_static_as_nobody: Program::go_static, RunAs::Nobody, MANY;
    go_run: Program::go_run, RunAs::CurrentUser, MANY;
    node_http: Program::node, RunAs::CurrentUser, MANY;
    node_http_as_nobody: Program::node, RunAs::Nobody, MANY;
    node_express: Program::express, RunAs::CurrentUser, MANY;
    python_http_server: Program::http_server, RunAs::CurrentUser, MANY;
    python_http_server_as_nobody: Program::http_server, RunAs::Nobody, MANY;
    uvicorn: Program::uvicorn, RunAs::CurrentUser, MANY;
    uvicorn_as_nobody: Program::uvicorn, RunAs::Nobody, MANY;
    gunicorn: Program::gunicorn, RunAs::CurrentUser, MANY;
    gunicorn_as_nobody: Program::gunicorn, RunAs::Nobody, MANY;
    flask: Program::flask, RunAs::CurrentUser, MANY;
    java: Program::java, RunAs::CurrentUser, SOME;
}

/// How long a client pauses between two requests.
const PAUSE: Duration = Duration::from_millis(10);
