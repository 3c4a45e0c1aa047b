//! Tests real connections whose program is this process.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use super::*;
use crate::drain::carry_left;
use crate::drain::idle::QUIET;
use crate::os::inode;

/// A connection of this process, and the store that keeps it.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    kept: KeptConnections,
    seen: TcpConnection,
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        server
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut pair = Self {
            seen: connection(0, 0, 0),
            kept: KeptConnections::new(true, &Arc::default(), false),
            client,
            server,
        };
        pair.kept.set_handles_signal(false, false);
        pair.seen.inode = inode(&pair.server).unwrap();
        pair.request();
        assert_eq!(pair.server.read(&mut [0; 99]).unwrap(), 5);
        pair.respond();
        pair
    }

    fn request(&mut self) {
        self.client.write_all(b"GET /").unwrap();
    }

    /// Hides requests once the client would have sent the body for an interim response.
    fn hide(&self, exchange: Exchange, slow: bool) {
        std::thread::sleep(QUIET + Duration::from_millis(10));
        self.hide_now(exchange, Duration::from_millis(if slow { 250 } else { 0 }));
    }

    fn hide_now(&self, exchange: Exchange, longest_wait: Duration) {
        let seen = tcp_connection(&self.server, &self.seen).unwrap();
        self.kept
            .hide(&[seen], &mut |_| exchange, longest_wait, &[own_pid()]);
    }

    fn respond(&mut self) {
        self.server.write_all(b"200 OK").unwrap();
        self.client.read_exact(&mut [0; 6]).unwrap();
    }

    /// Hides requests, has the client send one, and seals the connection.
    fn seal(&mut self) -> Vec<Kept> {
        self.seen = tcp_connection(&self.server, &self.seen).unwrap();
        self.hide(Exchange::Complete, false);
        assert!(self.kept.hidden(&self.seen).is_none());
        self.request();
        assert!(self.kept.hidden(&self.seen).is_some());
        let read = self.server.read(&mut [0; 99]);
        assert_eq!(
            read.unwrap_err().kind(),
            ErrorKind::WouldBlock,
            "it is hidden"
        );
        self.kept.set_idle(&self.seen, true);
        self.kept.seal(&[])
    }
}

/// Waits until no process is left, and returns the carried connections.
async fn carried(kept: Vec<Kept>) -> Vec<OwnedFd> {
    let carried = Mutex::new(Vec::new());
    let carry = |connection, _| carried.lock().unwrap().push(connection);
    carry_left(kept, &AtomicBool::new(true), Vec::new, carry).await;
    carried.into_inner().unwrap()
}

#[tokio::test]
async fn a_hidden_request_arrives_after_the_program_has_left() {
    let mut pair = Pair::new();
    let sealed = pair.seal();
    assert_eq!(sealed.len(), 1);
    drop(pair.server);
    let mut carried = carried(sealed).await;
    let mut server = TcpStream::from(carried.pop().unwrap());
    server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut request = [0; 5];
    server.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"GET /");
}

#[tokio::test]
async fn a_connection_on_which_the_program_says_goodbye_ends_with_it() {
    let mut pair = Pair::new();
    let sealed = pair.seal();
    pair.server.write_all(b"bye").unwrap();
    drop(pair.server);
    assert!(carried(sealed).await.is_empty());
    let mut rest = Vec::new();
    pair.client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
}

#[test]
fn without_a_stop_signal_the_program_gets_the_hidden_request() {
    let mut pair = Pair::new();
    drop(pair.seal());
    pair.server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    pair.server.read_exact(&mut [0; 5]).unwrap();
    pair.respond();
    pair.hide(Exchange::Complete, false);
    assert!(
        pair.kept.hidden(&pair.seen).is_none(),
        "the store is closed"
    );
}

