//! Tests with servers that are processes of their own, whose descriptor 0 is the socket.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// A program whose descriptor 0 is the socket. The program is killed and reaped at the end of the test.
struct Server {
    child: Child,
    socket: OwnedFd,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let socket = OwnedFd::from(listener());
        let stdin = socket.try_clone().expect("can duplicate the socket");
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{program}`: {error}"));
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self {
            child,
            socket,
            output,
        }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("can read the server's output");
        line.trim().to_owned()
    }

    fn wait_until_accepting(&self) {
        wait_until_accepting(self.pid(), &self.socket);
    }

    /// Waits until the process sleeps in this system call, and asserts that it then never counts as waiting on the
    /// socket.
    fn assert_never_accepting(&self, call: libc::c_long) {
        let path = format!("/proc/{}/syscall", self.child.id());
        let sleeps = || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&format!("{call} ")))
        };
        wait_until("the process sleeps in the call", sleeps);
        for _ in 0..50 {
            assert_eq!(inspect(self.pid(), &self.socket), Accepting::No);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a Python server. If Python is missing, skips the test with a message, or fails in CI.
fn python(script: &str) -> Option<Server> {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(
            std::env::var("CI").is_err(),
            "`python3` is missing, but required in CI"
        );
        let _ = writeln!(std::io::stderr(), "SKIPPED: `python3` is missing");
        return None;
    }
    let prologue = "import socket, sys, time, select\ns = socket.socket(fileno=0)\ns.listen()\n";
    Some(Server::start(
        "python3",
        &["-c", &format!("{prologue}{script}")],
    ))
}

#[test]
fn a_python_http_server_counts_as_waiting() {
    let script = "import http.server as h\nserver = h.ThreadingHTTPServer(('127.0.0.1', 0), \
        h.SimpleHTTPRequestHandler, False)\nserver.socket = s\nserver.serve_forever()";
    let Some(server) = python(script) else { return };
    server.wait_until_accepting();
}

#[test]
fn a_python_asyncio_server_counts_as_waiting() {
    let script = "import asyncio\nasync def main():\n  server = await asyncio.start_server(lambda r, w: w.close(), sock=s)\n  \
        await server.serve_forever()\nasyncio.run(main())";
    let Some(server) = python(script) else { return };
    server.wait_until_accepting();
}

#[test]
fn a_python_server_in_a_blocking_accept_counts_as_waiting() {
    let Some(server) = python("while True: s.accept()") else {
        return;
    };
    server.wait_until_accepting();
}

#[test]
fn a_python_server_in_select_counts_as_waiting_unless_the_timeout_is_short() {
    for timeout in ["None", "0.05", "60.05"] {
        let script =
            format!("print('up', flush=True)\nwhile True: select.select([s], [], [], {timeout})");
        let Some(mut server) = python(&script) else {
            return;
        };
        assert_eq!(server.line(), "up");
        if timeout != "0.05" {
            server.wait_until_accepting();
            continue;
        }
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(2));
            assert_ne!(inspect(server.pid(), &server.socket), Accepting::Yes);
        }
    }
}

/// The forked worker waits; its parent, which also holds the socket, does not.
#[test]
fn only_the_worker_of_a_python_fork_server_counts_as_waiting() {
    let script = "import os\npid = os.fork()\nif pid == 0:\n  while True: s.accept()\nprint(pid, flush=True)\n\
        os.waitpid(pid, 0)";
    let Some(mut server) = python(script) else {
        return;
    };
    let worker: i32 = server
        .line()
        .parse()
        .expect("the server prints the worker's pid");
    wait_until_accepting(worker, &server.socket);
    let both = accepting(&[server.pid(), worker], &[inode(&server.socket)]);
    assert_eq!(both, Some(vec![Accepting::Yes]));
    server.assert_never_accepting(libc::SYS_wait4);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("can kill the worker");
}

/// An accept that is pending in an io_uring is not visible.
#[test]
fn an_accept_in_an_io_uring_is_reported_as_unknown() {
    let Some(mut server) = python(include_str!("../uring.py")) else {
        return;
    };
    if server.line() != "pending" {
        let _ = writeln!(std::io::stderr(), "SKIPPED: this system refuses io_uring");
        return;
    }
    assert_eq!(inspect(server.pid(), &server.socket), Accepting::Unknown);
}

#[test]
fn a_python_server_that_sleeps_does_not_count_as_waiting() {
    let Some(server) = python("time.sleep(60)") else {
        return;
    };
    server.assert_never_accepting(libc::SYS_clock_nanosleep);
}

#[test]
fn a_python_server_that_selects_on_another_socket_does_not_count_as_waiting() {
    let Some(server) = python("a, b = socket.socketpair()\nselect.select([a], [s], [], 60)") else {
        return;
    };
    server.assert_never_accepting(libc::SYS_pselect6);
}

#[test]
fn a_shell_that_holds_the_socket_for_its_child_does_not_count_as_waiting() {
    let server = Server::start("sh", &["-c", "sleep 60; true"]);
    server.assert_never_accepting(libc::SYS_wait4);
}

/// Measures one inspection of a server with 200 descriptors, 20 threads and no epoll set, so that all descriptors and
/// threads are read. Takes the minimum of many runs, because other load on the machine only adds to the time.
#[test]
fn one_inspection_takes_less_than_20_ms() {
    let script = "import threading\nkeep = [open('/dev/null') for _ in range(200)]\nstop = threading.Event()\n\
        [threading.Thread(target=stop.wait, daemon=True).start() for _ in range(20)]\nprint('up', flush=True)\nstop.wait()";
    let Some(mut server) = python(script) else {
        return;
    };
    assert_eq!(server.line(), "up");
    let mut least = Duration::MAX;
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(inspect(server.pid(), &server.socket), Accepting::No);
        least = least.min(began.elapsed());
    }
    let _ = writeln!(
        std::io::stderr(),
        "inspecting 200 descriptors and 20 threads takes {least:?}"
    );
    assert!(least < Duration::from_millis(20), "{least:?}");
}
