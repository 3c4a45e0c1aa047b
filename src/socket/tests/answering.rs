//! Connections that get a response while no generation is live.

use super::adopting::{ANY, none, open_own};
use super::*;

/// What is answered in the place of a program's number.
const NOBODY: u32 = 503;
const SLOW: u32 = 408;

/// Answers `?`, as programs do; does not know what to make of `~`; takes all else for another protocol.
fn says(received: &[u8], last: bool) -> Response {
    let answer = |number: u32| Response::Send(number.to_le_bytes().into());
    match received.first() {
        Some(b'?') => answer(NOBODY),
        Some(b'~') if last => answer(SLOW),
        Some(b'~') | None => Response::NeedMore,
        Some(_) => Response::Wait,
    }
}

fn begin(sockets: &mut Sockets) {
    sockets.respond(Arc::new(says)).unwrap();
}

fn connect(to: &To, count: usize) -> Vec<Box<dyn Duplex>> {
    (0..count).map(|_| to.connect().unwrap()).collect()
}

/// They have said it, and wait.
fn say(all: &mut [Box<dyn Duplex>], word: &[u8]) {
    all.iter_mut()
        .for_each(|stream| stream.write_all(word).unwrap());
}

/// What is read of those that have said something. In a thread: here is where they are answered.
async fn read(all: Vec<Box<dyn Duplex>>) -> Vec<u32> {
    let read = |mut stream: Box<dyn Duplex>| read_answer(&mut *stream).unwrap();
    let read = thread::spawn(move || all.into_iter().map(read).collect());
    until("the answers", || read.is_finished()).await;
    read.join().unwrap()
}

/// What each of these is answered that says `word`.
async fn ask(mut all: Vec<Box<dyn Duplex>>, word: &[u8]) -> Vec<u32> {
    say(&mut all, word);
    read(all).await
}

/// From the first listen to the first generation that is live.
async fn until_the_first(mut sockets: Sockets, to: To) {
    let early = connect(&to, 5);
    begin(&mut sockets);
    assert_eq!(ask(early, b"?").await, [NOBODY; 5], "early");
    assert_eq!(ask(connect(&to, 5), b"?").await, [NOBODY; 5], "and late");
    let mut other = connect(&to, 5);
    say(&mut other, b"!");
    let mut unsure = connect(&to, 5);
    say(&mut unsure, b"~");
    let mut silent = connect(&to, 5);
    // They were taken before these were.
    assert_eq!(ask(connect(&to, 5), b"?").await, [NOBODY; 5]);
    sockets.stop_responding().unwrap();
    let mut late = connect(&to, 5);
    let programs = start(&mut sockets, 1, Style::Blocking);
    sockets.switch(id(1)).unwrap();
    // The program takes one after the other, and waits for what it says.
    say(&mut silent, b"?");
    say(&mut late, b"?");
    // Their first byte is what the program answers to.
    assert_eq!(read(other).await, [1; 5], "another protocol");
    assert_eq!(read(unsure).await, [1; 5], "cut short");
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
async fn on_a_unix_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let sockets = open(&[&format!("unix:{}", path.display())]);
    until_the_first(sockets, To::Unix(path)).await;
}

#[tokio::test]
async fn what_a_crash_left_in_the_queue_is_answered() {
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(first.address);
    sockets.switch(id(1)).unwrap();
    first.program.ask_to_stop();
    until("the crash", || first.program.is_gone()).await;
    let queued = connect(&to, 5);
    let mut other = connect(&to, 5);
    say(&mut other, b"!");
    sockets.drain(id(1)).unwrap();
    sockets.hold().unwrap();
    begin(&mut sockets);
    sockets.release(id(1)).unwrap();
    assert_eq!(ask(queued, b"?").await, [NOBODY; 5]);
    assert_eq!(ask(connect(&to, 5), b"?").await, [NOBODY; 5]);
    sockets.stop_responding().unwrap();
    let second = open_own(&adopter, 2, first.address);
    sockets.switch(id(2)).unwrap();
    assert_eq!(read(other).await, [2; 5]);
    second.program.ask_to_stop();
}

