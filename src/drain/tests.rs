//! Tests monitors of generations whose programs run in this process.

mod counting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};

use super::*;
use crate::reload::GenId;
use crate::socket::{Address, Sharing, Sockets};

const DEADLINE: Duration = Duration::from_secs(30);

fn id(number: u32) -> GenId {
    GenId(number)
}

fn open(value: &str) -> Sockets {
    Sockets::open(&[value.parse().unwrap()], Sharing::Steered).unwrap()
}

fn tcp(sockets: &Sockets) -> SocketAddr {
    match sockets.listening()[0].address {
        Address::Tcp(address) => address,
        Address::Unix(_) => panic!("not TCP"),
    }
}

/// Returns a monitor of generation 1.
fn monitor(sockets: &Sockets) -> DrainMonitor {
    DrainMonitor::new(
        sockets.monitored(id(1)),
        Duration::MAX,
        &Arc::default(),
        &Arc::default(),
    )
}

fn own_pid() -> Vec<i32> {
    vec![std::process::id() as i32]
}

/// Long enough for several polls, and for a connection to count as quiet.
const SEVERAL_POLLS: Duration = Duration::from_millis(300);

async fn becomes_quiescent(monitor: &DrainMonitor) {
    let quiescent = timeout(DEADLINE, monitor.quiescent(own_pid));
    quiescent.await.expect("the generation becomes quiescent");
}

async fn becomes_idle(monitor: &DrainMonitor) {
    timeout(DEADLINE, monitor.idle(None, own_pid))
        .await
        .expect("the generation becomes idle")
        .unwrap();
}

async fn is_not_quiescent(monitor: &DrainMonitor, why: &str) {
    let quiescent = timeout(SEVERAL_POLLS, monitor.quiescent(own_pid));
    assert!(quiescent.await.is_err(), "{why}");
}

async fn is_not_idle(monitor: &DrainMonitor, why: &str) {
    let idle = timeout(SEVERAL_POLLS, monitor.idle(None, own_pid));
    assert!(idle.await.is_err(), "{why}");
}

struct Served {
    sockets: Sockets,
    listener: TcpListener,
    to: SocketAddr,
}

fn served() -> Served {
    let mut sockets = open("127.0.0.1:0");
    let to = tcp(&sockets);
    let listener = TcpListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
    sockets.switch(id(1)).unwrap();
    drop(sockets.prepare(id(2)).unwrap());
    sockets.switch(id(2)).unwrap();
    Served {
        sockets,
        listener,
        to,
    }
}

/// Opens a connection to generation 1 before generation 2 goes live again.
fn connect_to_first(served: &mut Served) -> TcpStream {
    served.sockets.switch(id(1)).unwrap();
    let client = TcpStream::connect(served.to).unwrap();
    client.set_nodelay(true).unwrap();
    served.sockets.switch(id(2)).unwrap();
    client
}

// Keeps a handshake unfinished until data arrives (`tcp(7)`).
sockopt_impl!(
    DeferAccept,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    i32
);

#[tokio::test]
async fn quiescence_waits_for_handshakes_from_before_the_switch() {
    let mut served = served();
    setsockopt(&served.listener, DeferAccept, &5).unwrap();
    let mut client = connect_to_first(&mut served);
    let monitor = monitor(&served.sockets);
    is_not_quiescent(&monitor, "the handshake is unfinished").await;
    is_not_idle(&monitor, "the handshake is unfinished").await;
    client.write_all(b"?").unwrap();
    let (mut server, _) = served.listener.accept().unwrap();
    server.read_exact(&mut [0]).unwrap();
    becomes_quiescent(&monitor).await;
    drop(server);
    let _later = connect_to_first(&mut served);
    assert!(tcp_half_open(served.to).unwrap().is_some());
    becomes_quiescent(&monitor).await;
}

