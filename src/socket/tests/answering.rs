//! Connections that get a response while no generation is live.

use super::adopting::{ANY, none, open_own};
use super::*;

/// hotrun's own answer, in place of a generation's number.
const NOBODY: u32 = u32::from_le_bytes(*b"HTTP");
const INCOMPLETE: &[u8] = b"GET / HTTP/1.1\r\n";
/// The beginning of a TLS handshake.
const OTHER: &[u8] = b"\x16\x03\x01";

fn start_responding(sockets: &mut Sockets) {
    sockets
        .respond(Arc::new(crate::unclaimed::Reason::default))
        .unwrap();
}

fn connect(to: &To, count: usize) -> Vec<Box<dyn Duplex>> {
    (0..count).map(|_| to.connect().unwrap()).collect()
}

/// Sends `bytes` on every connection, without waiting for the answers.
fn say(all: &mut [Box<dyn Duplex>], bytes: &[u8]) {
    all.iter_mut()
        .for_each(|stream| stream.write_all(bytes).unwrap());
}

/// Reads the answers on all connections. This happens in another thread, because hotrun's tasks run on this one.
async fn read(all: Vec<Box<dyn Duplex>>) -> Vec<u32> {
    let read = |mut stream: Box<dyn Duplex>| read_answer(&mut *stream).unwrap();
    let read = thread::spawn(move || all.into_iter().map(read).collect());
    until("every connection is answered", || read.is_finished()).await;
    read.join().unwrap()
}

/// Sends `bytes` on every connection, and returns the answers.
async fn ask(mut all: Vec<Box<dyn Duplex>>, bytes: &[u8]) -> Vec<u32> {
    say(&mut all, bytes);
    read(all).await
}

/// Checks the answers that clients get until the first generation is live.
async fn until_the_first(mut sockets: Sockets, to: To) {
    let early = connect(&to, 5);
    start_responding(&mut sockets);
    assert_eq!(
        ask(early, REQUEST).await,
        [NOBODY; 5],
        "connected before hotrun began to respond"
    );
    assert_eq!(
        ask(connect(&to, 5), REQUEST).await,
        [NOBODY; 5],
        "connected after hotrun began to respond"
    );
    let mut other = connect(&to, 5);
    say(&mut other, OTHER);
    let mut unsure = connect(&to, 5);
    say(&mut unsure, INCOMPLETE);
    let mut silent = connect(&to, 5);
    // Once these are answered, the connections above have been accepted, too.
    assert_eq!(ask(connect(&to, 5), REQUEST).await, [NOBODY; 5]);
    sockets.stop_responding().unwrap();
    let mut late = connect(&to, 5);
    let programs = start(&mut sockets, 1, Style::Blocking);
    sockets.switch(id(1)).unwrap();
    // The program handles one connection at a time, and waits for a request on each.
    say(&mut silent, REQUEST);
    say(&mut late, REQUEST);
    // The program answers the bytes that each of these clients sent first.
    assert_eq!(read(other).await, [1; 5], "another protocol");
    assert_eq!(read(unsure).await, [1; 5], "incomplete request");
    assert_eq!(read(silent).await, [1; 5], "silent");
    assert_eq!(read(late).await, [1; 5], "too late for a response");
    programs.iter().for_each(Program::ask_to_stop);
    let _ = to.connect();
}

#[tokio::test]
async fn connections_before_the_first_generation_get_a_response_or_wait() {
    let sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    until_the_first(sockets, to).await;
}

#[tokio::test]
async fn connections_that_a_crash_left_in_the_queue_get_a_response() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(first.address);
    sockets.switch(id(1)).unwrap();
    first.program.ask_to_stop();
    until("the program has crashed", || first.program.is_gone()).await;
    let queued = connect(&to, 5);
    let mut other = connect(&to, 5);
    say(&mut other, OTHER);
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    start_responding(&mut sockets);
    sockets.release(id(1)).unwrap();
    assert_eq!(ask(queued, REQUEST).await, [NOBODY; 5]);
    assert_eq!(ask(connect(&to, 5), REQUEST).await, [NOBODY; 5]);
    sockets.stop_responding().unwrap();
    let second = open_own(&adopter, 2, first.address);
    sockets.switch(id(2)).unwrap();
    assert_eq!(read(other).await, [2; 5]);
    second.program.ask_to_stop();
}

