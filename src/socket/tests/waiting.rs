use std::net::Shutdown;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

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
    assert_eq!(sockets.slot_count(), 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_generation_that_died_before_it_was_live_leaves_its_queue_to_the_next() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let mut early: Vec<_> = (0..10).map(|_| to.connect().unwrap()).collect();
    let first = sockets.prepare(id(1)).unwrap();
    let listener = TcpListener::from(first.into_iter().next().unwrap().fd);
    listener.set_nonblocking(true).unwrap();
    drop(listener);
    sockets.release(id(1)).unwrap();
    let second = sockets.prepare(id(2)).unwrap().remove(0);
    let flags = OFlag::from_bits_truncate(fcntl(second.fd.as_fd(), FcntlArg::F_GETFL).unwrap());
    assert!(
        !flags.contains(OFlag::O_NONBLOCK),
        "the dead program's flag"
    );
    assert_eq!(sockets.slot_count(), 1);
    let program = Program::start(2, second, &sockets.listening()[0].address, Style::Blocking);
    sockets.switch(id(2)).unwrap();
    for stream in &mut early {
        assert_eq!(answer(&mut **stream).unwrap(), 2);
    }
    program.ask_to_stop();
}

#[tokio::test]
async fn what_waits_in_a_dead_slot_is_relayed_to_the_next_generation() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    let mut waiting: Vec<_> = (0..20).map(|_| to.connect().unwrap()).collect();
    sockets.hold().unwrap();
    sockets.relay(id(1)).unwrap();
    sockets.release(id(1)).unwrap();
    waiting.extend((0..5).map(|_| to.connect().unwrap()));
    let programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    let asking = answers(waiting);
    until("an answer on each", || asking.is_finished()).await;
    assert_eq!(asking.join().unwrap(), [2; 25]);
    until("the dead slot closed", || sockets.slot_count() == 1).await;
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_relayed_connection_carries_every_byte_and_each_half_s_end() {
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
    sockets.relay(id(1)).unwrap();
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
    until("the exchange", || {
        exchange.is_finished() && server.is_finished()
    })
    .await;
    exchange.join().unwrap();
    server.join().unwrap();
}
