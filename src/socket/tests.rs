//! Tests listener groups against the real kernel. Threads act as programs and clients.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::reload::GenId;

mod adopting;
mod answering;
mod giving_up;
mod instances;
mod joining;
mod moving;
mod opening;
mod probing;
mod sharing;
mod steering;
mod unix;
mod waiting;

const DEADLINE: Duration = Duration::from_secs(30);

fn id(number: u32) -> GenId {
    GenId(number)
}

fn open(values: &[&str]) -> Sockets {
    try_open(values, Sharing::Steered).unwrap()
}

fn try_open(values: &[&str], sharing: Sharing) -> Result<Sockets, OpenError> {
    let specs: Vec<ListenSpec> = values.iter().map(|value| value.parse().unwrap()).collect();
    Sockets::open(&specs, sharing)
}

fn tcp(sockets: &Sockets, index: usize) -> SocketAddr {
    match sockets.listening()[index].address {
        Address::Tcp(address) => address,
        Address::Unix(_) => panic!("not TCP"),
    }
}

impl Sockets {
    fn listener_count(&self) -> usize {
        self.see(|thread| {
            let groups = thread.table.groups().iter();
            groups.map(|group| group.listeners().len()).sum()
        })
    }

    /// Returns the number of quiescent listeners: those into which no connection can be on its way.
    fn quiescent_count(&self) -> usize {
        self.see(|thread| {
            let groups = thread.table.groups().iter();
            let all = groups.flat_map(table::Group::listeners);
            all.filter(|listener| listener.quiescent).count()
        })
    }
}

/// Returns the route to the first listener of a generation.
fn route(sockets: &Sockets, number: u32) -> Route {
    sockets.routes(id(number))().remove(0)
}

async fn dial(route: &Route) -> u32 {
    let mut stream = route.dial().await.unwrap();
    stream.write_all(b"?").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    u32::from_le_bytes(answer)
}

#[expect(clippy::print_stderr, reason = "prints measurements")]
fn report(text: &str) {
    eprintln!("{text}");
}

/// Waits until the condition holds, without blocking the runtime.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < DEADLINE,
            "timed out after {DEADLINE:?} waiting until {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The address that a client connects to.
#[derive(Clone)]
enum To {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

impl To {
    fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                Box::new(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                Box::new(stream)
            }
        })
    }

    /// Sends a request on a new connection, and returns the number of the generation that answered.
    fn ask(&self) -> io::Result<u32> {
        answer(&mut *self.connect()?)
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn answer(stream: &mut dyn Duplex) -> io::Result<u32> {
    stream.write_all(REQUEST)?;
    read_answer(stream)
}

/// Sends a request on every connection, and returns the answers. The connections may be accepted in any order.
fn answers(mut all: Vec<Box<dyn Duplex>>) -> JoinHandle<Vec<u32>> {
    thread::spawn(move || {
        for stream in &mut all {
            stream.write_all(REQUEST).unwrap();
        }
        all.iter_mut()
            .map(|stream| read_answer(&mut **stream).unwrap())
            .collect()
    })
}

/// Reads until the connection is closed. Returns the first 4 bytes: the generation's number, or the beginning of an HTTP
/// response.
fn read_answer(stream: &mut dyn Duplex) -> io::Result<u32> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    assert!(
        all.len() <= 4 || all.starts_with(b"HTTP"),
        "an answer has 4 bytes unless it is an HTTP response"
    );
    let first = all.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(u32::from_le_bytes(*first))
}

/// How a program uses its listening socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Never blocks in `accept`, like programs with an asynchronous runtime.
    NonBlocking,
    /// Blocks in `accept`, like simple programs, and may stay blocked when it is asked to stop.
    Blocking,
}

enum Accept {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accept {
    fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Ok(stream)
            })?),
            Self::Unix(listener) => Box::new(listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Ok(stream)
            })?),
        })
    }
}

/// A program that runs in a thread. It handles one connection at a time, and answers a request with its generation's
/// number. When it is asked to stop, it closes its socket, even if connections are waiting there.
struct Program {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Program {
    fn start(number: u32, passed: Passed, address: &Address, style: Style) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = match address {
            Address::Tcp(_) => Accept::Tcp(passed.fd.into()),
            Address::Unix(_) => Accept::Unix(passed.fd.into()),
        };
        let stopped = stop.clone();
        let thread = thread::spawn(move || serve(number, &listener, style, &stopped));
        Self { stop, thread }
    }

    fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn is_gone(&self) -> bool {
        self.thread.is_finished()
    }
}

fn serve(number: u32, listener: &Accept, style: Style, stop: &AtomicBool) {
    match (listener, style) {
        (_, Style::Blocking) => {}
        (Accept::Tcp(listener), Style::NonBlocking) => listener.set_nonblocking(true).unwrap(),
        (Accept::Unix(listener), Style::NonBlocking) => listener.set_nonblocking(true).unwrap(),
    }
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok(mut stream) => {
                let _ = serve_one(number, &mut *stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_micros(200));
            }
            // The listener was shut down while this thread was blocked, because the generation was released.
            Err(_) => return,
        }
    }
}

fn serve_one(number: u32, stream: &mut dyn Duplex) -> io::Result<()> {
    match stream.read(&mut [0; 1024])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => stream.write_all(&number.to_le_bytes()),
    }
}

/// Starts a generation's programs, one for each address.
fn start(sockets: &mut Sockets, number: u32, style: Style) -> Vec<Program> {
    let listening = sockets.listening();
    let passed = sockets.prepare(id(number)).unwrap();
    let each = passed.into_iter().zip(&listening);
    each.map(|(passed, listening)| Program::start(number, passed, &listening.address, style))
        .collect()
}

/// Clients that keep connecting, with one request per connection.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(to: &To, clients: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let threads = (0..clients).map(|_| {
            let (to, stop, answered) = (to.clone(), stop.clone(), answered.clone());
            thread::spawn(move || hammer(&to, &stop, &answered))
        });
        Self {
            threads: threads.collect(),
            stop,
            answered,
        }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    async fn more(&self, count: u64) {
        let goal = self.answered() + count;
        until("more requests are answered", || self.answered() >= goal).await;
    }

    /// Stops the clients, checks that no request has failed, and returns how many were answered.
    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        until("the clients exit", || {
            self.threads.iter().all(JoinHandle::is_finished)
        })
        .await;
        let failures: Vec<String> = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert!(
            failures.is_empty(),
            "{} requests failed, the first with {:?}",
            failures.len(),
            failures.first()
        );
        self.answered.load(Ordering::SeqCst)
    }
}

fn hammer(to: &To, stop: &AtomicBool, answered: &AtomicU64) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match to.ask() {
            Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures
}

/// Returns how many threads of this process have this name.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok);
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|this| this.trim_end() == name).count()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
