//! Tests with a real etcd.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Event, Project, Run, Running, TIMEOUT, skip, succeeds, until};

/// Many times as long as a source must be quiet.
const QUIET: Duration = Duration::from_millis(1500);

/// A running etcd, which is killed when this is dropped.
pub(crate) struct Etcd {
    child: Child,
    data: PathBuf,
    pub(crate) port: u16,
    user: Option<&'static str>,
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("can bind a port");
    socket.local_addr().expect("it has an address").port()
}

impl Etcd {
    pub(crate) fn start(project: &Project) -> Self {
        Self::at(project.beside("etcd"), free_port())
    }

    /// Starts etcd with this data on this port, and waits until it responds.
    fn at(data: PathBuf, port: u16) -> Self {
        let (client, peer) = (url(port), url(free_port()));
        let cluster = format!("default={peer}");
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster, "--unsafe-no-fsync"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("can start etcd");
        let etcd = Self {
            child,
            data,
            port,
            user: None,
        };
        until("etcd responds", TIMEOUT, || {
            etcd.ctl_succeeds(&["endpoint", "health"]).then_some(())
        });
        etcd
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", url(self.port))
            .args(args);
        if let Some(user) = self.user {
            command.env("ETCDCTL_USER", user);
        }
        command.output().expect("can start etcdctl")
    }

    fn ctl_succeeds(&self, args: &[&str]) -> bool {
        self.output(args).status.success()
    }

    /// Runs etcdctl, and returns what it prints.
    #[track_caller]
    pub(crate) fn ctl_output(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "etcdctl {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn ctl(&self, args: &[&str]) {
        self.ctl_output(args);
    }

    fn source(&self, prefix: &str) -> String {
        format!("cfg=etcd://127.0.0.1:{}{prefix}", self.port)
    }

