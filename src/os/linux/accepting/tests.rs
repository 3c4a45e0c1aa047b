//! Against the kernel: threads of this process, and servers in Python that find their socket on descriptor 0.

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

use super::{Waiting, waiting};

const DEADLINE: Duration = Duration::from_secs(20);

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("an ephemeral port on loopback")
}

fn inode(socket: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(socket.as_fd())
        .expect("a descriptor of ours")
        .st_ino
}

fn own() -> i32 {
    std::process::id().cast_signed()
}

fn look(pid: i32, socket: &impl AsFd) -> Waiting {
    waiting(&[pid], &[inode(socket)]).expect("a kernel with `syscall` files")[0]
}

fn comes(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn somebody_comes(pid: i32, socket: &impl AsFd) {
    comes("somebody waits", || look(pid, socket) == Waiting::Somebody);
}

#[test]
fn nobody_waits_on_a_socket_that_is_merely_held() {
    let socket = listener();
    assert_eq!(look(own(), &socket), Waiting::Nobody);
}

#[test]
fn a_thread_in_accept_waits() {
    let socket = listener();
    let address = socket.local_addr().expect("its address");
    let accepting = socket.try_clone().expect("a duplicate");
    let thread = thread::spawn(move || accepting.accept().map(drop));
    somebody_comes(own(), &socket);
    drop(TcpStream::connect(address).expect("a connection"));
    thread.join().expect("the thread").expect("the accept");
    assert_eq!(look(own(), &socket), Waiting::Nobody);
}

#[test]
fn a_thread_in_accept_of_a_unix_socket_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let socket = UnixListener::bind(&path).expect("a socket");
    let accepting = socket.try_clone().expect("a duplicate");
    let thread = thread::spawn(move || accepting.accept().map(drop));
    somebody_comes(own(), &socket);
    drop(std::os::unix::net::UnixStream::connect(&path).expect("a connection"));
    thread.join().expect("the thread").expect("the accept");
}

#[test]
fn a_thread_that_reads_a_datagram_socket_waits() {
    let (socket, other) = UnixDatagram::pair().expect("a pair");
    let reading = socket.try_clone().expect("a duplicate");
    let thread = thread::spawn(move || reading.recv(&mut [0; 8]).map(drop));
    somebody_comes(own(), &socket);
    other.send(b"x").expect("a datagram");
    thread.join().expect("the thread").expect("the read");
}

/// The set is what counts: a thread that polls another descriptor of the same process does not wait.
#[test]
fn a_thread_in_poll_waits_on_what_is_in_its_set() {
    let (socket, other) = (listener(), listener());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let duplicate = socket.try_clone().expect("a duplicate");
    let thread = thread::spawn(move || {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut set = [readable(reader.as_fd()), readable(duplicate.as_fd())];
        poll(&mut set, PollTimeout::NONE).map(drop)
    });
    somebody_comes(own(), &socket);
    assert_eq!(look(own(), &other), Waiting::Nobody);
    drop(writer);
    thread.join().expect("the thread").expect("the poll");
}

#[test]
fn a_thread_in_select_waits_on_what_is_in_its_set() {
    let (socket, other) = (listener(), listener());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let duplicate = socket.try_clone().expect("a duplicate");
    let thread = thread::spawn(move || {
        let mut set = FdSet::new();
        set.insert(reader.as_fd());
        set.insert(duplicate.as_fd());
        select(None, &mut set, None, None, None).map(drop)
    });
    somebody_comes(own(), &socket);
    assert_eq!(look(own(), &other), Waiting::Nobody);
    drop(writer);
    thread.join().expect("the thread").expect("the select");
}

#[test]
fn an_epoll_set_waits_on_what_is_registered_for_reading() {
    let socket = listener();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll set");
    epoll
        .add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, 0))
        .expect("added");
    assert_eq!(look(own(), &socket), Waiting::Nobody);
    epoll
        .modify(&socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("modified");
    assert_eq!(look(own(), &socket), Waiting::Somebody);
    epoll.delete(&socket).expect("deleted");
    assert_eq!(look(own(), &socket), Waiting::Nobody);
}

