//! Websocket clients that send messages until they are stopped.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket, client};

use crate::harness::{TIMEOUT, until};

/// The responses to one client so far.
#[derive(Debug, Default)]
struct Seen {
    messages: AtomicU64,
    /// The newest generation that has responded.
    generation: AtomicU64,
    /// The server's message count in the latest response.
    count: AtomicU64,
}

/// The responses to all clients combined.
pub(super) struct MessageResults {
    pub(super) connections: usize,
    pub(super) messages: u64,
    pub(super) newest: u64,
    pub(super) last_count: u64,
}

/// Clients that each use one connection, which must never break.
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Seen>>,
    threads: Vec<JoinHandle<()>>,
    /// The first failure.
    failure: Arc<Mutex<Option<String>>>,
}

impl Clients {
    pub(super) fn start(address: SocketAddr, count: usize) -> Self {
        let mut this = Self {
            stop: Arc::default(),
            seen: Vec::new(),
            threads: Vec::new(),
            failure: Arc::default(),
        };
        for number in 0..count {
            let (stop, seen) = (this.stop.clone(), Arc::<Seen>::default());
            let failure = this.failure.clone();
            this.seen.push(seen.clone());
            this.threads.push(thread::spawn(move || {
                if let Err(error) = ask(address, number, &stop, &seen) {
                    let mut failure = failure
                        .lock()
                        .expect("no thread panics while it holds the lock");
                    failure.get_or_insert_with(|| format!("client {number}: {error}"));
                }
            }));
        }
        this
    }

    /// Waits until every client has received this many responses.
    #[track_caller]
    pub(super) fn wait_for_responses(&self, messages: u64) {
        self.wait_for_all("every client has enough responses", |seen| {
            seen.messages.load(Ordering::Relaxed) >= messages
        });
    }

    /// Waits until every client has received a response from this generation.
    #[track_caller]
    pub(super) fn wait_for_generation(&self, generation: u64) {
        self.wait_for_all(
            &format!("generation {generation} responds to every client"),
            |seen| seen.generation.load(Ordering::Relaxed) >= generation,
        );
    }

    #[track_caller]
    fn wait_for_all(&self, what: &str, fits: impl Fn(&Seen) -> bool) {
        until(what, TIMEOUT, || {
            let failure = self
                .failure
                .lock()
                .expect("no thread panics while it holds the lock")
                .clone();
            assert_eq!(failure, None);
            self.seen.iter().all(|seen| fits(seen)).then_some(())
        });
    }

    /// Stops the clients, and checks that none of them failed.
    #[track_caller]
    pub(super) fn stop(self) -> MessageResults {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the client has not panicked");
        }
        let failure = self
            .failure
            .lock()
            .expect("no thread panics while it holds the lock")
            .clone();
        assert_eq!(failure, None);
        let all = |of: fn(&Seen) -> &AtomicU64| {
            let values = self.seen.iter();
            values
                .map(move |seen| of(seen).load(Ordering::Relaxed))
                .collect::<Vec<_>>()
        };
        let most = |values: Vec<u64>| values.into_iter().max().unwrap_or(0);
        MessageResults {
            connections: self.seen.len(),
            messages: all(|seen| &seen.messages).iter().sum(),
            newest: most(all(|seen| &seen.generation)),
            last_count: most(all(|seen| &seen.count)),
        }
    }
}

/// Sends one message after another. Every response must arrive in order, on the same connection, and from the same
/// generation as the previous one or a newer one.
fn ask(address: SocketAddr, client: usize, stop: &AtomicBool, seen: &Seen) -> Result<(), String> {
    let mut socket = connect(address)?;
    let began = Instant::now();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let word = format!("{client}-{number}");
        let failed = |error: &dyn std::fmt::Display| {
            format!("message {number}, after {:?}: {error}", began.elapsed())
        };
        let sent = socket.send(Message::text(word.clone()));
        sent.map_err(|error| failed(&error))?;
        let answer = socket.read().map_err(|error| failed(&error))?;
        let answer = answer.to_text().map_err(|error| failed(&error))?.to_owned();
        let words: Vec<&str> = answer.split(' ').collect();
        let [generation, count, echoed] = words[..] else {
            return Err(failed(&format!("unexpected response `{answer}`")));
        };
        let number_of = |text: &str| text.parse::<u64>().map_err(|error| failed(&error));
        if echoed != word || number_of(generation)? < seen.generation.load(Ordering::Relaxed) {
            return Err(failed(&format!("unexpected response `{answer}`")));
        }
        seen.generation
            .store(number_of(generation)?, Ordering::Relaxed);
        seen.count.store(number_of(count)?, Ordering::Relaxed);
        seen.messages.fetch_add(1, Ordering::Relaxed);
        // Pause briefly, so that the clients leave enough CPU time for the server.
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<WebSocket<TcpStream>, String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    let timeout = stream.set_read_timeout(Some(TIMEOUT));
    timeout.map_err(|error| error.to_string())?;
    let (socket, _) =
        client(format!("ws://{address}/"), stream).map_err(|error| error.to_string())?;
    Ok(socket)
}
