//! Sockets that a program opened by itself: it binds its own, as `adopt` would do it for it, and keeps it.
//!
//! Long because the helpers that play a program are shared by all that adopted sockets go through.

use std::collections::HashSet;
use std::net::UdpSocket;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::os;

/// A program's own socket on this address, bound as the first or as a later one of its group.
pub(super) fn bound(address: SocketAddr, protocol: Protocol) -> Socket {
    let kind = match protocol {
        Protocol::UDP => Type::DGRAM,
        _ => Type::STREAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol)).unwrap();
    // The kernel has no group for datagrams unless the first shares from the beginning.
    let shared = address.port() != 0 || protocol == Protocol::UDP;
    socket.set_reuse_port(shared).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket
}

pub(super) fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// What is released is closed by then.
const REST_AND_MORE: Duration = Duration::from_millis(150);

pub(super) const ANY: &str = "127.0.0.1:0";

#[tokio::test]
async fn the_sockets_that_are_shut_down_with_their_generation_are_known() {
    let mut sockets = open(&[ANY]);
    let passed = sockets.prepare(id(1)).unwrap().remove(0).fd;
    assert!(sockets.has(&passed));
    let own = bound(ANY.parse().unwrap(), Protocol::TCP);
    let own = std::os::fd::OwnedFd::from(own);
    assert!(!sockets.has(&own));
    let duplicate = Socket::from(own.try_clone().unwrap());
    let adopter = sockets.adopter().unwrap();
    adopter.listen(id(1), duplicate, 5).unwrap();
    assert!(sockets.has(&own));
    let connection = TcpStream::connect(tcp(&sockets, 0)).unwrap();
    assert!(!sockets.has(&connection.into()), "a client");
}

/// A generation whose program opens its own socket.
pub(super) struct Opened {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    inode: u64,
    pub(super) first: bool,
}

pub(super) fn open_own(adopter: &Adopter, number: u32, at: SocketAddr) -> Opened {
    open_with(adopter, number, bound(at, Protocol::TCP))
}

fn open_with(adopter: &Adopter, number: u32, socket: Socket) -> Opened {
    let address = address(&socket);
    let duplicate = socket.try_clone().unwrap();
    let joined = adopter.listen(id(number), duplicate, 5).unwrap();
    assert_eq!(joined.address, address);
    let inode = os::inode(&socket).unwrap();
    let passed = Passed {
        name: String::new(),
        fd: socket.into(),
        inode,
    };
    Opened {
        program: Program::start(number, passed, &Address::Tcp(address), Style::NonBlocking),
        address,
        inode,
        first: joined.first,
    }
}

pub(super) fn none() -> (Sockets, Adopter) {
    let sockets = open(&[]);
    let adopter = sockets.adopter().unwrap();
    (sockets, adopter)
}

/// What the driver does when a generation is asked to end, and has ended.
pub(super) async fn leave(sockets: &mut Sockets, number: u32, opened: &Opened) {
    sockets.drain(id(number)).unwrap();
    opened.program.ask_to_stop();
    until("the end of the program", || opened.program.is_gone()).await;
    sockets.release(id(number)).unwrap();
}

/// Until the generation has taken what is its own.
pub(super) async fn settle(sockets: &Sockets, number: u32) {
    let own = i32::try_from(std::process::id()).unwrap();
    let monitor = sockets.drain_monitor(id(number));
    monitor.quiescent(move || vec![own]).await;
}

/// Generations that follow each other under load, each on a socket of its own.
async fn follow(protocol: Protocol, generations: u32) {
    let (mut sockets, adopter) = none();
    let mut old = open_with(&adopter, 1, bound(ANY.parse().unwrap(), protocol));
    assert!(old.first);
    let to = To::Tcp(old.address);
    assert_eq!(to.ask().unwrap(), 1, "before it is live");
    sockets.switch(id(1)).unwrap();
    let load = Load::start(&to, 4);
    for number in 2..=generations {
        let new = open_with(&adopter, number, bound(old.address, protocol));
        assert!(!new.first);
        load.more(20).await;
        assert_eq!(to.ask().unwrap(), number - 1, "before the switch");
        sockets.switch(id(number)).unwrap();
        assert_eq!(to.ask().unwrap(), number, "after the switch");
        settle(&sockets, number - 1).await;
        leave(&mut sockets, number - 1, &old).await;
        old = new;
    }
    assert!(load.finish().await > 20 * u64::from(generations - 1));
    old.program.ask_to_stop();
}

