//! Sockets that a program opens itself.

use std::collections::HashSet;
use std::net::Shutdown;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::os;

/// Binds a program's own socket to this address, as the first or a later member of its group.
pub(super) fn bound(address: SocketAddr, protocol: Protocol) -> Socket {
    let kind = match protocol {
        Protocol::UDP => Type::DGRAM,
        _ => Type::STREAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol)).unwrap();
    // The kernel forms a group of datagram sockets only if the first one is bound with `SO_REUSEPORT`.
    let shared = address.port() != 0 || protocol == Protocol::UDP;
    socket.set_reuse_port(shared).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket
}

pub(super) fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// Long enough for released listeners to be closed.
pub(super) const REST_AND_MORE: Duration = Duration::from_millis(150);

pub(super) const ANY: &str = "127.0.0.1:0";

#[tokio::test]
async fn duplicates_of_steered_sockets_are_recognized() {
    let mut sockets = open(&[ANY]);
    let passed = sockets.prepare(id(1)).unwrap().remove(0).fd;
    assert!(sockets.has(&passed));
    let own = bound(ANY.parse().unwrap(), Protocol::TCP);
    let own = std::os::fd::OwnedFd::from(own);
    assert!(!sockets.has(&own));
    let duplicate = Socket::from(own.try_clone().unwrap());
    let adopter = sockets.adopter().unwrap();
    adopter.join(id(1), duplicate, 5).unwrap();
    assert!(sockets.has(&own));
    let connection = TcpStream::connect(tcp(&sockets, 0)).unwrap();
    assert!(
        !sockets.has(&connection.into()),
        "a client's socket is not steered"
    );
}

/// A generation whose program opens its own socket.
pub(super) struct OwnProgram {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
    pub(super) first: bool,
}

pub(super) fn open_own(adopter: &Adopter, number: u32, at: SocketAddr) -> OwnProgram {
    open_with(adopter, number, bound(at, Protocol::TCP))
}

pub(super) fn open_with(adopter: &Adopter, number: u32, socket: Socket) -> OwnProgram {
    let address = address(&socket);
    let duplicate = socket.try_clone().unwrap();
    let joined = adopter.join(id(number), duplicate, 5).unwrap();
    assert_eq!(joined.address, address);
    let inode = os::inode(&socket).unwrap();
    let passed = Passed {
        name: String::new(),
        fd: socket.into(),
        inode,
    };
    OwnProgram {
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

/// Ends a generation as the driver does: asks it to stop, waits until it is gone, and releases it.
pub(super) async fn leave(sockets: &mut Sockets, number: u32, opened: &OwnProgram) {
    sockets.forward(id(number)).unwrap();
    opened.program.ask_to_stop();
    until("the program exits", || opened.program.is_gone()).await;
    sockets.release(id(number)).unwrap();
}

/// Waits until the generation has accepted everything in its own queues.
pub(super) async fn settle(sockets: &Sockets, number: u32) {
    let queued = |listeners: Vec<MonitoredListener>| listeners.iter().any(|one| one.queued() > 0);
    until("its queues are empty", || {
        !queued(sockets.monitored(id(number)))
    })
    .await;
}

/// Runs successive generations under load, each on its own socket.
pub(super) async fn follow(protocol: Protocol, generations: u32) {
    let (mut sockets, adopter) = none();
    let mut old = open_with(&adopter, 1, bound(ANY.parse().unwrap(), protocol));
    assert!(old.first);
    let to = To::Tcp(old.address);
    assert_eq!(
        to.ask().unwrap(),
        1,
        "generation 1 answers before it is live"
    );
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
async fn generations_on_their_own_sockets_replace_each_other_without_losing_a_connection() {
    follow(Protocol::TCP, 12).await;
}

/// Ends a generation, live or not, and checks that the next one answers all later connections.
async fn left_to_the_next(live: bool) {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(first.address);
    if live {
        sockets.switch(id(1)).unwrap();
    }
    first.program.ask_to_stop();
    until("the program exits", || first.program.is_gone()).await;
    let mut waiting: Vec<_> = (0..5).map(|_| to.connect().unwrap()).collect();
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    sockets.release(id(1)).unwrap();
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    let second = open_own(&adopter, 2, first.address);
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    sockets.switch(id(2)).unwrap();
    let answered = answers(waiting);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [2; 15]);
    second.program.ask_to_stop();
}

#[tokio::test]
async fn connections_wait_from_a_crash_until_the_next_generation_is_live() {
    left_to_the_next(true).await;
}

#[tokio::test]
async fn a_generation_that_was_never_live_leaves_its_queue_to_the_next() {
    left_to_the_next(false).await;
}

#[tokio::test]
async fn an_address_that_the_next_generation_does_not_open_is_eventually_closed() {
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
    assert_eq!(
        old.ask().unwrap(),
        1,
        "the old generation still serves the address"
    );
    dropped.program.ask_to_stop();
    leave(&mut sockets, 1, &kept).await;
    until("the program exits", || dropped.program.is_gone()).await;
    // The address is kept for a while, because the new generation may open it late. Connect with a timeout: nothing
    // accepts these connections, and once the queue is full, connecting would take minutes.
    let refused = || {
        let connected = TcpStream::connect_timeout(&dropped.address, Duration::from_millis(20));
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    until("the address is closed", refused).await;
    assert!(adopter.opened(id(2)).missing.is_empty());
    second.program.ask_to_stop();
}

#[tokio::test]
async fn the_live_generation_serves_an_address_as_soon_as_it_opens_it() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    sockets.switch(id(2)).unwrap();
    let to = To::Tcp(first.address);
    assert_eq!(to.ask().unwrap(), 1, "generation 2 is not listening yet");
    let second = open_own(&adopter, 2, first.address);
    assert_eq!(to.ask().unwrap(), 2);
    leave(&mut sockets, 1, &first).await;
    assert_eq!(to.ask().unwrap(), 2);
    second.program.ask_to_stop();
}

/// The generation was live, and closed its sockets after the switch to the next one. Then hotrun tries to make it live
/// again.
#[tokio::test]
async fn a_generation_that_closed_its_sockets_cannot_go_live_again() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&socket);
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    sockets.switch(id(1)).unwrap();
    let second = open_own(&adopter, 2, at);
    sockets.switch(id(2)).unwrap();
    sockets.switch(id(1)).unwrap();
    sockets.switch(id(2)).unwrap();
    drop(socket);
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    let refused = sockets.switch(id(1)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(To::Tcp(at).ask().unwrap(), 2);
    second.program.ask_to_stop();
}

/// A listener that is added after its generation is gone would never be released.
#[tokio::test]
async fn a_generation_that_is_gone_cannot_add_a_listener() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    sockets.release(id(1)).unwrap();
    let duplicate = socket.try_clone().unwrap();
    let refused = adopter.join(id(1), duplicate, 5).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ESRCH));
    assert_eq!(sockets.listener_count(), 0);
    assert!(!os::is_listening(&socket).unwrap());
    let at = address(&socket);
    drop(socket);
    TcpListener::bind(at).expect("the address is free");
}

