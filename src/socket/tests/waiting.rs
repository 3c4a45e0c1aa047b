use std::net::Shutdown;

use super::*;
use crate::os;

#[tokio::test]
async fn connections_wait_for_the_first_generation() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let mut early: Vec<_> = (0..10).map(|_| to.connect().unwrap()).collect();
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    for stream in &mut early {
        assert_eq!(answer(&mut **stream).unwrap(), 1);
    }
    assert_eq!(sockets.listener_count(), 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn connections_that_wait_for_a_generation_that_dies_reach_the_next_one() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let early: Vec<_> = (0..10).map(|_| to.connect().unwrap()).collect();
    dies_before_it_is_live(&mut sockets, 1);
    let programs = start(&mut sockets, 2, Style::Blocking);
    sockets.switch(id(2)).unwrap();
    let answered = answers(early);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [2; 10]);
    until("the other listener is closed", || {
        sockets.listener_count() == 1
    })
    .await;
    let forwarder = format!("forward {}", tcp(&sockets, 0).port());
    until("the forwarder exits", || threads_named(&forwarder) == 0).await;
    programs.iter().for_each(Program::ask_to_stop);
    let _ = to.connect();
}

/// A starting program that a newer one replaces may accept at any moment, and is killed a moment later.
#[tokio::test]
async fn a_replaced_program_finds_no_connection_in_its_queue() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    sockets.set_reloading(true);
    let replaced = sockets.prepare(id(1)).unwrap().remove(0);
    let early: Vec<_> = (0..10).map(|_| to.connect().unwrap()).collect();
    assert_eq!(os::tcp_queue(&replaced.fd).unwrap().waiting, 10);
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    until("hotrun has accepted the connections", || {
        os::tcp_queue(&replaced.fd).unwrap().waiting == 0
    })
    .await;
    let programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    let answered = answers(early);
    until("every connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [2; 10]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// Each silent client keeps its place, because hotrun responds to nobody.
#[tokio::test]
async fn no_silent_connection_is_closed_while_it_waits_for_a_start() {
    let mut sockets = open(&["127.0.0.1:0"]);
    sockets.set_reloading(true);
    let replaced = sockets.prepare(id(1)).unwrap().remove(0);
    let to = tcp(&sockets, 0);
    let silent: Vec<_> = (0..600).map(|_| TcpStream::connect(to).unwrap()).collect();
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(os::tcp_queue(&replaced.fd).unwrap().waiting, 600 - 256);
    for client in &silent {
        client.set_nonblocking(true).unwrap();
        let peeked = client.peek(&mut [0]).map_err(|error| error.kind());
        assert_eq!(peeked, Err(io::ErrorKind::WouldBlock));
    }
}

/// Returns the clients' own ports, and the ports from which the server sees them connect. The two differ if a forwarder
/// is in between.
fn ports_seen(clients: &[TcpStream], server: &TcpListener) -> (Vec<u16>, Vec<u16>) {
    let mut own: Vec<u16> = clients
        .iter()
        .map(|one| one.local_addr().unwrap().port())
        .collect();
    let accepted = clients.iter().map(|_| server.accept().unwrap().1.port());
    let mut seen: Vec<u16> = accepted.collect();
    own.sort_unstable();
    seen.sort_unstable();
    (own, seen)
}

/// Simulates a generation that dies before it is live, while no other generation is live. This happens when one broken
/// save follows another.
fn dies_before_it_is_live(sockets: &mut Sockets, number: u32) {
    drop(sockets.prepare(id(number)).unwrap());
    sockets.forward(id(number)).unwrap();
    sockets.hold().unwrap();
    sockets.release(id(number)).unwrap();
}

/// If the sockets of a generation cannot be prepared, it is released at once.
#[tokio::test]
async fn connections_wait_for_the_next_generation_once_one_that_was_never_live_is_released() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    drop(sockets.prepare(id(1)).unwrap());
    sockets.release(id(1)).unwrap();
    let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(to).unwrap()).collect();
    let server = TcpListener::from(sockets.prepare(id(2)).unwrap().remove(0).fd);
    server.set_nonblocking(true).unwrap();
    sockets.switch(id(2)).unwrap();
    let (own, seen) = ports_seen(&clients, &server);
    assert_eq!(own, seen);
}

#[tokio::test]
async fn no_connection_to_a_live_generation_goes_through_a_forwarder() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    (1..=3).for_each(|number| dies_before_it_is_live(&mut sockets, number));
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(to).unwrap()).collect();
    let server = TcpListener::from(sockets.prepare(id(4)).unwrap().remove(0).fd);
    sockets.switch(id(4)).unwrap();
    let accepting = thread::spawn(move || {
        clients.extend((0..300).map(|_| TcpStream::connect(to).unwrap()));
        ports_seen(&clients, &server)
    });
    until("all connections are accepted", || accepting.is_finished()).await;
    let (own, seen) = accepting.join().unwrap();
    assert_eq!(own, seen);
    let forwarder = format!("forward {}", to.port());
    until("the forwarders exit", || threads_named(&forwarder) == 0).await;
}

