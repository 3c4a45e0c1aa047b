//! Liveness checks (`--alive`).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::request_loop::RequestLoop;
use crate::harness::sockets::free_address;
use crate::harness::{PYTHON, Project, Run, Running, TIMEOUT, skip};

/// Serves as usual, but the health of the generations that the file `sick` names is bad.
const SERVER: &str = "
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        own = os.environ['HOTRUN_GENERATION']
        sick = self.path == '/health' and own in open('sick').read().split()
        self.send_response(500 if sick else 200)
        self.end_headers()
        self.wfile.write(b'gen ' + own.encode())
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer): request_queue_size = 100
Server(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";
const EVERY: Duration = Duration::from_millis(200);

fn serve(project: &Project) -> Running {
    project.save("app.py", SERVER);
    project.save("sick", "none");
    let address = free_address();
    let run = Run::new(project).opens(address);
    let run = run.env("PORT", address.port().to_string());
    let run = run.args([
        "--alive",
        "http:/health,every=200ms,failures=3",
        "--exts",
        "py",
    ]);
    let mut run = run.program([PYTHON, "app.py"]).spawn();
    assert_eq!(run.live(), 1);
    run
}

#[test]
fn an_unhealthy_generation_is_replaced_without_a_lost_request_and_at_most_twice_in_a_row() {
    let project = Project::new();
    let mut run = serve(&project);
    let load = RequestLoop::paced(run.address(), Duration::from_millis(5));
    load.more(5);
    // One of the program's processes is stopped, so no check counts.
    let pid = Pid::from_raw(i32::try_from(run.pid_of(1)).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    run.wait_until_quiet(EVERY * 8);
    kill(pid, Signal::SIGCONT).unwrap();
    load.more(20);
    run.assert_count("starting", 1);

    let began = Instant::now();
    project.save("sick", "1");
    let starting = run.expect("starting");
    let took = began.elapsed();
    assert_eq!(starting.text("cause"), "unhealthy", "{starting}");
    let most = EVERY * 3 + Duration::from_secs(1);
    assert!(took >= EVERY * 2 && took < most, "after {took:?}");
    assert_eq!(run.live(), 2);
    assert_eq!(run.get("/"), "gen 2");
    load.more(20);

    project.save("sick", "1 2 3 4");
    assert_eq!(run.live(), 3);
    let unhealthy = |run: &mut Running| {
        let text = "gen 3 fails its liveness check: the probe got status 500";
        run.expect_that("its health", TIMEOUT, |event| event.text("text") == text);
    };
    unhealthy(&mut run);
    run.wait_until_quiet(EVERY * 5);
    load.more(20);
    run.assert_count("starting", 3);
    // A change makes hotrun replace it again.
    project.save("app.py", &format!("{SERVER}# changed"));
    assert_eq!(run.live(), 4);
    assert_eq!(run.live(), 5);
    load.more(20);
    load.assert_none_lost();
    run.quit();
}

/// Traces a process as a debugger does (`PTRACE_SEIZE`), until it is killed.
const TRACER: &str = "
import ctypes, sys, time
arguments = [ctypes.c_long(value) for value in (0x4206, int(sys.argv[1]), 0, 0)]
print(ctypes.CDLL(None).ptrace(*arguments), flush=True)
time.sleep(600)
";

#[test]
fn a_traced_program_is_not_replaced() {
    let project = Project::new();
    let mut run = serve(&project);
    let pid = run.pid_of(1).to_string();
    let tracer = Command::new(PYTHON)
        .args(["-c", TRACER, &pid])
        .stdout(Stdio::piped())
        .spawn();
    let mut tracer = tracer.expect("can start Python");
    let mut traces = String::new();
    let output = tracer.stdout.take().expect("it is piped");
    let read = BufReader::new(output).read_line(&mut traces);
    read.expect("can read the line");
    if traces == "0\n" {
        project.save("sick", "1");
        run.wait_until_quiet(EVERY * 8);
        run.assert_count("starting", 1);
    }
    tracer.kill().expect("it has not been waited for");
    tracer.wait().expect("can wait for it");
    if traces != "0\n" {
        return skip("a process may not be traced here");
    }
    assert_eq!(run.live(), 2);
    run.quit();
}