#[tokio::test]
async fn generations_follow_each_other_on_their_own_sockets() {
    follow(Protocol::TCP, 12).await;
}

/// A generation ends, live or not, and all who connect from then on are answered by the next.
async fn left_to_the_next(live: bool) {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(first.address);
    if live {
        sockets.switch(id(1)).unwrap();
    }
    first.program.ask_to_stop();
    until("its end", || first.program.is_gone()).await;
    let mut waiting: Vec<_> = (0..5).map(|_| to.connect().unwrap()).collect();
    sockets.drain(id(1)).unwrap();
    sockets.hold().unwrap();
    sockets.release(id(1)).unwrap();
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    let second = open_own(&adopter, 2, first.address);
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    sockets.switch(id(2)).unwrap();
    let answered = answers(waiting);
    until("the answers", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [2; 15]);
    second.program.ask_to_stop();
}

#[tokio::test]
async fn connections_wait_from_a_crash_to_the_next_generation() {
    left_to_the_next(true).await;
}

#[tokio::test]
async fn a_generation_that_was_never_live_leaves_its_queue_to_the_next() {
    left_to_the_next(false).await;
}

#[tokio::test]
async fn an_address_that_the_next_does_not_open_is_closed_with_the_old_one() {
    let (mut sockets, adopter) = none();
    let kept = open_own(&adopter, 1, ANY.parse().unwrap());
    let dropped = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    assert_eq!(
        adopter.opened(id(2)).missing,
        [kept.address, dropped.address]
    );
    let second = open_own(&adopter, 2, kept.address);
    assert_eq!(adopter.opened(id(2)).missing, [dropped.address]);
    assert_eq!(adopter.opened(id(2)).inodes, [second.inode]);
    sockets.switch(id(2)).unwrap();
    assert_eq!(To::Tcp(kept.address).ask().unwrap(), 2);
    let old = To::Tcp(dropped.address);
    assert_eq!(old.ask().unwrap(), 1, "the old one still answers there");
    dropped.program.ask_to_stop();
    leave(&mut sockets, 1, &kept).await;
    until("its program's end", || dropped.program.is_gone()).await;
    // It may still be opened late, so that takes a while.
    // With a timeout: what is queued stays there, and once the queue is full connecting would take minutes.
    let refused = || {
        let connected = TcpStream::connect_timeout(&dropped.address, Duration::from_millis(20));
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    until("that the address is closed", refused).await;
    assert!(adopter.opened(id(2)).missing.is_empty());
    second.program.ask_to_stop();
}

#[tokio::test]
async fn an_address_that_is_opened_late_is_served_at_once() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    sockets.switch(id(2)).unwrap();
    let to = To::Tcp(first.address);
    assert_eq!(to.ask().unwrap(), 1, "as long as 2 does not listen");
    let second = open_own(&adopter, 2, first.address);
    assert_eq!(to.ask().unwrap(), 2);
    leave(&mut sockets, 1, &first).await;
    assert_eq!(to.ask().unwrap(), 2);
    second.program.ask_to_stop();
}

/// It was live, drains, and is to serve again.
#[tokio::test]
async fn who_has_closed_all_sockets_cannot_serve_again() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&socket);
    adopter
        .listen(id(1), socket.try_clone().unwrap(), 5)
        .unwrap();
    sockets.switch(id(1)).unwrap();
    let second = open_own(&adopter, 2, at);
    sockets.switch(id(2)).unwrap();
    sockets.switch(id(1)).unwrap();
    sockets.switch(id(2)).unwrap();
    drop(socket);
    adopter.orphan_unheld(id(1), &HashSet::new()).unwrap();
    let refused = sockets.switch(id(1)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(To::Tcp(at).ask().unwrap(), 2);
    second.program.ask_to_stop();
}

