//! Tests against the kernel, with threads of this process and with Python servers whose descriptor 0 is the socket.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::select::{FdSet, select};

use super::{Accepting, accepting};

const DEADLINE: Duration = Duration::from_secs(20);

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("can bind an ephemeral port on loopback")
}

fn inode(socket: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(socket.as_fd())
        .expect("can stat an open descriptor")
        .st_ino
}

fn own() -> i32 {
    std::process::id().cast_signed()
}

fn inspect(pid: i32, socket: &impl AsFd) -> Accepting {
    accepting(&[pid], &[inode(socket)]).expect("the kernel provides `/proc/PID/syscall`")[0]
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(
            Instant::now() < end,
            "timed out after {DEADLINE:?} waiting until {what}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

fn wait_until_accepting(pid: i32, socket: &impl AsFd) {
    wait_until("the process waits on the socket", || {
        inspect(pid, socket) == Accepting::Yes
    });
}

#[test]
fn holding_a_socket_does_not_count_as_waiting() {
    let socket = listener();
    assert_eq!(inspect(own(), &socket), Accepting::No);
}

#[test]
fn a_thread_in_accept_counts_as_waiting() {
    let socket = listener();
    let address = socket.local_addr().expect("the listener has an address");
    let accepting = socket.try_clone().expect("can duplicate the socket");
    let thread = thread::spawn(move || accepting.accept().map(drop));
    wait_until_accepting(own(), &socket);
    drop(TcpStream::connect(address).expect("can connect"));
    thread
        .join()
        .expect("the thread does not panic")
        .expect("can accept");
    assert_eq!(inspect(own(), &socket), Accepting::No);
}

#[test]
fn a_thread_in_accept_on_a_unix_socket_counts_as_waiting() {
    let folder = tempfile::tempdir().expect("can create a temporary directory");
    let path = folder.path().join("socket");
    let socket = UnixListener::bind(&path).expect("can bind the socket");
    let accepting = socket.try_clone().expect("can duplicate the socket");
    let thread = thread::spawn(move || accepting.accept().map(drop));
    wait_until_accepting(own(), &socket);
    drop(std::os::unix::net::UnixStream::connect(&path).expect("can connect"));
    thread
        .join()
        .expect("the thread does not panic")
        .expect("can accept");
}

#[test]
fn a_thread_that_reads_a_datagram_socket_counts_as_waiting() {
    let (socket, other) = UnixDatagram::pair().expect("can create a socket pair");
    let reading = socket.try_clone().expect("can duplicate the socket");
    let thread = thread::spawn(move || reading.recv(&mut [0; 8]).map(drop));
    wait_until_accepting(own(), &socket);
    other.send(b"x").expect("can send a datagram");
    thread
        .join()
        .expect("the thread does not panic")
        .expect("can receive");
}

/// Only the descriptors in the set count, not the process's other descriptors.
#[test]
fn a_thread_in_poll_waits_on_the_sockets_in_its_set() {
    let (socket, other) = (listener(), listener());
    let (reader, writer) = std::io::pipe().expect("can create a pipe");
    let duplicate = socket.try_clone().expect("can duplicate the socket");
    let thread = thread::spawn(move || {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut set = [readable(reader.as_fd()), readable(duplicate.as_fd())];
        poll(&mut set, PollTimeout::NONE).map(drop)
    });
    wait_until_accepting(own(), &socket);
    assert_eq!(inspect(own(), &other), Accepting::No);
    drop(writer);
    thread
        .join()
        .expect("the thread does not panic")
        .expect("can poll");
}

#[test]
fn a_thread_in_select_waits_on_the_sockets_in_its_set() {
    let (socket, other) = (listener(), listener());
    let (reader, writer) = std::io::pipe().expect("can create a pipe");
    let duplicate = socket.try_clone().expect("can duplicate the socket");
    let thread = thread::spawn(move || {
        let mut set = FdSet::new();
        set.insert(reader.as_fd());
        set.insert(duplicate.as_fd());
        select(None, &mut set, None, None, None).map(drop)
    });
    wait_until_accepting(own(), &socket);
    assert_eq!(inspect(own(), &other), Accepting::No);
    drop(writer);
    thread
        .join()
        .expect("the thread does not panic")
        .expect("can select");
}

#[test]
fn a_thread_that_polls_with_a_short_timeout_does_not_count_as_accepting() {
    let socket = listener();
    let duplicate = socket.try_clone().expect("can duplicate the socket");
    let (reader, writer) = std::io::pipe().expect("can create a pipe");
    let thread = thread::spawn(move || {
        let mut ended = false;
        while !ended {
            let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut set = [readable(reader.as_fd()), readable(duplicate.as_fd())];
            ended = poll(&mut set, PollTimeout::from(50_u8)).expect("can poll") > 0;
        }
    });
    while inspect(own(), &socket) == Accepting::No {}
    assert_ne!(inspect(own(), &socket), Accepting::Yes);
    drop(writer);
    thread.join().expect("the thread does not panic");
}

#[test]
fn a_socket_in_an_epoll_set_is_waited_on_only_if_registered_for_reading() {
    let socket = listener();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("can create an epoll set");
    epoll
        .add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, 0))
        .expect("can add the socket");
    assert_eq!(inspect(own(), &socket), Accepting::No);
    epoll
        .modify(&socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("can modify the entry");
    assert_eq!(inspect(own(), &socket), Accepting::Yes);
    epoll.delete(&socket).expect("can delete the entry");
    assert_eq!(inspect(own(), &socket), Accepting::No);
}

/// An entry remains as long as the open file has another descriptor, even if the registered descriptor was closed.
#[test]
fn an_epoll_entry_is_identified_by_its_file() {
    let socket = listener();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("can create an epoll set");
    let registered = socket.try_clone().expect("can duplicate the socket");
    epoll
        .add(&registered, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("can add the socket");
    drop(registered);
    assert_eq!(inspect(own(), &socket), Accepting::Yes);
}

#[test]
fn sockets_are_reported_separately() {
    let (first, second) = (listener(), listener());
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("can create an epoll set");
    epoll
        .add(&second, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("can add the socket");
    let seen = accepting(&[own()], &[inode(&first), inode(&second)])
        .expect("the kernel provides `/proc/PID/syscall`");
    assert_eq!(seen, [Accepting::No, Accepting::Yes]);
}

#[test]
fn a_process_that_has_ended_is_skipped() {
    let socket = listener();
    let mut child = Command::new("true").spawn().expect("can start `true`");
    child.wait().expect("can wait for `true`");
    assert_eq!(inspect(child.id().cast_signed(), &socket), Accepting::No);
}

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
fn a_python_server_in_select_counts_as_waiting() {
    let Some(server) = python("select.select([s], [], [])") else {
        return;
    };
    server.wait_until_accepting();
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
    let Some(mut server) = python(include_str!("uring.py")) else {
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