#[tokio::test]
async fn quiescence_waits_for_the_queue_and_for_the_first_byte() {
    let mut served = served();
    let monitor = monitor(&served.sockets);
    becomes_quiescent(&monitor).await;
    let mut client = connect_to_first(&mut served);
    is_not_quiescent(&monitor, "the connection is in the queue").await;
    let (mut server, _) = served.listener.accept().unwrap();
    is_not_quiescent(&monitor, "no byte has arrived").await;
    client.write_all(b"?").unwrap();
    is_not_quiescent(&monitor, "the byte has not been read").await;
    server.read_exact(&mut [0]).unwrap();
    becomes_quiescent(&monitor).await;
    drop(server);
    let client = connect_to_first(&mut served);
    let (_server, _) = served.listener.accept().unwrap();
    drop(client);
    becomes_quiescent(&monitor).await;
}

#[tokio::test]
async fn a_generation_is_idle_without_connections_or_when_all_are_closed() {
    let mut served = served();
    let monitor = monitor(&served.sockets);
    becomes_idle(&monitor).await;
    let client = connect_to_first(&mut served);
    // Connections that the program does not accept are forwarded.
    becomes_idle(&monitor).await;
    let (_server, _) = served.listener.accept().unwrap();
    is_not_idle(&monitor, "the connection has no request yet").await;
    drop(client);
    becomes_idle(&monitor).await;
}

/// How a client sends a long-running request.
#[derive(Clone, Copy, Debug)]
enum Exchange {
    /// On a new connection.
    Fresh,
    /// On a reused connection, in the same kernel tick as the previous response.
    KeptAlive,
    /// On a reused connection, some time after the previous response.
    KeptAliveLater,
    /// On a new connection whose sending side the client shuts down after the request, as `nc -N` does.
    HalfClosed,
}

const WORK: Duration = Duration::from_secs(2);