/// Nobody would ever take its listener out again.
#[tokio::test]
async fn a_generation_that_is_gone_gets_no_listener() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    sockets.release(id(1)).unwrap();
    let duplicate = socket.try_clone().unwrap();
    let refused = adopter.listen(id(1), duplicate, 5).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ESRCH));
    assert_eq!(sockets.listener_count(), 0);
    assert!(!os::is_listening(&socket).unwrap());
}

/// Both had bound it before either listened, as two of a kind may that are started together.
#[tokio::test]
async fn who_listens_after_a_stranger_does_not_share_with_it() {
    let (sockets, adopter) = none();
    let stranger = bound(ANY.parse().unwrap(), Protocol::TCP);
    let own = bound(address(&stranger), Protocol::TCP);
    stranger.listen(5).unwrap();
    let duplicate = own.try_clone().unwrap();
    let refused = adopter.listen(id(1), duplicate, 5).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(sockets.listener_count(), 0);
    assert!(
        !os::is_listening(&own).unwrap(),
        "the stranger has it alone"
    );
}

/// Workers that are replaced together, each with a socket of its own.
#[tokio::test]
async fn listeners_do_not_pile_up_within_one_generation() {
    let (mut sockets, adopter) = none();
    let mut workers = vec![open_own(&adopter, 1, ANY.parse().unwrap())];
    let at = workers[0].address;
    workers.extend((1..4).map(|_| open_own(&adopter, 1, at)));
    sockets.switch(id(1)).unwrap();
    for round in 0..6 {
        let next: Vec<Opened> = (0..4).map(|_| open_own(&adopter, 1, at)).collect();
        for worker in &workers {
            worker.program.ask_to_stop();
        }
        let held: HashSet<u64> = next.iter().map(|worker| worker.inode).collect();
        adopter.orphan_unheld(id(1), &held).unwrap();
        assert_eq!(To::Tcp(at).ask().unwrap(), 1, "round {round}");
        workers = next;
    }
    until("as many listeners as workers", || {
        sockets.listener_count() == 4
    })
    .await;
    for worker in &workers {
        worker.program.ask_to_stop();
    }
}

/// As programs do that look first whether a port is free, or start a worker for each core.
#[tokio::test]
async fn a_socket_that_nobody_holds_gets_nothing_any_more() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&socket);
    adopter
        .listen(id(1), socket.try_clone().unwrap(), 5)
        .unwrap();
    drop(socket);
    let early = TcpStream::connect(at).unwrap();
    early.set_read_timeout(Some(DEADLINE)).unwrap();
    let second = open_own(&adopter, 1, at);
    adopter
        .orphan_unheld(id(1), &HashSet::from([second.inode]))
        .unwrap();
    assert_eq!(adopter.opened(id(1)).inodes, [second.inode]);
    sockets.switch(id(1)).unwrap();
    let mut early: Box<dyn Duplex> = Box::new(early);
    let waited = thread::spawn(move || answer(&mut *early).unwrap());
    for _ in 0..50 {
        assert_eq!(To::Tcp(at).ask().unwrap(), 1);
    }
    until("the forwarded answer", || waited.is_finished()).await;
    assert_eq!(waited.join().unwrap(), 1);
    until("one listener", || sockets.listener_count() == 1).await;
    second.program.ask_to_stop();
}

#[tokio::test]
async fn several_sockets_of_one_generation_share_its_connections() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    // The number that it answers with tells them apart.
    let socket = bound(first.address, Protocol::TCP);
    adopter
        .listen(id(1), socket.try_clone().unwrap(), 5)
        .unwrap();
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

/// `--listen` for a program that does not know what to do with it, and opens the same address.
#[tokio::test]
async fn what_a_program_opens_itself_takes_the_place_of_what_it_was_passed() {
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
    until("the answers", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [1; 5]);
    for _ in 0..20 {
        assert_eq!(To::Tcp(at).ask().unwrap(), 1);
    }
    drop(passed);
    first.program.ask_to_stop();
}

