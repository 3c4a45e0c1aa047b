//! Tests that libraries and servers accept the sockets that `--listen` passes as systemd does. The tests with the axum
//! example cover `listenfd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::request_loop::RequestLoop;
use crate::harness::sockets::free_address;
use crate::harness::{
    BUILD_TIMEOUT, PYTHON, Project, Run, Running, TIMEOUT, app_builds, gunicorn, http, skip, until,
};

/// Returns whether the command succeeds; if not, reports the test as skipped.
fn works_or_skip(program: &str, arguments: &[&str], packages: &str) -> bool {
    let output = Command::new(program).args(arguments).output();
    let found = output.is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!(
            "`{program} {}` fails (`apt install {packages}`)",
            arguments.join(" ")
        ));
    }
    found
}

/// Checks that the program can be reloaded. The program must use the passed socket, because it does not know the port.
fn assert_reloads(run: Run, project: &Project, edit: &str) {
    assert_reloads_once_started(run, project, edit, |_, _| {});
}

/// Like [`assert_reloads`], but once a generation is live, `complete` waits until it has fully started.
fn assert_reloads_once_started(
    run: Run,
    project: &Project,
    edit: &str,
    complete: impl Fn(&mut Running, u64),
) {
    let mut run = run.spawn();
    assert_eq!(run.live(), 1);
    assert!(run.get("/").starts_with("one"), "{}", run.get("/"));
    complete(&mut run, 1);
    project.save(edit, &source(edit, "two"));
    assert_eq!(run.live(), 2);
    assert!(run.get("/").starts_with("two"), "{}", run.get("/"));
    complete(&mut run, 2);
    run.quit();
}

/// Returns the source of a program that responds with this word.
fn source(file: &str, word: &str) -> String {
    let source = match file {
        "asgi.py" => include_str!("activation/asgi.py"),
        "wsgi.py" => include_str!("activation/wsgi.py"),
        "libsystemd.py" => include_str!("activation/libsystemd.py"),
        "main.go" => include_str!("activation/main.go"),
        "server.js" => include_str!("activation/server.js"),
        other => panic!("no such program: {other}"),
    };
    source.replace("WORD", word)
}

