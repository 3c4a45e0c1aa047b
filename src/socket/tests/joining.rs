//! Programs that open their own sockets: several sockets, datagrams, and multipath TCP.

use std::collections::HashSet;
use std::net::UdpSocket;

use socket2::{Domain, Protocol, Socket, Type};

use super::adopting::{
    ANY, REST_AND_MORE, address, bound, follow, leave, none, open_own, open_with,
};
use super::*;
use crate::os;

#[tokio::test]
async fn several_sockets_of_one_generation_share_its_connections() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    // The second socket's program answers with 100, which distinguishes the two.
    let socket = bound(first.address, Protocol::TCP);
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    let passed = Passed {
        name: String::new(),
        inode: os::inode(&socket).unwrap(),
        fd: socket.into(),
    };
    let at = Address::Tcp(first.address);
    let second = Program::start(100, passed, &at, Style::NonBlocking);
    let mut counts = [0, 0];
    for _ in 0..200 {
        let who = To::Tcp(first.address).ask().unwrap();
        counts[usize::from(who == 100)] += 1;
    }
    assert!(counts.iter().all(|count| *count > 40), "{counts:?}");
    first.program.ask_to_stop();
    second.ask_to_stop();
}

/// Passes a `--listen` socket to a program that ignores it and opens the same address itself.
#[tokio::test]
async fn a_socket_that_a_program_opens_replaces_the_passed_one() {
    let mut sockets = open(&[ANY]);
    let at = tcp(&sockets, 0);
    let adopter = sockets.adopter().unwrap();
    let early: Vec<_> = (0..5).map(|_| To::Tcp(at).connect().unwrap()).collect();
    let passed = sockets.prepare(id(1)).unwrap();
    let around = adopter.neighbours(at.into());
    assert!(around.ours && around.listed.is_none());
    let elsewhere = SocketAddr::new([0, 0, 0, 0].into(), at.port());
    assert_eq!(adopter.neighbours(elsewhere.into()).listed, Some(at.into()));
    let first = open_own(&adopter, 1, at);
    assert_eq!(adopter.opened(id(1)).inodes, [first.inode]);
    sockets.switch(id(1)).unwrap();
    let answered = answers(early);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [1; 5]);
    for _ in 0..20 {
        assert_eq!(To::Tcp(at).ask().unwrap(), 1);
    }
    drop(passed);
    first.program.ask_to_stop();
}

/// Since Go 1.24, Go servers use multipath TCP by default.
#[tokio::test]
async fn multipath_sockets_are_steered_too() {
    if Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).is_err() {
        report("SKIPPED: this kernel has no multipath TCP");
        return;
    }
    follow(Protocol::MPTCP, 6).await;
}

#[tokio::test]
async fn datagrams_reach_the_live_generation() {
    let (mut sockets, adopter) = none();
    let first = bound(ANY.parse().unwrap(), Protocol::UDP);
    let at = address(&first);
    adopter.join(id(1), first.try_clone().unwrap(), 0).unwrap();
    sockets.switch(id(1)).unwrap();
    let second = bound(at, Protocol::UDP);
    adopter.join(id(2), second.try_clone().unwrap(), 0).unwrap();
    let opened = adopter.opened(id(2));
    assert!(opened.inodes.is_empty() && opened.missing.is_empty());
    assert_eq!(opened.datagrams.len(), 1);
    let (first, second) = (UdpSocket::from(first), UdpSocket::from(second));
    for socket in [&first, &second] {
        socket.set_nonblocking(true).unwrap();
    }
    let get = |socket: &UdpSocket| std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count();
    // Send each datagram from a different port: without steering, the kernel would choose by a hash of the port.
    let send = || {
        for _ in 0..20 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"?", at).unwrap();
        }
    };
    // On a busy machine the kernel may delay delivery, even on loopback, so wait until all datagrams have arrived.
    let mut got = (0, 0);
    send();
    until("the first twenty datagrams arrive", || {
        got = (got.0 + get(&first), got.1 + get(&second));
        got.0 + got.1 == 20
    })
    .await;
    assert_eq!(got, (20, 0));
    sockets.switch(id(2)).unwrap();
    send();
    until("the next twenty datagrams arrive", || {
        got = (got.0 + get(&first), got.1 + get(&second));
        got.0 + got.1 == 40
    })
    .await;
    assert_eq!(got, (20, 20));
    sockets.forward(id(1)).unwrap();
    drop(first);
    sockets.release(id(1)).unwrap();
    until("one listener is left", || sockets.listener_count() == 1).await;
    send();
    until("the last twenty datagrams arrive", || {
        got.1 += get(&second);
        got.1 == 40
    })
    .await;
}

/// A program closes its last socket on an address and opens another one a moment later. In the meantime, no connection
/// may be forwarded from the closed listener back to itself.
#[tokio::test]
async fn a_live_generation_may_close_and_reopen_its_address() {
    let (mut sockets, adopter) = none();
    let first = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&first);
    adopter.join(id(1), first.try_clone().unwrap(), 5).unwrap();
    sockets.switch(id(1)).unwrap();
    let waiting: Vec<_> = (0..3).map(|_| To::Tcp(at).connect().unwrap()).collect();
    drop(first);
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    // Long enough for a forwarder in a loop to make many connections.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let established = os::tcp_connections(at).unwrap().len();
    assert!(established <= 3, "{established} connections");
    let again = open_own(&adopter, 1, at);
    let answered = answers(waiting);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [1; 3]);
    again.program.ask_to_stop();
}

/// The generation starts listening only after it has been asked to stop.
#[tokio::test]
async fn a_draining_generation_that_starts_listening_gets_no_connections() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    sockets.forward(id(2)).unwrap();
    let late = open_own(&adopter, 2, first.address);
    let waiting: Vec<_> = (0..5)
        .map(|_| To::Tcp(first.address).connect().unwrap())
        .collect();
    let third = open_own(&adopter, 3, first.address);
    sockets.switch(id(3)).unwrap();
    let answered = answers(waiting);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [3; 5]);
    for opened in [first, late, third] {
        opened.program.ask_to_stop();
    }
}

/// Combines `--listen` with a program that listens with multipath TCP.
#[tokio::test]
async fn multipath_sockets_join_a_group_that_began_without_any() {
    if Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).is_err() {
        report("SKIPPED: this kernel has no multipath TCP");
        return;
    }
    let mut sockets = open(&[ANY]);
    let at = tcp(&sockets, 0);
    let adopter = sockets.adopter().unwrap();
    let mut passed = Vec::new();
    let mut programs = Vec::new();
    for number in 1..5 {
        passed.extend(sockets.prepare(id(number)).unwrap());
        let own = open_with(&adopter, number, bound(at, Protocol::MPTCP));
        sockets.switch(id(number)).unwrap();
        assert_eq!(To::Tcp(at).ask().unwrap(), number);
        if let Some(old) = programs.last() {
            leave(&mut sockets, number - 1, old).await;
        }
        programs.push(own);
        tokio::time::sleep(REST_AND_MORE).await;
        assert_eq!(
            To::Tcp(at).ask().unwrap(),
            number,
            "closing the old listeners must not affect the live one"
        );
    }
    programs
        .iter()
        .for_each(|opened| opened.program.ask_to_stop());
}
