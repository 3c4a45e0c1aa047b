//! Tests finding the sockets that a program's processes hold, and parsing addresses.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Type};

use super::*;
use crate::intercept::decision::ProgramSocket;
use crate::socket::{Sharing, Sockets};

/// A socket that shares its address, as the sockets of several workers do.
fn worker_socket(inode: u64) -> ProgramSocket {
    ProgramSocket {
        cookie: inode,
        inode,
        binding: Binding {
            endpoint: "127.0.0.1:80".parse::<SocketAddr>().unwrap().into(),
            reuse_address: true,
            reuse_port: true,
        },
        listens: true,
        thread: 1,
    }
}

fn program(pid: i32, sockets: Vec<ProgramSocket>) -> InterceptedProgram {
    let steered = Sockets::open(&[], Sharing::Steered).unwrap();
    InterceptedProgram {
        id: GenId(1),
        adopter: steered.adopter().unwrap(),
        pids: Box::new(move || vec![pid]),
        sockets: ProgramSockets(sockets),
        binding: Vec::new(),
        holders: Vec::new(),
        notify: Box::new(drop),
        wrote: Box::new(drop),
        hidden: false,
        failed: false,
        in_use: None,
        started: false,
        pause: Duration::ZERO,
        search_at: Instant::now(),
    }
}

fn exit_is_reported(program: &InterceptedProgram) -> bool {
    let holders = program.holders.iter();
    let mut fds: Vec<_> = holders
        .map(|holder| PollFd::new(holder.as_fd(), PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

/// If the exit were still reported after the search, the thread would search in an endless loop.
#[tokio::test]
async fn a_workers_exit_is_reported_until_the_next_search() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = os::inode(&socket).unwrap();
    let mut command = Command::new("sleep");
    command.arg("60").stdin(Stdio::from(OwnedFd::from(socket)));
    let mut worker = command.spawn().unwrap();
    // The `Command` holds a duplicate of the socket.
    drop(command);
    let pid = i32::try_from(worker.id()).unwrap();
    let mut program = program(pid, vec![worker_socket(inode), worker_socket(0)]);
    assert!(program.held().unwrap().contains(&inode));
    assert!(!exit_is_reported(&program));
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(exit_is_reported(&program));
    assert!(program.held().unwrap().is_empty());
    assert!(!exit_is_reported(&program));
}

#[tokio::test]
async fn a_socket_counts_as_bound_only_if_the_kernel_has_bound_it() {
    // No other test uses this address, so the port stays free.
    let free = TcpListener::bind("127.0.77.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let own = nix::unistd::gettid().as_raw();
    let mut program = program(own, Vec::new());
    let prepare = |program: &mut InterceptedProgram| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let one = BindingSocket {
            socket: socket.try_clone().unwrap(),
            binding: Binding::of(&socket, address).unwrap().unwrap(),
            thread: own,
        };
        assert_eq!(program.prepare_stream(one, false), Reply::Continue);
        assert!(!socket.reuse_port().unwrap(), "the bind is exclusive");
        socket
    };

    let refused = prepare(&mut program);
    program.settle(None);
    assert_eq!(program.binding.len(), 1, "the bind may still be under way");
    program.settle(Some(own + 1));
    assert_eq!(
        program.binding.len(),
        1,
        "another thread's call does not settle the bind"
    );
    program.settle(Some(own));
    assert!(program.binding.is_empty() && program.sockets.0.is_empty());
    assert!(
        refused.reuse_port().unwrap(),
        "the program's own option is restored"
    );

    let elsewhere = prepare(&mut program);
    let other: SocketAddr = "127.0.77.1:0".parse().unwrap();
    elsewhere.bind(&other.into()).unwrap();
    program.settle(None);
    assert!(program.binding.is_empty() && program.sockets.0.is_empty());

    let bound = prepare(&mut program);
    bound.bind(&address.into()).unwrap();
    program.await_bind(own);
    assert!(program.binding.is_empty() && bound.reuse_port().unwrap());
    let known = program.sockets.binding(os::cookie(&bound).unwrap());
    assert_eq!(known.map(|known| known.endpoint.address), Some(address));
}

fn bytes(address: SocketAddr) -> Vec<u8> {
    let address = socket2::SockAddr::from(address);
    let mut bytes = Vec::new();
    bytes.extend((address.family()).to_ne_bytes());
    let full = address.as_socket().unwrap();
    bytes.extend(full.port().to_be_bytes());
    match full {
        SocketAddr::V4(v4) => {
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

#[test]
fn ip_addresses_are_parsed_in_every_length_that_the_kernel_accepts() {
    for text in ["127.0.0.1:80", "0.0.0.0:65535", "[::1]:1", "[fe80::1%3]:9"] {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(parse_address(&bytes(address)), Some(address));
        let longer = [bytes(address), vec![7; 20]].concat();
        assert_eq!(parse_address(&longer), Some(address));
    }
    let oldest_form = &bytes("[::1]:1".parse().unwrap())[..24];
    assert_eq!(parse_address(oldest_form), Some("[::1]:1".parse().unwrap()));
}

#[test]
fn short_and_non_ip_addresses_are_left_to_the_kernel() {
    for text in ["127.0.0.1:80", "[::1]:1"] {
        let whole = bytes(text.parse().unwrap());
        let least = if whole.len() == 16 { 16 } else { 24 };
        for length in 0..least {
            assert_eq!(
                parse_address(&whole[..length]),
                None,
                "{text}, {length} bytes"
            );
        }
    }
    assert_eq!(
        parse_address(&[1, 0, b'/', b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        None
    );
}

#[test]
fn fuzz_addresses() {
    let four = [&[2, 0, 0x1f, 0x90, 127, 0, 0, 1][..], &[0; 8]].concat();
    let six = [&[10, 0, 0x1f, 0x90][..], &[0; 24]].concat();
    crate::fuzz::fuzz(
        "addresses",
        &[&four, &six],
        &["\x02\0", "\x0a\0"],
        |input| {
            let known = parse_address(input);
            assert!(known.is_none() || input.len() >= 16);
        },
    );
}