/// Starts a command with a listener as its descriptor 3, as `systemd-socket-activate` does. `systemd-socket-activate`
/// itself passes hardly any variables on.
const ACTIVATE: &str = "import os, socket, sys
s = socket.create_server(('127.0.0.1', int(sys.argv[1])))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
#[ignore = "needs python3"]
fn hotrun_takes_the_socket_that_it_is_activated_with() {
    let project = Project::new();
    project.server("one");
    let launcher = project.beside("activate.py");
    fs::write(&launcher, ACTIVATE).expect("can write the launcher");
    let address = free_address();
    let launch = format!(
        "exec {PYTHON} '{}' {} \"$0\" \"$@\"",
        launcher.display(),
        address.port()
    );
    let run = Run::through(&project, &launch).opens(address);
    let mut run = run.program(["sh", "start"]).spawn();
    assert_eq!(run.live(), 1);
    let asking = RequestLoop::start(address);
    for generation in 2..=3 {
        project.server(&generation.to_string());
        assert_eq!(run.live(), generation);
        asking.more(10);
        let expected = format!("generation {generation} version {generation}\n");
        assert_eq!(run.get("/"), expected);
        run.wait_until_gone(generation - 1);
    }
    asking.assert_none_lost();
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn libsystemd_gets_the_socket_and_its_name_and_reports_readiness() {
    let load = "import ctypes; ctypes.CDLL('libsystemd.so.0')";
    if !works_or_skip(PYTHON, &["-c", load], "python3 libsystemd0") {
        return;
    }
    let project = Project::new();
    project.save("libsystemd.py", &source("libsystemd.py", "one"));
    let run = Run::new(&project).listen_on("api=127.0.0.1:0");
    assert_reloads(
        run.args(["--ready", "notify"])
            .program([PYTHON, "libsystemd.py"]),
        &project,
        "libsystemd.py",
    );
}

#[test]
#[ignore = "needs uvicorn"]
fn uvicorn_uses_the_descriptor_from_its_command_line() {
    if !works_or_skip(PYTHON, &["-m", "uvicorn", "--version"], "python3-uvicorn") {
        return;
    }
    let project = Project::new();
    project.save("asgi.py", &source("asgi.py", "one"));
    let run = Run::new(&project).listen();
    assert_reloads(
        run.program([PYTHON, "-B", "-m", "uvicorn", "asgi:app", "--fd", "3"]),
        &project,
        "asgi.py",
    );
}

#[test]
#[ignore = "needs gunicorn"]
fn gunicorn_detects_the_socket() {
    if !works_or_skip("/usr/bin/gunicorn", &["--version"], "gunicorn") {
        return;
    }
    let project = Project::new();
    project.save("wsgi.py", &source("wsgi.py", "one"));
    let run = Run::new(&project)
        .listen()
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let line = [
        "/usr/bin/gunicorn",
        "--workers",
        "2",
        "--worker-tmp-dir",
        "/dev/shm",
        "wsgi:app",
    ];
    assert_reloads_once_started(run.program(line), &project, "wsgi.py", |run, id| {
        gunicorn::wait_for_handlers(run.pid_of(id), 2);
    });
}

#[test]
#[ignore = "needs go"]
fn go_systemd_detects_the_socket() {
    let packages = "/usr/share/gocode/src/github.com/coreos/go-systemd/activation";
    if !works_or_skip("go", &["version"], "golang-go") {
        return;
    }
    if !Path::new(packages).is_dir() {
        return skip(
            "`go-systemd` is not installed (`apt install golang-github-coreos-go-systemd-dev`)",
        );
    }
    let project = Project::new();
    project.save("main.go", &source("main.go", "one"));
    let cache = app_builds().join("go");
    let run = Run::new(&project).listen().env("GOCACHE", &cache);
    let run = run
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode");
    warm_cache(&project.work(), &cache);
    assert_reloads(
        run.args(["--build", "go build -o ../app main.go"])
            .program(["../app"]),
        &project,
        "main.go",
    );
}

/// Fills the build cache: the first build compiles the standard library, which may take longer than the test's time
/// limit.
fn warm_cache(work: &Path, cache: &PathBuf) {
    let mut build = Command::new("go");
    build
        .args(["build", "-o", "../app", "main.go"])
        .current_dir(work);
    build
        .env("GOCACHE", cache)
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode");
    let mut child = build.spawn().expect("can start `go`");
    let status = until("the first build ends", BUILD_TIMEOUT, || {
        child.try_wait().expect("can wait for `go`")
    });
    assert!(status.success());
}

/// gunicorn's master sends `READY=1` before a worker has loaded the application.
#[test]
#[ignore = "needs gunicorn"]
fn the_old_generation_stays_live_if_gunicorn_cannot_load_the_new_program() {
    if !works_or_skip("/usr/bin/gunicorn", &["--version"], "gunicorn") {
        return;
    }
    let project = Project::new();
    project.save("wsgi.py", &source("wsgi.py", "one"));
    let run = Run::new(&project)
        .listen()
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let gunicorn = [
        "/usr/bin/gunicorn",
        "--worker-tmp-dir",
        "/dev/shm",
        "wsgi:app",
    ];
    let mut run = run.program(gunicorn).spawn();
    assert_eq!(run.live(), 1);
    project.save("wsgi.py", "def app(:\n");
    let failed = run.expect("failed");
    assert_eq!(failed.number("live"), 1, "{failed}");
    assert!(run.get("/").starts_with("one"));
    run.quit();
}

/// Node catches the stop signal to restore the terminal, then exits without finishing its requests.
#[test]
#[ignore = "needs node"]
fn a_request_in_flight_finishes_even_though_the_node_program_has_no_stop_handler() {
    if !works_or_skip("node", &["--version"], "nodejs") {
        return;
    }
    let project = Project::new();
    project.save("server.js", &source("server.js", "one"));
    let mut run = Run::new(&project)
        .listen()
        .program(["node", "server.js"])
        .spawn();
    assert_eq!(run.live(), 1);
    let address = run.address();
    let long = std::thread::spawn(move || http::get(address, "/slow"));
    until("the request is in flight", TIMEOUT, || {
        (crate::harness::sockets::established_connections(address) > 0).then_some(())
    });
    project.save("server.js", &source("server.js", "two"));
    assert_eq!(run.live(), 2);
    run.wait_until_gone(1);
    assert_eq!(
        long.join()
            .expect("the client has not panicked")
            .expect("a response"),
        "one\n"
    );
    run.quit();
}
