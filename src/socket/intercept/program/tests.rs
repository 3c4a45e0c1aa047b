//! What the processes of a program hold.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::socket::{Sharing, Sockets};

/// A socket that shares its address, as those of several workers do.
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

fn end_is_reported(program: &Program) -> bool {
    let ends = program.ends.as_ref().unwrap();
    let mut fds = [PollFd::new(ends.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

/// Otherwise the thread would look again and again.
#[tokio::test]
async fn the_end_of_a_worker_is_reported_until_the_next_look() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = os::inode(&socket).unwrap();
    let mut command = Command::new("sleep");
    command.arg("60").stdin(Stdio::from(OwnedFd::from(socket)));
    let mut worker = command.spawn().unwrap();
    // The command holds a duplicate.
    drop(command);
    let pid = i32::try_from(worker.id()).unwrap();
    let sockets = Sockets::open(&[], Sharing::Steered).unwrap();
    let mut program = Program {
        id: GenId::new(1),
        adopter: sockets.adopter().unwrap(),
        pids: Box::new(move || vec![pid]),
        sockets: ProgramSockets(vec![worker_socket(inode), worker_socket(0)]),
        ends: None,
    };
    assert!(program.held().unwrap().contains(&inode));
    assert!(!end_is_reported(&program));
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(end_is_reported(&program));
    assert!(program.held().unwrap().is_empty());
    assert!(!end_is_reported(&program));
}
