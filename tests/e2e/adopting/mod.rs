//! Programs that know nothing about hotrun and open their own sockets, in ways that are hard to handle.

mod addresses;
mod closing;
mod crashes;
mod datagrams;
mod hints;
mod isolation;
mod many;
mod missing;
mod own_address;
mod own_paths;
mod parent_signals;
mod process_trees;
mod refusals;
mod results;
mod single_instance;
mod two_instances;
mod workers;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::harness::sockets::free_port;
use crate::harness::{PYTHON, Project, Run, Running, TIMEOUT, http, skip, until};

/// Returns whether a program is installed; if not, reports the test as skipped.
pub(crate) fn installed_or_skip(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let found = quiet.status().is_ok_and(|status| status.success());
    if !found {
        skip(&format!("`{program}` is not installed"));
    }
    found
}

/// The code at the beginning of every Python program. `generation` is 0 without hotrun.
const PRELUDE: &str = "import os, signal, socket, sys, threading, time
generation = int(os.environ.get('HOTRUN_GENERATION', 0))
port = int(os.environ['PORT'])

def open_socket(host='127.0.0.1', port=port, backlog=5, options=(), kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
    for level, name, value in options:
        s.setsockopt(level, name, value)
    s.bind((host, port))
    if kind == socket.SOCK_STREAM:
        s.listen(backlog)
    return s

def answer(c, text):
    with c:
        request = c.recv(4096).decode()
        path = request.split(' ')[1] if ' ' in request else ''
        text = text(path) if callable(text) else text
        c.sendall(f'HTTP/1.1 200 OK\\r\\ncontent-length: {len(text)}\\r\\nconnection: close\\r\\n\\r\\n{text}'.encode())

def serve(s, text=f'generation {generation}'):
    while True:
        try:
            c, _ = s.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(c, text), daemon=True).start()

def serve_all(*sockets):
    for s in sockets[1:]:
        threading.Thread(target=serve, args=(s,), daemon=True).start()
    serve(sockets[0])
";

/// A program in a project, and its port.
pub(crate) struct App {
    pub(crate) project: Project,
    port: u16,
}

impl App {
    fn new() -> Self {
        Self {
            project: Project::new(),
            port: free_port(),
        }
    }

    pub(crate) fn python(text: &str) -> Self {
        let app = Self::new();
        app.save(text);
        app
    }

    /// Saves a Python program that consists of the [`PRELUDE`] and this text.
    pub(crate) fn save(&self, text: &str) {
        self.project.save("app.py", &format!("{PRELUDE}\n{text}\n"));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Runs hotrun with the Python program.
    pub(crate) fn run(&self) -> Run {
        self.run_as([PYTHON, "app.py"])
    }

    pub(crate) fn run_as<const N: usize>(&self, argv: [&str; N]) -> Run {
        self.complete(Run::new(&self.project), argv)
    }

    fn complete<const N: usize>(&self, run: Run, argv: [&str; N]) -> Run {
        run.opens(self.address())
            .env("PORT", self.port.to_string())
            .env("OUT", self.project.tmp())
            .program(argv)
    }

    /// Runs the program without hotrun until it exits, and returns its output.
    fn output_without_hotrun(&self) -> String {
        let output = Command::new(PYTHON)
            .arg("app.py")
            .current_dir(self.project.work())
            .env("PORT", self.port.to_string())
            .stdin(Stdio::null())
            .output();
        let output = output.expect("can start Python");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Waits until the first generation responds. It may go live before it listens, because hotrun cannot know that the
/// program will open a socket.
#[track_caller]
pub(crate) fn wait_until_serving(run: &mut Running) {
    assert_eq!(run.live(), 1);
    until("the first generation responds", TIMEOUT, || {
        http::get(run.address(), "/").ok()
    });
}
