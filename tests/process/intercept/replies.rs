//! Tests the intercepted calls, and the effect of each reply.

use std::net::TcpStream;

use hotrun::os::seccomp::{self, Next, Reply, Syscall};
use socket2::SockRef;

use super::*;
use crate::support::*;

const LISTENS: &str = "import socket, sys
s = socket.socket()
try:
    s.bind(('127.0.0.1', PORT))
    s.listen(7)
except OSError as e:
    print('errno', e.errno)
    sys.exit()
print(s.fileno(), s.getsockname()[1])
c, _ = s.accept()
print('accepted')
";

fn listens(mark: &Mark, port: u16) -> Spec {
    python_spec(mark, &LISTENS.replace("PORT", &port.to_string()))
}

#[tokio::test]
async fn after_continue_the_kernel_performs_the_call() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let (mut running, calls) = start(listens(&mark, 0)).await;
    let (calls, call) = next_call(calls).await;
    assert_eq!(address_of(&call), bytes_of(loopback(0)));
    let Syscall::Bind { fd, .. } = call.syscall else {
        panic!("{call:?}");
    };
    assert!(calls.is_pending(&call));
    calls.reply(call.id, Reply::Continue).unwrap();
    assert!(!calls.is_pending(&call));
    let (calls, call) = next_call(calls).await;
    assert_eq!(call.syscall, Syscall::Listen { fd, backlog: 7 });
    calls.reply(call.id, Reply::Continue).unwrap();
    let line = running.line().await;
    let (number, port) = line.split_once(' ').unwrap();
    assert_eq!(number, fd.to_string());
    TcpStream::connect(loopback(port.parse().unwrap())).unwrap();
    assert_eq!(running.line().await, "accepted");
    assert_eq!(next(calls).await.1, Next::Ended);
}

#[tokio::test]
async fn a_socket_that_is_bound_on_the_programs_behalf_works() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let (mut running, calls) = start(listens(&mark, 1)).await;
    let bind_elsewhere = |calls: &InterceptedCalls, call: &Call| {
        match call.syscall {
            Syscall::Bind { fd, .. } => {
                let ours = seccomp::descriptor_of(call.thread, fd).unwrap();
                assert!(calls.is_pending(call));
                SockRef::from(&ours).bind(&loopback(0).into()).unwrap();
            }
            Syscall::Listen { fd, .. } => {
                let ours = seccomp::descriptor_of(call.thread, fd).unwrap();
                SockRef::from(&ours).listen(1024).unwrap();
            }
            Syscall::Connect { .. } | Syscall::Write(_) => panic!("unexpected: {call:?}"),
        }
        Reply::Success
    };
    let replier = Replier::start(calls, bind_elsewhere);
    let line = running.line().await;
    let port: u16 = line.split_once(' ').unwrap().1.parse().unwrap();
    assert_ne!(port, 1, "the program's own address is not bound");
    TcpStream::connect(loopback(port)).unwrap();
    assert_eq!(running.line().await, "accepted");
    assert_eq!(replier.ended().await.len(), 2);
}

#[tokio::test]
async fn an_errno_reaches_the_program() {
    if !python_or_skip() {
        return;
    }
    for errno in [libc::EADDRINUSE, libc::EACCES] {
        let mark = Mark::new();
        let (mut running, calls) = start(listens(&mark, 0)).await;
        let replier = Replier::start(calls, move |_, _| Reply::Errno(errno));
        assert_eq!(running.line().await, format!("errno {errno}"));
        assert_eq!(replier.ended().await.len(), 1);
    }
}

#[tokio::test]
async fn a_killed_caller_needs_no_reply() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let (mut running, calls) = start(listens(&mark, 0)).await;
    let (calls, call) = next_call(calls).await;
    running.control.kill();
    running.end().await;
    assert!(!calls.is_pending(&call));
    for answer in [Reply::Continue, Reply::Success, Reply::Errno(1)] {
        calls.reply(call.id, answer).unwrap();
    }
    assert_eq!(next(calls).await.1, Next::Ended);
}

#[tokio::test]
async fn waiting_for_calls_can_be_stopped() {
    let mark = Mark::new();
    let (_running, calls) = start(spec(&mark, &["sleep", "1000"])).await;
    let (stopped, stop) = std::io::pipe().unwrap();
    let waiting = tokio::task::spawn_blocking(move || calls.next(&[&stopped], None).unwrap());
    drop(stop);
    let next = within_deadline("stopping the wait", waiting).await.unwrap();
    assert_eq!(next, Next::Stopped);
}

const BAD: &str = "import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket()
good = ctypes.create_string_buffer(128)
for address, length in [(1, 16), (-1, 16), (0, 0), (good, 0x7fffffff), (good, -1), (good, 3)]:
    if isinstance(address, int):
        address = ctypes.c_void_p(address)
    libc.bind(s.fileno(), address, ctypes.c_uint(length & 0xffffffff))
    print(ctypes.get_errno())
libc.bind(77, good, 16)
print(ctypes.get_errno())
libc.listen(-1, -1)
print(ctypes.get_errno())
";

#[tokio::test]
async fn invalid_arguments_fail_as_they_do_without_interception() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let bare = {
        let mut running = Running::start(python_spec(&mark, BAD));
        running.started().await;
        running.rest().await
    };
    let (mut running, calls) = start(python_spec(&mark, BAD)).await;
    let replier = Replier::start(calls, |_, call| {
        if let Syscall::Bind {
            address, length, ..
        } = call.syscall
        {
            let read = seccomp::read_memory(call.thread, address, length.min(128) as usize);
            let fault = address <= 1 && length > 0 || address == u64::MAX;
            let errno = read.err().and_then(|error| error.raw_os_error());
            assert_eq!(errno, fault.then_some(libc::EFAULT), "{call:?}");
        }
        Reply::Continue
    });
    assert_eq!(running.rest().await, bare);
    assert_eq!(bare.len(), 8, "{bare:?}");
    assert_eq!(replier.ended().await.len(), 8);
}

const CONNECTS: &str = "import socket
for family, host in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]:
    for timeout in [None, 5]:
        s = socket.socket(family)
        s.settimeout(timeout)
        print(s.connect_ex((host, 9)))
print(socket.socket(socket.AF_UNIX).connect_ex('/nowhere'))
";

/// The call itself returns the error, even if the socket is nonblocking.
#[tokio::test]
async fn only_connections_to_ip_addresses_are_intercepted() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let (mut running, calls) = start(python_spec(&mark, CONNECTS)).await;
    let replier = Replier::start(calls, |_, _| Reply::Errno(libc::ECONNREFUSED));
    let refused = libc::ECONNREFUSED.to_string();
    let mut expected = vec![refused; 4];
    expected.push(libc::ENOENT.to_string());
    assert_eq!(running.rest().await, expected);
    let seen = replier.ended().await;
    let length = |call: &Call| match call.syscall {
        Syscall::Connect { length, .. } => length,
        Syscall::Bind { .. } | Syscall::Listen { .. } | Syscall::Write(_) => 0,
    };
    let lengths: Vec<u32> = seen.iter().map(length).collect();
    assert_eq!(lengths, [16, 16, 28, 28]);
}
