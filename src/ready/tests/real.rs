//! Tests the rules that check sockets with a Python server that inherits its socket.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use super::{ReadyReason, inputs, listener, result, start};

/// A server process, killed and reaped when the test ends.
struct PythonServer(Child);

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the server. Without Python, the test fails in CI; elsewhere it is skipped with a message.
fn python(socket: &TcpListener) -> Option<PythonServer> {
    let script = "import http.server as h, socket, time\nserver = h.ThreadingHTTPServer(('127.0.0.1', 0), \
        h.SimpleHTTPRequestHandler, False)\nserver.socket = socket.socket(fileno=0)\nserver.server_name = ''\n\
        server.server_port = 0\nserver.serve_forever()";
    let stdin = OwnedFd::from(socket.try_clone().expect("can duplicate the socket"));
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(PythonServer(child)),
        Err(error) => {
            assert!(
                std::env::var("CI").is_err(),
                "`python3` is missing, but required in CI"
            );
            let _ = writeln!(std::io::stderr(), "SKIPPED: cannot run `python3`: {error}");
            None
        }
    }
}

#[tokio::test]
async fn auto_listen_http_and_tcp_detect_a_real_server() {
    for (text, how) in [
        ("auto", ReadyReason::Accepting),
        ("listen", ReadyReason::Accepting),
        ("http:/", ReadyReason::Responded(200)),
        ("tcp", ReadyReason::Connected),
    ] {
        let socket = listener();
        let Some(server) = python(&socket) else {
            return;
        };
        let (inputs, _program) = inputs(server.0.id(), Some(&socket));
        assert_eq!(result(start(text, inputs)).await, how, "{text}");
    }
}