#[tokio::test]
async fn connections_never_wait_for_a_generation_that_was_asked_to_stop() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    let dismissed = TcpListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
    dismissed.set_nonblocking(true).unwrap();
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(to).unwrap()).collect();
    let second = TcpListener::from(sockets.prepare(id(2)).unwrap().remove(0).fd);
    sockets.hold().unwrap();
    clients.extend((0..10).map(|_| TcpStream::connect(to).unwrap()));
    assert!(
        sockets.switch(id(1)).is_err(),
        "generation 1 does not go live, because its connections would be forwarded back to it"
    );
    assert_eq!(
        dismissed.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    sockets.release(id(1)).unwrap();
    sockets.switch(id(2)).unwrap();
    let (own, seen) = ports_seen(&clients, &second);
    assert_eq!(own, seen);
}

/// Even while the runtime is blocked, no more connections are accepted than can be forwarded.
#[tokio::test]
async fn a_forwarder_accepts_no_more_connections_than_it_can_forward() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    let old = sockets.prepare(id(1)).unwrap().remove(0);
    sockets.switch(id(1)).unwrap();
    let clients: Vec<_> = (0..300).map(|_| TcpStream::connect(to).unwrap()).collect();
    let new = TcpListener::from(sockets.prepare(id(2)).unwrap().remove(0).fd);
    sockets.switch(id(2)).unwrap();
    sockets.forward(id(1)).unwrap();
    let old = TcpListener::from(old.fd);
    let waiting = || crate::os::tcp_queue(&old).unwrap().waiting;
    let begun = Instant::now();
    // This loop blocks the runtime's only thread.
    while waiting() > 300 - 256 {
        assert!(
            begun.elapsed() < DEADLINE,
            "{} connections are still waiting",
            waiting()
        );
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(waiting(), 300 - 256);
    drop(clients);
    let accepting = thread::spawn(move || (0..300).for_each(|_| drop(new.accept().unwrap())));
    until("all connections are forwarded", || accepting.is_finished()).await;
}

/// Shuts a live listener down. The group must notice this without any other input.
async fn shut_down_while_live(value: &str) {
    let mut sockets = open(&[value]);
    let to = match sockets.listening()[0].address.clone() {
        Address::Tcp(address) => To::Tcp(address),
        Address::Unix(path) => To::Unix(path),
    };
    let live = sockets.prepare(id(1)).unwrap().remove(0);
    sockets.switch(id(1)).unwrap();
    socket2::Socket::from(live.fd)
        .shutdown(Shutdown::Both)
        .unwrap();
    let mut waiting = None;
    until("a client can connect", || {
        waiting = to.connect().ok();
        waiting.is_some()
    })
    .await;
    assert_eq!(sockets.listener_count(), 1);
    let mut programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    assert_eq!(answer(&mut *waiting.unwrap()).unwrap(), 2);
    // The kernel dropped the steering program with the group's last member. If no new one were attached, half of these
    // connections would reach generation 3.
    programs.extend(start(&mut sockets, 3, Style::NonBlocking));
    for _ in 0..50 {
        assert_eq!(to.ask().unwrap(), 2);
    }
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn when_a_live_program_shuts_down_its_listener_connections_are_held_at_once() {
    shut_down_while_live("127.0.0.1:0").await;
}

#[tokio::test]
async fn when_a_live_program_shuts_down_its_unix_listener_connections_are_held_at_once() {
    let directory = tempfile::tempdir().unwrap();
    shut_down_while_live(&format!(
        "unix:{}",
        directory.path().join("app.sock").display()
    ))
    .await;
}

#[tokio::test]
async fn connections_in_a_dead_generations_listener_are_forwarded_to_the_next_generation() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    let mut waiting: Vec<_> = (0..20).map(|_| to.connect().unwrap()).collect();
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    sockets.release(id(1)).unwrap();
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    let programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    let asking = answers(waiting);
    until("every connection gets an answer", || asking.is_finished()).await;
    assert_eq!(asking.join().unwrap(), [2; 25]);
    until("the dead generation's listener is closed", || {
        sockets.listener_count() == 1
    })
    .await;
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn forwarding_passes_on_every_byte_and_the_end_of_each_direction() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    let mut client = TcpStream::connect(to).unwrap();
    let passed = sockets.prepare(id(2)).unwrap().remove(0);
    let server = thread::spawn(move || {
        let (mut stream, _) = TcpListener::from(passed.fd).accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    sockets.switch(id(2)).unwrap();
    sockets.forward(id(1)).unwrap();
    sockets.release(id(1)).unwrap();
    let exchange = thread::spawn(move || {
        let sent: Vec<u8> = (0..5_000_000_u32)
            .map(|at| ((at * 31) >> 3) as u8)
            .collect();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(
            sent == received,
            "{} of {} bytes",
            received.len(),
            sent.len()
        );
    });
    until("both sides have finished", || {
        exchange.is_finished() && server.is_finished()
    })
    .await;
    exchange.join().unwrap();
    server.join().unwrap();
}