/// The generation dies before it is live, so its listener is left to the next one. Connections in that listener get a
/// response as well.
#[tokio::test]
async fn connections_that_waited_for_a_generation_that_was_never_live_get_a_response() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    for number in 1..10 {
        let queued = connect(&to, 5);
        drop(sockets.prepare(id(number)).unwrap());
        sockets.forward(id(number)).unwrap();
        sockets.hold().unwrap();
        start_responding(&mut sockets);
        sockets.release(id(number)).unwrap();
        assert_eq!(ask(queued, REQUEST).await, [NOBODY; 5]);
        assert_eq!(ask(connect(&to, 5), REQUEST).await, [NOBODY; 5]);
        sockets.stop_responding().unwrap();
        until("the generation's listeners are closed", || {
            sockets.listener_count() == 1
        })
        .await;
    }
    let waiting = connect(&to, 5);
    let programs = start(&mut sockets, 10, Style::NonBlocking);
    sockets.switch(id(10)).unwrap();
    assert_eq!(ask(waiting, REQUEST).await, [10; 5]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// This test takes as long as hotrun waits for a slow client.
#[tokio::test]
async fn slow_clients_get_a_response_after_five_seconds() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    start_responding(&mut sockets);
    let begun = Instant::now();
    assert_eq!(ask(connect(&to, 300), INCOMPLETE).await, [NOBODY; 300]);
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "slow clients have at least 5 s to send a request"
    );
}

/// A client that sends a large body still gets the whole response.
#[tokio::test]
async fn a_client_that_sends_a_body_can_read_the_response() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    start_responding(&mut sockets);
    let sent = thread::spawn(move || {
        let mut stream = to.connect().unwrap();
        stream.write_all(REQUEST).unwrap();
        stream.write_all(&vec![b'x'; 4 << 20]).unwrap();
        read_answer(&mut *stream).unwrap()
    });
    until("the request is answered", || sent.is_finished()).await;
    assert_eq!(sent.join().unwrap(), NOBODY);
}

/// There are more clients than hotrun handles at the same time.
#[tokio::test]
async fn silent_clients_and_clients_of_other_protocols_give_up_their_places_but_keep_waiting() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    start_responding(&mut sockets);
    let mut other = connect(&to, 150);
    say(&mut other, OTHER);
    let mut silent = connect(&to, 106);
    assert_eq!(ask(connect(&to, 20), REQUEST).await, [NOBODY; 20]);
    sockets.stop_responding().unwrap();
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    // The program handles one connection at a time, and waits for a request on each.
    say(&mut silent, REQUEST);
    assert_eq!(read(other).await, [1; 150]);
    assert_eq!(read(silent).await, [1; 106]);
    programs.iter().for_each(Program::ask_to_stop);
}

fn half_closed(sockets: &Sockets, count: usize) -> Vec<Box<dyn Duplex>> {
    let one = |_| {
        let mut stream = TcpStream::connect(tcp(sockets, 0)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(OTHER).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        Box::new(stream) as Box<dyn Duplex>
    };
    (0..count).map(one).collect()
}

/// Clients of another protocol give up and connect again, as connection pools do. Of the clients that have only shut
/// down their sending side, the newest keep waiting for the program, and the connections of the others are closed.
#[tokio::test]
async fn clients_that_have_left_occupy_no_place() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    start_responding(&mut sockets);
    for _ in 0..3 {
        let mut gone = connect(&to, 100);
        say(&mut gone, OTHER);
    }
    assert_eq!(ask(connect(&to, 5), REQUEST).await, [NOBODY; 5]);
    let mut old = half_closed(&sockets, 5);
    assert_eq!(ask(connect(&to, 5), REQUEST).await, [NOBODY; 5]);
    let new = half_closed(&sockets, 256);
    let ended = thread::spawn(move || {
        old.iter_mut()
            .all(|stream| matches!(stream.read(&mut [0]), Ok(0)))
    });
    until("the oldest connections are closed", || ended.is_finished()).await;
    assert!(ended.join().unwrap());
    sockets.stop_responding().unwrap();
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    assert_eq!(read(new).await, [1; 256]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// Alternates between crashes and fixes. Every client gets an answer.
#[tokio::test]
async fn under_load_every_request_is_answered_despite_crashes() {
    let (mut sockets, adopter) = none();
    let mut live = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(live.address);
    sockets.switch(id(1)).unwrap();
    let load = Load::start(&to, 4);
    for number in 2..=12 {
        load.more(20).await;
        live.program.ask_to_stop();
        until("the program has crashed", || live.program.is_gone()).await;
        sockets.forward(id(number - 1)).unwrap();
        sockets.hold().unwrap();
        start_responding(&mut sockets);
        load.more(20).await;
        sockets.release(id(number - 1)).unwrap();
        load.more(20).await;
        assert_eq!(ask(connect(&to, 1), REQUEST).await, [NOBODY]);
        sockets.stop_responding().unwrap();
        live = open_own(&adopter, number, live.address);
        sockets.switch(id(number)).unwrap();
        assert_eq!(to.ask().unwrap(), number);
    }
    load.finish().await;
    live.program.ask_to_stop();
}