/// Go's servers from 1.24 on.
#[tokio::test]
async fn multipath_sockets_are_steered_too() {
    if Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).is_err() {
        report("SKIPPED: this kernel has no multipath TCP");
        return;
    }
    follow(Protocol::MPTCP, 6).await;
}

#[tokio::test]
async fn datagrams_go_to_the_live_generation() {
    let (mut sockets, adopter) = none();
    let first = bound(ANY.parse().unwrap(), Protocol::UDP);
    let at = address(&first);
    adopter
        .listen(id(1), first.try_clone().unwrap(), 0)
        .unwrap();
    sockets.switch(id(1)).unwrap();
    let second = bound(at, Protocol::UDP);
    adopter
        .listen(id(2), second.try_clone().unwrap(), 0)
        .unwrap();
    let opened = adopter.opened(id(2));
    assert!(opened.inodes.is_empty() && opened.missing.is_empty());
    assert_eq!(opened.datagrams.len(), 1);
    let (first, second) = (UdpSocket::from(first), UdpSocket::from(second));
    for socket in [&first, &second] {
        socket.set_nonblocking(true).unwrap();
    }
    let get = |socket: &UdpSocket| std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count();
    // Each from a port of its own: without steering the kernel chooses by a hash of it.
    let send = || {
        for _ in 0..20 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"?", at).unwrap();
        }
    };
    // On a busy machine the kernel may deliver later, even on loopback: until all have come.
    let mut got = (0, 0);
    send();
    until("the first twenty", || {
        got = (got.0 + get(&first), got.1 + get(&second));
        got.0 + got.1 == 20
    })
    .await;
    assert_eq!(got, (20, 0));
    sockets.switch(id(2)).unwrap();
    send();
    until("the next twenty", || {
        got = (got.0 + get(&first), got.1 + get(&second));
        got.0 + got.1 == 40
    })
    .await;
    assert_eq!(got, (20, 20));
    sockets.drain(id(1)).unwrap();
    drop(first);
    sockets.release(id(1)).unwrap();
    until("one listener", || sockets.listener_count() == 1).await;
    send();
    until("the last twenty", || {
        got.1 += get(&second);
        got.1 == 40
    })
    .await;
}

/// A program that closes its last socket of an address and opens it again a moment later. Nothing may be carried from the
/// closed one to itself meanwhile.
#[tokio::test]
async fn a_live_generation_may_close_and_open_again() {
    let (mut sockets, adopter) = none();
    let first = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&first);
    adopter
        .listen(id(1), first.try_clone().unwrap(), 5)
        .unwrap();
    sockets.switch(id(1)).unwrap();
    let waiting: Vec<_> = (0..3).map(|_| To::Tcp(at).connect().unwrap()).collect();
    drop(first);
    adopter.orphan_unheld(id(1), &HashSet::new()).unwrap();
    // Long enough for a forwarder that would carry in circles to have made many connections.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let established = os::tcp_connections(at).unwrap().len();
    assert!(established <= 3, "{established} connections");
    let again = open_own(&adopter, 1, at);
    let answered = answers(waiting);
    until("the answers", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [1; 3]);
    again.program.ask_to_stop();
}

/// A generation that listens only once it has been asked to end.
#[tokio::test]
async fn a_generation_that_is_leaving_gets_nothing() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.drain(id(1)).unwrap();
    sockets.hold().unwrap();
    sockets.drain(id(2)).unwrap();
    let late = open_own(&adopter, 2, first.address);
    let waiting: Vec<_> = (0..5)
        .map(|_| To::Tcp(first.address).connect().unwrap())
        .collect();
    let third = open_own(&adopter, 3, first.address);
    sockets.switch(id(3)).unwrap();
    let answered = answers(waiting);
    until("the answers", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [3; 5]);
    for opened in [first, late, third] {
        opened.program.ask_to_stop();
    }
}

/// `--listen`, and a program whose language listens with multipath TCP.
#[tokio::test]
async fn multipath_sockets_join_a_group_that_began_without() {
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
            "what was closed has not taken the program along"
        );
    }
    programs
        .iter()
        .for_each(|opened| opened.program.ask_to_stop());
}