/// Runs both sides of the exchange. The returned channel receives a message when the response has been sent.
fn run(exchange: Exchange, mut client: TcpStream, mut server: TcpStream) -> mpsc::Receiver<()> {
    let (answered, when) = mpsc::channel();
    let quick = matches!(exchange, Exchange::KeptAlive | Exchange::KeptAliveLater);
    thread::spawn(move || {
        let mut buffer = [0; 64];
        if quick {
            server.read_exact(&mut buffer[..1]).unwrap();
            server.write_all(b"quick").unwrap();
        }
        server.read_exact(&mut buffer[..1]).unwrap();
        thread::sleep(WORK);
        server.write_all(b"slow").unwrap();
        answered.send(()).unwrap();
        // Wait until the client closes the connection.
        let _ = server.read(&mut buffer);
    });
    thread::spawn(move || {
        if quick {
            client.write_all(b"1").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
        if matches!(exchange, Exchange::KeptAliveLater) {
            thread::sleep(Duration::from_millis(150));
        }
        client.write_all(b"2").unwrap();
        if matches!(exchange, Exchange::HalfClosed) {
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        client.read_exact(&mut [0; 4]).unwrap();
        // Keep the connection open, like a client that may send another request.
        thread::sleep(WORK * 3);
    });
    when
}

/// Checks that the connection is not idle until its response has been sent. Starts polling after `head_start`.
async fn never_idle_during(exchange: Exchange, head_start: Duration) {
    let mut served = served();
    let client = connect_to_first(&mut served);
    let (server, _) = served.listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    let monitor = monitor(&served.sockets);
    let pause = match exchange {
        Exchange::Fresh | Exchange::KeptAlive | Exchange::HalfClosed => None,
        // The connection is really idle between its requests, and on a busy machine for longer than this client sleeps.
        Exchange::KeptAliveLater => Some(WORK / 2),
    };
    let when = run(exchange, client, server);
    tokio::time::sleep(head_start).await;
    timeout(DEADLINE, monitor.idle(pause, own_pid))
        .await
        .expect("the connection eventually becomes idle")
        .unwrap();
    assert!(
        when.try_recv().is_ok(),
        "{exchange:?}, first poll after {head_start:?}: idle before the response"
    );
}

#[tokio::test]
async fn a_connection_is_not_idle_during_a_two_second_request() {
    let early = Duration::from_millis(1);
    let late = Duration::from_millis(700);
    tokio::join!(
        never_idle_during(Exchange::Fresh, early),
        never_idle_during(Exchange::Fresh, late),
        never_idle_during(Exchange::KeptAlive, early),
        never_idle_during(Exchange::KeptAlive, late),
        never_idle_during(Exchange::KeptAlive, Duration::from_millis(1800)),
        never_idle_during(Exchange::KeptAliveLater, early),
        never_idle_during(Exchange::KeptAliveLater, late),
        never_idle_during(Exchange::HalfClosed, early),
        never_idle_during(Exchange::HalfClosed, late),
    );
}

#[tokio::test]
async fn a_monitored_connection_is_idle_soon_after_its_response() {
    let mut served = served();
    let mut client = connect_to_first(&mut served);
    let (mut server, _) = served.listener.accept().unwrap();
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let monitor = monitor(&served.sockets);
    is_not_idle(&monitor, "no response has been sent").await;
    let idle = async {
        timeout(DEADLINE, monitor.idle(None, own_pid))
            .await
            .unwrap()
            .unwrap();
        Instant::now()
    };
    let exchange = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        Instant::now()
    };
    let (idle, answered) = tokio::join!(idle, exchange);
    let after = idle - answered;
    // A connection that was not monitored during the exchange would become idle only after 2.5 s.
    assert!(
        after > Duration::from_millis(80) && after < Duration::from_millis(2400),
        "{after:?}"
    );
}

#[tokio::test]
async fn polling_a_thousand_connections_is_cheap() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft.max(8192)), hard).unwrap();
    let mut served = served();
    let mut pairs = Vec::new();
    for _ in 0..1000 {
        let client = connect_to_first(&mut served);
        pairs.push((client, served.listener.accept().unwrap().0));
    }
    let monitor = monitor(&served.sockets);
    // The first poll reads all of `/proc/PID/fd`, which lists 2000 sockets here. Later polls read it only if there are
    // new connections.
    let first = cpu_time(|| assert_eq!(monitor.connection_count(&own_pid()).unwrap(), 1000));
    let mut polls = monitor.polls(QUIET);
    let newer = TcpListener::from(served.sockets.prepare(id(3)).unwrap().remove(0).fd);
    served.sockets.switch(id(3)).unwrap();
    let mut newcomers = Vec::new();
    let later = cpu_time(|| {
        newcomers.push((
            TcpStream::connect(served.to).unwrap(),
            newer.accept().unwrap(),
        ));
        assert!(!polls.is_quiescent(&own_pid()).unwrap());
    });
    let list = cpu_time(|| assert!(tcp_connections(served.to).unwrap().len() > 1000));
    assert!(
        later < Duration::from_millis(50),
        "the first poll takes {first:?} of CPU time, a later one {later:?}, of which the kernel's list takes {list:?}"
    );
}

/// Returns the average CPU time of `act` on this thread, however busy the machine is (`/proc/PID/schedstat`).
fn cpu_time(mut act: impl FnMut()) -> Duration {
    let spent = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let before = spent();
    for _ in 0..50 {
        act();
    }
    (spent() - before) / 50
}

#[tokio::test]
async fn a_unix_socket_is_quiescent_once_all_bytes_are_read_and_idle_once_all_clients_have_closed()
{
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open(&format!("unix:{}", path.display()));
    let listener = UnixListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
    sockets.switch(id(1)).unwrap();
    let monitor = monitor(&sockets);
    becomes_quiescent(&monitor).await;
    becomes_idle(&monitor).await;
    let mut client = UnixStream::connect(&path).unwrap();
    is_not_quiescent(&monitor, "the connection is in the queue").await;
    let (mut server, _) = listener.accept().unwrap();
    becomes_quiescent(&monitor).await;
    client.write_all(b"?").unwrap();
    is_not_quiescent(&monitor, "the byte has not been read").await;
    server.read_exact(&mut [0]).unwrap();
    assert_eq!(monitor.connection_count(&own_pid()).unwrap(), 1);
    is_not_idle(&monitor, "the connection is open").await;
    drop(client);
    becomes_idle(&monitor).await;
}
