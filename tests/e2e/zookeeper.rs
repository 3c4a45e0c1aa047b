//! The command that the guide recommends as a source for ZooKeeper, with a real server and its client.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::adopting::installed_or_skip;
use crate::harness::sockets::free_port;
use crate::harness::{Project, Running, TIMEOUT, skip, until};

/// Debian's package `libzookeeper-java`. `zkCli.sh`, in the package `zookeeper`, starts the same client.
const JAR: &str = "/usr/share/java/zookeeper.jar";
const SERVER: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";
const CLIENT: &str = "org.apache.zookeeper.ZooKeeperMain";
/// Many times as long as a source must be quiet, and longer than the client waits before it connects again.
const QUIET: Duration = Duration::from_secs(3);

/// A running server, which is killed when this is dropped.
struct Zookeeper {
    child: Child,
    data: PathBuf,
    port: u16,
}

fn java() -> Command {
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-Xmx64m", "-cp", JAR]);
    java.stdout(Stdio::null()).stderr(Stdio::null());
    java
}

/// The server's report about itself. While it starts, it accepts connections, but does not respond.
fn status(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let timeout = Some(Duration::from_millis(500));
    stream.set_read_timeout(timeout).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

impl Zookeeper {
    /// Starts a server with this data on this port, and waits until it responds.
    fn at(data: &Path, port: u16, session: &str) -> Self {
        let config = data.with_extension(format!("{port}.cfg"));
        let text = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=200\n\
             maxSessionTimeout={session}\nadmin.enableServer=false\n",
            data.display()
        );
        fs::write(&config, text).expect("can write the configuration");
        let child = java().arg(SERVER).arg(config).spawn();
        until("ZooKeeper responds", TIMEOUT, || {
            status(port)?.contains("Zookeeper version").then_some(())
        });
        Self {
            child: child.expect("can start java"),
            data: data.to_owned(),
            port,
        }
    }

    fn start(project: &Project, session: &str) -> Self {
        Self::at(&project.beside("zookeeper"), free_port(), session)
    }

    #[track_caller]
    fn ctl(&self, words: &[&str]) {
        let server = format!("127.0.0.1:{}", self.port);
        let mut client = java();
        let status = client.args([CLIENT, "-server", &server]).args(words);
        assert!(status.status().is_ok_and(|status| status.success()));
    }

    /// The guide's command, for this server.
    fn source(&self) -> String {
        let guide = include_str!("../../src/guide/sources.md");
        let mut examples = guide.split("```");
        let example = examples.find(|text| text.contains("zkCli.sh"));
        let example = example.expect("the guide has an example");
        let (_, command) = example.split_once('\n').expect("it has a first line");
        let client = format!("java -cp {JAR} {CLIENT} -server 127.0.0.1:{}", self.port);
        format!("cfg={}", command.replace("zkCli.sh", &client))
    }
}

impl Drop for Zookeeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn zookeeper_or_skip() -> bool {
    if !Path::new(JAR).exists() {
        skip("`libzookeeper-java` is not installed");
        return false;
    }
    installed_or_skip("java")
}

/// The client's process, once it is connected.
fn wait_for_client(run: &Running, port: u16) -> i32 {
    let own = process_tree::descendants;
    let is_client = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"java\0")
    };
    let client = until("the client runs", TIMEOUT, || {
        own(run.pid().as_raw()).into_iter().find(is_client)
    });
    until("the client is connected", TIMEOUT, || {
        // The connection that asks counts as well.
        status(port)?.contains("Connections: 2\n").then_some(())
    });
    client
}

/// Starts hotrun with the guide's command, and waits until the client watches. Returns the client's pid.
fn start(project: &Project, server: &Zookeeper) -> (Running, i32) {
    server.ctl(&["create", "/app", "1"]);
    project.server("v1");
    let source = server.source();
    let mut run = project.run().listen().args(["--source", &source]).spawn();
    run.live();
    let client = wait_for_client(&run, server.port);
    assert_starts(&mut run, 1);
    (run, client)
}

#[track_caller]
fn assert_starts(run: &mut Running, expected: usize) {
    run.wait_until_quiet(QUIET);
    run.assert_count("starting", expected);
}

/// Longer than any test.
const LONG: &str = "60000";

#[test]
#[ignore = "needs ZooKeeper"]
fn a_node_that_is_set_is_one_reload() {
    if !zookeeper_or_skip() {
        return;
    }
    let project = Project::new();
    let server = Zookeeper::start(&project, LONG);
    let (mut run, _) = start(&project, &server);
    server.ctl(&["set", "/app", "2"]);
    assert_eq!(run.live(), 2);
    assert_starts(&mut run, 2);
    server.ctl(&["create", "/other", "x"]);
    assert_starts(&mut run, 2);
    server.ctl(&["create", "/app/key", "x"]);
    assert_eq!(run.live(), 3);
    // ZooKeeper counts this as a change: the node has a new version.
    server.ctl(&["set", "/app", "2"]);
    assert_eq!(run.live(), 4);
    assert_starts(&mut run, 4);
    run.quit();
}

#[test]
#[ignore = "needs ZooKeeper"]
fn a_change_while_zookeeper_is_down_is_one_reload() {
    if !zookeeper_or_skip() {
        return;
    }
    let project = Project::new();
    let server = Zookeeper::start(&project, LONG);
    let (mut run, _) = start(&project, &server);
    let (data, port) = (server.data.clone(), server.port);
    drop(server);
    let elsewhere = Zookeeper::at(&data, free_port(), LONG);
    elsewhere.ctl(&["set", "/app", "2"]);
    elsewhere.ctl(&["set", "/app", "3"]);
    drop(elsewhere);
    assert_starts(&mut run, 1);
    let server = Zookeeper::at(&data, port, LONG);
    assert_eq!(run.live(), 2);
    assert_starts(&mut run, 2);
    server.ctl(&["set", "/app", "4"]);
    assert_eq!(run.live(), 3);
    assert_starts(&mut run, 3);
    run.quit();
}

#[test]
#[ignore = "needs ZooKeeper"]
fn a_change_after_the_end_of_the_clients_session_is_a_reload() {
    if !zookeeper_or_skip() {
        return;
    }
    let project = Project::new();
    let server = Zookeeper::start(&project, "5000");
    let (mut run, client) = start(&project, &server);
    let client = Pid::from_raw(client);
    kill(client, Signal::SIGSTOP).expect("the client runs");
    server.ctl(&["set", "/app", "2"]);
    sleep(Duration::from_secs(9));
    kill(client, Signal::SIGCONT).expect("the client runs");
    run.expect_that("the source ends", TIMEOUT, |event| {
        event.is("source") && event.mentions("\"up\":false")
    });
    assert_eq!(run.live(), 2);
    wait_for_client(&run, server.port);
    server.ctl(&["set", "/app", "3"]);
    assert_eq!(run.live(), 3);
    assert_starts(&mut run, 3);
    run.quit();
}