/// The entry stays with the open file when its descriptor is closed, and the number may be used again.
#[test]
fn an_epoll_entry_is_known_by_its_file_and_not_by_its_number() {
    let socket = listener();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll set");
    let registered = socket.try_clone().expect("a duplicate");
    epoll
        .add(&registered, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("added");
    drop(registered);
    assert_eq!(look(own(), &socket), Waiting::Somebody);
}

#[test]
fn each_socket_has_its_own_answer() {
    let (first, second) = (listener(), listener());
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll set");
    epoll
        .add(&second, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("added");
    let seen = waiting(&[own()], &[inode(&first), inode(&second)]).expect("an answer");
    assert_eq!(seen, [Waiting::Nobody, Waiting::Somebody]);
}

#[test]
fn a_process_that_is_gone_is_passed_over() {
    let socket = listener();
    let mut child = Command::new("true").spawn().expect("`true`");
    child.wait().expect("its end");
    assert_eq!(look(child.id().cast_signed(), &socket), Waiting::Nobody);
}

/// A program with the socket as its descriptor 0; killed and reaped with the test.
struct Server {
    child: Child,
    socket: OwnedFd,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let socket = OwnedFd::from(listener());
        let stdin = socket.try_clone().expect("a duplicate");
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{program}`: {error}"));
        let output = BufReader::new(child.stdout.take().expect("its output"));
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
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    fn waits(&self) {
        somebody_comes(self.pid(), &self.socket);
    }

    /// Nobody waits, however often one looks, once the process sleeps in the call with this number.
    fn never_waits(&self, call: libc::c_long) {
        let path = format!("/proc/{}/syscall", self.child.id());
        let sleeps = || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&format!("{call} ")))
        };
        comes("it sleeps where it should", sleeps);
        for _ in 0..50 {
            assert_eq!(look(self.pid(), &self.socket), Waiting::Nobody);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python is a fixture that a machine may lack: loudly skipped there, and an error in CI.
fn python(script: &str) -> Option<Server> {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(
            std::env::var("CI").is_err(),
            "`python3` is missing, and CI must have it"
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
fn python_http_server_waits() {
    let script = "import http.server as h\nserver = h.ThreadingHTTPServer(('127.0.0.1', 0), \
        h.SimpleHTTPRequestHandler, False)\nserver.socket = s\nserver.serve_forever()";
    let Some(server) = python(script) else { return };
    server.waits();
}

#[test]
fn python_asyncio_waits() {
    let script = "import asyncio\nasync def main():\n  server = await asyncio.start_server(lambda r, w: w.close(), sock=s)\n  \
        await server.serve_forever()\nasyncio.run(main())";
    let Some(server) = python(script) else { return };
    server.waits();
}

#[test]
fn python_blocking_accept_waits() {
    let Some(server) = python("while True: s.accept()") else {
        return;
    };
    server.waits();
}

#[test]
fn python_select_waits() {
    let Some(server) = python("select.select([s], [], [])") else {
        return;
    };
    server.waits();
}

/// A worker that its parent forked waits, the parent (which holds the socket too) does not.
#[test]
fn python_fork_server_waits_in_its_worker() {
    let script = "import os\npid = os.fork()\nif pid == 0:\n  while True: s.accept()\nprint(pid, flush=True)\n\
        os.waitpid(pid, 0)";
    let Some(mut server) = python(script) else {
        return;
    };
    let worker: i32 = server.line().parse().expect("the worker's pid");
    somebody_comes(worker, &server.socket);
    let both = waiting(&[server.pid(), worker], &[inode(&server.socket)]);
    assert_eq!(both, Some(vec![Waiting::Somebody]));
    server.never_waits(libc::SYS_wait4);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("a kill");
}

/// An accept that is pending in an io_uring sleeps in no call and is in no epoll set.
#[test]
fn python_io_uring_waits() {
    let Some(mut server) = python(include_str!("uring.py")) else {
        return;
    };
    if server.line() != "pending" {
        let _ = writeln!(std::io::stderr(), "SKIPPED: this system refuses io_uring");
        return;
    }
    server.waits();
}

#[test]
fn python_that_sleeps_beside_its_socket_does_not_wait() {
    let Some(server) = python("time.sleep(60)") else {
        return;
    };
    server.never_waits(libc::SYS_clock_nanosleep);
}

#[test]
fn python_that_selects_on_something_else_does_not_wait() {
    let Some(server) = python("a, b = socket.socketpair()\nselect.select([a], [s], [], 60)") else {
        return;
    };
    server.never_waits(libc::SYS_pselect6);
}

#[test]
fn a_shell_that_holds_the_socket_for_its_child_does_not_wait() {
    let server = Server::start("sh", &["-c", "sleep 60; true"]);
    server.never_waits(libc::SYS_wait4);
}

/// What one look costs for a server with 200 descriptors and 20 threads: no epoll set, so all are read. The
/// least of many, since other work on the machine only adds to it.
#[test]
fn cost() {
    let script = "import threading\nkeep = [open('/dev/null') for _ in range(200)]\nstop = threading.Event()\n\
        [threading.Thread(target=stop.wait, daemon=True).start() for _ in range(20)]\nprint('up', flush=True)\nstop.wait()";
    let Some(mut server) = python(script) else {
        return;
    };
    assert_eq!(server.line(), "up");
    let mut least = Duration::MAX;
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(look(server.pid(), &server.socket), Waiting::Nobody);
        least = least.min(began.elapsed());
    }
    let _ = writeln!(
        std::io::stderr(),
        "one look at 200 descriptors and 20 threads: {least:?}"
    );
    assert!(least < Duration::from_millis(20), "{least:?}");
}