/// The generation that dies before it is live leaves its listener to the next, and that is looked after too.
#[tokio::test]
async fn what_a_generation_that_was_never_live_left_is_answered() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    for number in 1..10 {
        let queued = connect(&to, 5);
        drop(sockets.prepare(id(number)).unwrap());
        sockets.drain(id(number)).unwrap();
        sockets.hold().unwrap();
        begin(&mut sockets);
        sockets.release(id(number)).unwrap();
        assert_eq!(ask(queued, b"?").await, [NOBODY; 5]);
        assert_eq!(ask(connect(&to, 5), b"?").await, [NOBODY; 5]);
        sockets.stop_responding().unwrap();
        until("its listeners are closed", || sockets.listener_count() == 1).await;
    }
    let waiting = connect(&to, 5);
    let programs = start(&mut sockets, 10, Style::NonBlocking);
    sockets.switch(id(10)).unwrap();
    assert_eq!(ask(waiting, b"?").await, [10; 5]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// Takes as long as a slow client may.
#[tokio::test]
async fn a_slow_client_is_not_read_forever() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    begin(&mut sockets);
    let begun = Instant::now();
    assert_eq!(ask(connect(&to, 300), b"~").await, [SLOW; 300]);
    assert!(begun.elapsed() >= Duration::from_secs(5), "too early");
}

/// A client that sends a large body still gets the whole response.
#[tokio::test]
async fn a_client_that_sends_a_body_can_read_the_response() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    begin(&mut sockets);
    let sent = thread::spawn(move || {
        let mut stream = to.connect().unwrap();
        stream.write_all(b"?").unwrap();
        stream.write_all(&vec![b'x'; 4 << 20]).unwrap();
        read_answer(&mut *stream).unwrap()
    });
    until("the answer", || sent.is_finished()).await;
    assert_eq!(sent.join().unwrap(), NOBODY);
}

/// More clients than places: silent ones hold up the others only until a program is live.
#[tokio::test]
async fn a_crowd_that_says_nothing_is_bounded() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    begin(&mut sockets);
    let silent = connect(&to, 300);
    let asking = connect(&to, 5);
    sockets.stop_responding().unwrap();
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    let all = silent.into_iter().chain(asking).collect();
    assert_eq!(ask(all, b"?").await, [1; 305]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// A client that has closed its half waits for the program like others.
#[tokio::test]
async fn a_half_closed_connection_waits() {
    let mut sockets = open(&[ANY]);
    let to = To::Tcp(tcp(&sockets, 0));
    begin(&mut sockets);
    let half_closed = (0..5).map(|_| {
        let mut stream = TcpStream::connect(tcp(&sockets, 0)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"!").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        Box::new(stream) as Box<dyn Duplex>
    });
    let half_closed: Vec<_> = half_closed.collect();
    // They were accepted before these were.
    assert_eq!(ask(connect(&to, 5), b"?").await, [NOBODY; 5]);
    sockets.stop_responding().unwrap();
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    assert_eq!(read(half_closed).await, [1; 5]);
    programs.iter().for_each(Program::ask_to_stop);
}

/// Crashes and fixes, one after the other. Each client gets an answer.
#[tokio::test]
async fn under_load_no_connection_is_refused() {
    let (mut sockets, adopter) = none();
    let mut live = open_own(&adopter, 1, ANY.parse().unwrap());
    let to = To::Tcp(live.address);
    sockets.switch(id(1)).unwrap();
    let load = Load::start(&to, 4);
    for number in 2..=12 {
        load.more(20).await;
        live.program.ask_to_stop();
        until("the crash", || live.program.is_gone()).await;
        sockets.drain(id(number - 1)).unwrap();
        sockets.hold().unwrap();
        begin(&mut sockets);
        load.more(20).await;
        sockets.release(id(number - 1)).unwrap();
        load.more(20).await;
        assert_eq!(ask(connect(&to, 1), b"?").await, [NOBODY]);
        sockets.stop_responding().unwrap();
        live = open_own(&adopter, number, live.address);
        sockets.switch(id(number)).unwrap();
        assert_eq!(to.ask().unwrap(), number);
    }
    load.finish().await;
    live.program.ask_to_stop();
}
