//! HTTP/1 connections that stay open across reloads.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::{PYTHON, Project, TIMEOUT, skip, succeeds};

const RELOADS: usize = 4;

/// Answers each request with its path and the server's version, and appends the path to a file.
const SERVER: &str = r#"
import socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(sys.argv[2], "a") as handled:
            handled.write(self.path + "\n")
        body = f"{self.path} {sys.argv[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
"#;

/// A client with one connection, which never retries.
struct Client {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<String>, String)>,
}

impl Client {
    fn start(to: SocketAddr, name: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let stream = TcpStream::connect(to).expect("can connect");
            let timeout = stream.set_read_timeout(Some(TIMEOUT));
            timeout.expect("can set the timeout");
            let mut stream = BufReader::new(stream);
            let (mut sent, mut last) = (Vec::new(), String::new());
            while !stopped.load(Ordering::Relaxed) {
                let path = format!("/{name}-{}", sent.len());
                last = exchange(&mut stream, &path)
                    .unwrap_or_else(|error| panic!("{path} failed after {last:?}: {error}"));
                sent.push(path);
                thread::sleep(pause);
            }
            (sent, last)
        });
        Self { stop, thread }
    }

    /// Returns the paths requested, and the version that answered last.
    fn stop(self) -> (Vec<String>, String) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every request is answered")
    }
}

/// Requests this path, and returns the version that has answered.
fn exchange(stream: &mut BufReader<TcpStream>, path: &str) -> std::io::Result<String> {
    write!(
        stream.get_mut(),
        "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"
    )?;
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().expect("the length is a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    let version = body.strip_prefix(path);
    let version = version.unwrap_or_else(|| panic!("{path} got the response to {body}"));
    Ok(version.trim().to_owned())
}

#[test]
fn kept_connections_outlive_reloads_and_each_request_is_handled_once() {
    if !succeeds(PYTHON, &["--version"]) {
        return skip("`python3` is not installed");
    }
    let project = Project::new();
    let handled = project.beside("handled");
    project.save("server.py", SERVER);
    let version = |version: usize| {
        let handled = handled.display();
        project.script(&format!("exec {PYTHON} server.py {version} '{handled}'"));
    };
    version(0);
    let mut run = project
        .run()
        .listen()
        .args(["--stop-timeout", "30s"])
        .spawn();
    let mut live = run.live();
    let pause = |client| Duration::from_millis(if client < 2 { 0 } else { 5 });
    let clients = (0..4).map(|client| Client::start(run.address(), client, pause(client)));
    let clients: Vec<_> = clients.collect();
    for number in 1..=RELOADS {
        version(number);
        let old = std::mem::replace(&mut live, run.live());
        let gone = run.wait_until_gone(old);
        assert_eq!(gone.text("outcome"), "drained");
        // The clients reach the new generation within the time that a hidden request takes to arrive again.
        thread::sleep(Duration::from_secs(1));
    }
    let mut sent = Vec::new();
    for client in clients {
        let (paths, last) = client.stop();
        assert_eq!(last, RELOADS.to_string(), "the newest version answers");
        sent.extend(paths);
    }
    run.quit();
    let handled = fs::read_to_string(handled).expect("can read the file");
    let mut handled: Vec<_> = handled.lines().filter(|path| path.contains('-')).collect();
    handled.sort_unstable();
    sent.sort_unstable();
    assert_eq!(handled, sent, "each request is handled once");
}