    fn kill(mut self) -> PathBuf {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::take(&mut self.data)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(crate) fn installed_or_skip() -> bool {
    let installed = succeeds("etcd", &["--version"]) && succeeds("etcdctl", &["version"]);
    if !installed {
        skip("needs etcd-server and etcd-client");
    }
    installed
}

fn run(project: &Project, etcd: &Etcd) -> Run {
    project.server("v1");
    let source = etcd.source("/app/");
    project.run().listen().args(["--source", &source])
}

fn start(project: &Project, etcd: &Etcd) -> Running {
    let mut run = run(project, etcd).spawn();
    run.live();
    // The first values are read at about the same time.
    run.wait_until_quiet(QUIET);
    run.assert_count("starting", 1);
    run
}

#[track_caller]
fn assert_starts(run: &mut Running, expected: usize) {
    run.wait_until_quiet(QUIET);
    run.assert_count("starting", expected);
}

fn is_source(event: &Event, up: bool) -> bool {
    event.is("source") && event.mentions(&format!("\"up\":{up}"))
}

#[test]
#[ignore = "needs etcd"]
fn a_different_value_is_one_reload() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let etcd = Etcd::start(&project);
    let mut run = start(&project, &etcd);
    etcd.ctl(&["put", "/app/a", "1"]);
    assert_eq!(run.live(), 2);
    etcd.ctl(&["put", "/app/a", "1"]);
    etcd.ctl(&["put", "/other/a", "2"]);
    assert_starts(&mut run, 2);
    etcd.ctl(&["del", "/app/a"]);
    assert_eq!(run.live(), 3);
    assert_starts(&mut run, 3);
    run.quit();
}

#[test]
#[ignore = "needs etcd"]
fn a_hundred_values_at_once_are_one_reload() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let etcd = Etcd::start(&project);
    let mut run = start(&project, &etcd);
    for number in 0..100 {
        // `/app/` and a digit, in base64.
        let body = format!("{{\"key\":\"L2FwcC8x\",\"value\":\"{number:04}\"}}");
        let mut stream = TcpStream::connect(("127.0.0.1", etcd.port)).expect("can connect");
        let head = format!(
            "POST /v3/kv/put HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all((head + &body).as_bytes())
            .expect("can write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("can read");
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }
    assert_eq!(run.live(), 2);
    assert_starts(&mut run, 2);
    run.quit();
}

#[test]
#[ignore = "needs etcd"]
fn a_change_while_etcd_is_down_is_one_reload() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let etcd = Etcd::start(&project);
    etcd.ctl(&["put", "/app/a", "1"]);
    let mut run = start(&project, &etcd);
    let port = etcd.port;
    let data = etcd.kill();
    run.expect_that("etcd is down", TIMEOUT, |event| is_source(event, false));
    let elsewhere = Etcd::at(data, free_port());
    elsewhere.ctl(&["put", "/app/a", "2"]);
    elsewhere.ctl(&["put", "/app/a", "3"]);
    elsewhere.ctl(&["compaction", "4"]);
    let etcd = Etcd::at(elsewhere.kill(), port);
    run.expect_that("etcd is up", TIMEOUT, |event| is_source(event, true));
    assert_eq!(run.live(), 2);
    assert_starts(&mut run, 2);
    // Nothing changes while it is down again.
    let data = etcd.kill();
    run.expect_that("etcd is down", TIMEOUT, |event| is_source(event, false));
    let etcd = Etcd::at(data, port);
    run.expect_that("etcd is up", TIMEOUT, |event| is_source(event, true));
    assert_starts(&mut run, 2);
    etcd.ctl(&["put", "/app/a", "4"]);
    assert_eq!(run.live(), 3);
    run.quit();
}

#[test]
#[ignore = "needs etcd"]
fn a_password_comes_from_the_environment() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let mut etcd = Etcd::start(&project);
    etcd.ctl(&["user", "add", "root:pass:word"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    etcd.user = Some("root:pass:word");
    let with_password = run(&project, &etcd).env("ETCDCTL_USER", "root");
    let mut running = with_password.env("ETCDCTL_PASSWORD", "pass:word").spawn();
    running.live();
    running.wait_until_quiet(QUIET);
    etcd.ctl(&["put", "/app/a", "1"]);
    assert_eq!(running.live(), 2);
    running.quit();
    let mut running = run(&project, &etcd).spawn();
    running.live();
    let down = running.wait_for_event("it is down", |event| is_source(event, false));
    assert!(down.mentions("user name is empty"), "{down}");
    running.quit();
}

#[test]
#[ignore = "needs etcd"]
fn keys_are_variables_and_the_last_ones_serve_while_etcd_is_down() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let etcd = Etcd::start(&project);
    let server = crate::harness::apps::std().server.display();
    project.script(&format!("exec '{server}' \"v$VERSION\""));
    etcd.ctl(&["put", "/app/VERSION", "1"]);
    etcd.ctl(&["put", "/app/db/host", "x"]);
    let source = etcd.source("/app/");
    let url = source.strip_prefix("cfg=").expect("it has a name");
    let run = project.run().listen().args(["--env-from", url]);
    let mut run = run.args(["--source", &source]).spawn();
    run.live();
    run.wait_for_version("v1");
    run.wait_for_event("a warning", |event| event.mentions("`db/host`"));
    etcd.ctl(&["put", "/app/VERSION", "2"]);
    run.live();
    run.wait_for_version("v2");
    let port = etcd.port;
    let data = etcd.kill();
    // Nothing listens there, and then something that does not respond.
    restart(&mut run, "the last values");
    run.wait_for_version("v2");
    let silent = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    restart(&mut run, "no response within 1s");
    run.wait_for_version("v2");
    drop(silent);
    let etcd = Etcd::at(data, port);
    etcd.ctl(&["put", "/app/VERSION", "3"]);
    run.wait_for_version("v3");
    run.quit();
}

/// Restarts the program while etcd is down.
#[track_caller]
fn restart(run: &mut Running, warning: &str) {
    run.signal(Signal::SIGUSR1);
    run.expect_that(warning, TIMEOUT, |event| event.mentions(warning));
    run.live();
}

#[test]
fn an_etcd_that_is_down_does_not_prevent_the_first_start() {
    let project = Project::new();
    project.server("v1");
    let url = format!("etcd://127.0.0.1:{}/app/", free_port());
    let run = project.run().listen().args(["--env-from", &url]);
    let mut run = run.args(["--hook", "before-start=true"]).spawn();
    run.live();
    let said = run.wait_for_event("a warning", |event| event.mentions("without its variables"));
    assert!(said.mentions("connection refused"), "{said}");
    run.quit();
}

#[test]
#[ignore = "needs etcd"]
fn keys_that_a_start_could_not_read_restart_the_program() {
    if !installed_or_skip() {
        return;
    }
    let project = Project::new();
    let server = crate::harness::apps::std().server.display();
    project.script(&format!("exec '{server}' \"v$VERSION\""));
    let etcd = Etcd::start(&project);
    etcd.ctl(&["put", "/app/VERSION", "1"]);
    let port = etcd.port;
    let data = etcd.kill();
    let url = format!("etcd://127.0.0.1:{port}/app/");
    let mut run = project.run().listen().args(["--env-from", &url]).spawn();
    run.live();
    run.wait_for_version("v");
    let _etcd = Etcd::at(data, port);
    assert_eq!(run.live(), 2);
    run.wait_for_version("v1");
    assert_starts(&mut run, 2);
    run.quit();
}