/// Both sockets were bound before either listened, as can happen when two instances of a program start at the same
/// time.
#[tokio::test]
async fn a_program_does_not_share_an_address_with_a_stranger() {
    let (sockets, adopter) = none();
    let stranger = bound(ANY.parse().unwrap(), Protocol::TCP);
    let own = bound(address(&stranger), Protocol::TCP);
    stranger.listen(5).unwrap();
    let duplicate = own.try_clone().unwrap();
    let refused = adopter.join(id(1), duplicate, 5).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(sockets.listener_count(), 0);
    assert!(
        !os::is_listening(&own).unwrap(),
        "the stranger has the address to itself"
    );
}

/// All workers are replaced at the same time, each with its own socket.
#[tokio::test]
async fn listeners_do_not_pile_up_within_one_generation() {
    let (mut sockets, adopter) = none();
    let mut workers = vec![open_own(&adopter, 1, ANY.parse().unwrap())];
    let at = workers[0].address;
    workers.extend((1..4).map(|_| open_own(&adopter, 1, at)));
    sockets.switch(id(1)).unwrap();
    for round in 0..6 {
        let next: Vec<OwnProgram> = (0..4).map(|_| open_own(&adopter, 1, at)).collect();
        for worker in &workers {
            worker.program.ask_to_stop();
        }
        let held: HashSet<u64> = next.iter().map(|worker| worker.inode).collect();
        adopter.orphan_unheld(id(1), held).unwrap();
        assert_eq!(To::Tcp(at).ask().unwrap(), 1, "round {round}");
        workers = next;
    }
    until("there are as many listeners as workers", || {
        sockets.listener_count() == 4
    })
    .await;
    for worker in &workers {
        worker.program.ask_to_stop();
    }
}

/// A program may close a listening socket right away, for example after checking whether a port is free.
#[tokio::test]
async fn a_socket_that_no_process_holds_gets_no_new_connections() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&socket);
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    drop(socket);
    let early = TcpStream::connect(at).unwrap();
    early.set_read_timeout(Some(DEADLINE)).unwrap();
    let second = open_own(&adopter, 1, at);
    adopter
        .orphan_unheld(id(1), HashSet::from([second.inode]))
        .unwrap();
    assert_eq!(adopter.opened(id(1)).inodes, [second.inode]);
    sockets.switch(id(1)).unwrap();
    let mut early: Box<dyn Duplex> = Box::new(early);
    let waited = thread::spawn(move || answer(&mut *early).unwrap());
    for _ in 0..50 {
        assert_eq!(To::Tcp(at).ask().unwrap(), 1);
    }
    until("the forwarded request is answered", || waited.is_finished()).await;
    assert_eq!(waited.join().unwrap(), 1);
    until("one listener is left", || sockets.listener_count() == 1).await;
    second.program.ask_to_stop();
}

/// The kernel resets a connection that finds a socket that is being closed. That is too rare to be seen in a test.
#[tokio::test]
async fn no_connection_finds_a_socket_that_is_being_closed() {
    let (mut sockets, adopter) = none();
    let live = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let tried = bound(live.address, Protocol::TCP);
    adopter.join(id(2), tried.try_clone().unwrap(), 5).unwrap();
    assert_eq!(tried.device().unwrap(), None);
    adopter.orphan_unheld(id(2), HashSet::new()).unwrap();
    until("one listener is left", || sockets.listener_count() == 1).await;
    let hidden = tried.device().unwrap_err();
    assert_eq!(hidden.raw_os_error(), Some(libc::ENODEV));
    live.program.ask_to_stop();
}

/// A program may shut its listener down and listen on it again.
#[tokio::test]
async fn a_socket_that_its_program_shuts_down_is_not_hidden() {
    let (_sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    socket.shutdown(Shutdown::Read).unwrap();
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    assert_eq!(socket.device().unwrap(), None);
    TcpStream::connect(address(&socket)).unwrap();
}