#[test]
fn requests_are_shown_while_another_one_is_slow() {
    let mut pair = Pair::new();
    let hide = |pair: &Pair, slow| pair.hide(Exchange::Complete, slow);
    pair.seen = tcp_connection(&pair.server, &pair.seen).unwrap();
    hide(&pair, false);
    pair.request();
    assert!(pair.kept.hidden(&pair.seen).is_some());
    hide(&pair, true);
    assert_eq!(pair.kept.hidden(&pair.seen), Some(Hidden::Unclear));
    hide(&pair, false);
    assert_eq!(
        pair.kept.state().hidden.len(),
        0,
        "they are shown for a while"
    );
    pair.server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    pair.server.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn soon_after_a_response_only_heads_are_hidden_until_another_request_arrives() {
    let mut pair = Pair::new();
    pair.client.set_nodelay(true).unwrap();
    pair.hide_now(Exchange::Complete, Duration::ZERO);
    pair.request();
    assert_eq!(pair.server.read(&mut [0; 99]).unwrap(), 5);
    pair.respond();
    pair.hide_now(Exchange::Complete, Duration::ZERO);
    pair.request();
    assert_eq!(
        pair.kept.hidden(&pair.seen),
        Some(Hidden::NextRequest),
        "another request has arrived"
    );
}

#[test]
fn a_connection_that_the_program_closes_is_taken_if_a_request_is_hidden() {
    let mut pair = Pair::new();
    pair.hide(Exchange::Complete, false);
    pair.request();
    pair.kept.set_idle(&pair.seen, true);
    let ask = &mut |_: &TcpConnection| Exchange::Complete;
    // No process holds it.
    pair.kept.hide(&[], ask, Duration::ZERO, &[]);
    assert_eq!(pair.kept.take_left().len(), 0, "it may be on its way");
    pair.kept.hide(&[], ask, Duration::ZERO, &[]);
    assert_eq!(pair.kept.take_left().len(), 1);
}

#[test]
fn requests_stay_hidden_if_the_stop_signal_is_due() {
    let soon = Instant::now() + Duration::from_secs(8);
    for (until, waited, expected) in [
        (None, 0, Hidden::Unclear),
        (Some(Instant::now()), 0, Hidden::NextRequest),
        (Some(soon), 60, Hidden::Unclear),
    ] {
        let mut pair = Pair::new();
        pair.kept.set_until(until);
        // This first attempt ends at once if a client waits.
        pair.hide_now(Exchange::Complete, Duration::from_secs(waited));
        pair.kept.state().next = None;
        pair.hide(Exchange::Complete, false);
        pair.request();
        std::thread::sleep(LONGEST_HIDDEN);
        pair.hide(Exchange::Complete, false);
        assert_eq!(pair.kept.hidden(&pair.seen), Some(expected));
    }
}

#[test]
fn what_may_be_a_body_is_shown() {
    let mut pair = Pair::new();
    pair.client.set_nodelay(true).unwrap();
    pair.hide_now(Exchange::Complete, Duration::ZERO);
    pair.client.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
    pair.hide_now(Exchange::Complete, Duration::ZERO);
    assert_eq!(
        pair.kept.hidden(&pair.seen),
        Some(Hidden::Unclear),
        "it has not arrived yet"
    );
    pair.server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(pair.server.read(&mut [0; 99]).unwrap(), 19);
    let now = tcp_connection(&pair.server, &pair.seen).unwrap();
    assert_eq!(pair.kept.hidden(&now), None);
}

#[test]
fn the_body_after_an_interim_response_is_not_taken_for_a_request() {
    let mut pair = Pair::new();
    pair.request();
    assert_eq!(pair.server.read(&mut [0; 99]).unwrap(), 5);
    let mut seen = tcp_connection(&pair.server, &pair.seen).unwrap();
    pair.seen = seen.clone();
    pair.hide(Exchange::InProgress, false);
    let mut send = |text: &[u8], pair: &mut Pair| {
        pair.server.write_all(text).unwrap();
        pair.client.read_exact(&mut vec![0; text.len()]).unwrap();
        seen = tcp_connection(&pair.server, &seen).unwrap();
        pair.kept.hidden(&seen) == Some(Hidden::NextRequest)
    };
    assert!(!send(b"HTTP/1.1 100 Continue\r\n\r\n", &mut pair));
    pair.client.write_all(b"GET / in a body").unwrap();
    assert!(pair.server.read(&mut [0; 99]).is_err(), "it is hidden");
    assert!(!send(b"", &mut pair));
    assert!(send(b"HTTP/1.1 204 No Content\r\n\r\n", &mut pair));
}
