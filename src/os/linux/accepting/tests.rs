//! Tests against the kernel, with threads of this process and with servers.

mod servers;

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
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
    // `select` takes no descriptor above 1023, and another test may have opened many.
    while listener().as_fd().as_raw_fd() > 1000 {
        thread::sleep(Duration::from_millis(50));
    }
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
