//! Tests real connections whose program is this process.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::slice;

use super::*;

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
        pair.kept.set_handles_signal(false);
        pair.seen.inode = inode(&pair.server).unwrap();
        pair.request();
        assert_eq!(pair.server.read(&mut [0; 99]).unwrap(), 5);
        pair.respond();
        pair
    }

    fn request(&mut self) {
        self.client.write_all(b"GET /").unwrap();
    }

    fn respond(&mut self) {
        self.server.write_all(b"200 OK").unwrap();
        self.client.read_exact(&mut [0; 6]).unwrap();
    }

    /// Hides requests, has the client send one, and seals the connection.
    fn seal(&mut self) -> Vec<Kept> {
        self.seen = tcp_connection(&self.server, &self.seen).unwrap();
        self.kept
            .hide(slice::from_ref(&self.seen), false, &[own_pid()]);
        assert!(!self.kept.wants_next(&self.seen));
        self.request();
        assert!(self.kept.wants_next(&self.seen));
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
    pair.kept
        .hide(slice::from_ref(&pair.seen), false, &[own_pid()]);
    assert!(!pair.kept.wants_next(&pair.seen), "the store is closed");
}

#[test]
fn requests_are_shown_while_another_one_is_slow() {
    let mut pair = Pair::new();
    let hide = |pair: &Pair, slow| {
        let connections = slice::from_ref(&pair.seen);
        pair.kept.hide(connections, slow, &[own_pid()]);
    };
    pair.seen = tcp_connection(&pair.server, &pair.seen).unwrap();
    hide(&pair, false);
    pair.request();
    assert!(pair.kept.wants_next(&pair.seen));
    hide(&pair, true);
    assert!(!pair.kept.wants_next(&pair.seen));
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
