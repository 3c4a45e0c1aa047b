use std::sync::mpsc;

use tokio::time::timeout;

use super::*;
use crate::os::sock_diag::tcp_connections;
use crate::socket::drain::ConnectionOwners;

fn ours() -> Vec<i32> {
    vec![std::process::id() as i32]
}

/// Long enough for several looks, and for the quiet that an idle connection needs.
const SEVERAL_LOOKS: Duration = Duration::from_millis(300);

async fn settles(monitor: &DrainMonitor) {
    let settled = timeout(DEADLINE, monitor.quiescent(ours));
    settled.await.expect("settled");
}

async fn falls_idle(monitor: &DrainMonitor) {
    timeout(DEADLINE, monitor.idle(ours)).await.expect("idle");
}

async fn does_not_settle(monitor: &DrainMonitor, why: &str) {
    let settled = timeout(SEVERAL_LOOKS, monitor.quiescent(ours));
    assert!(settled.await.is_err(), "{why}");
}

async fn does_not_fall_idle(monitor: &DrainMonitor, why: &str) {
    let idle = timeout(SEVERAL_LOOKS, monitor.idle(ours));
    assert!(idle.await.is_err(), "{why}");
}

struct Served {
    sockets: Sockets,
    listener: TcpListener,
    to: SocketAddr,
}

fn served() -> Served {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
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

/// A connection to generation 1, made before generation 2 became live.
fn connect_to_first(served: &mut Served) -> TcpStream {
    served.sockets.switch(id(1)).unwrap();
    let client = TcpStream::connect(served.to).unwrap();
    client.set_nodelay(true).unwrap();
    served.sockets.switch(id(2)).unwrap();
    client
}

#[tokio::test]
async fn settled_waits_for_the_queue_and_for_the_first_byte() {
    let mut served = served();
    let monitor = served.sockets.drain_monitor(id(1));
    settles(&monitor).await;
    let mut client = connect_to_first(&mut served);
    does_not_settle(&monitor, "in the queue").await;
    let (mut server, _) = served.listener.accept().unwrap();
    does_not_settle(&monitor, "accepted, without a byte").await;
    client.write_all(b"?").unwrap();
    does_not_settle(&monitor, "not read").await;
    server.read_exact(&mut [0]).unwrap();
    settles(&monitor).await;
    drop(server);
    let client = connect_to_first(&mut served);
    let (_server, _) = served.listener.accept().unwrap();
    drop(client);
    settles(&monitor).await;
}

#[tokio::test]
async fn connections_of_others_do_not_count() {
    let mut served = served();
    let monitor = served.sockets.drain_monitor(id(1));
    let _client = connect_to_first(&mut served);
    let (_server, _) = served.listener.accept().unwrap();
    assert_eq!(monitor.connections(&ours()).unwrap().len(), 1);
    assert_eq!(monitor.connections(&[]).unwrap(), []);
    timeout(DEADLINE, monitor.quiescent(Vec::new))
        .await
        .unwrap();
}

#[test]
fn where_a_process_may_not_be_looked_into_it_is_never_idle() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = crate::os::socket_holders::tests::hidden(directory.path());
    let pid = i32::try_from(child.id()).unwrap();
    // In a thread that is another user's, because root may look everywhere (`setfsuid(2)`).
    let watching = thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut served = served();
            let monitor = served.sockets.drain_monitor(id(1));
            let client = connect_to_first(&mut served);
            let (_server, _) = served.listener.accept().unwrap();
            drop(client);
            let error = monitor.connections(&[pid]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            let idle = timeout(SEVERAL_LOOKS, monitor.idle(|| vec![pid]));
            assert!(idle.await.is_err(), "idle, though nobody knows");
        });
    });
    let watched = watching.join();
    child.kill().unwrap();
    child.wait().unwrap();
    watched.unwrap();
}

#[tokio::test]
async fn connections_tell_what_was_exchanged() {
    let mut served = served();
    let monitor = served.sockets.drain_monitor(id(1));
    let mut client = connect_to_first(&mut served);
    let (mut server, peer) = served.listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    server.write_all(b"hi").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    let found = monitor.connections(&ours()).unwrap();
    let expected = Connection {
        inode: found[0].inode,
        peer: Some(peer),
        received: Some(5),
        sent: Some(2),
    };
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn idle_when_there_is_nothing_or_all_is_closed() {
    let mut served = served();
    let monitor = served.sockets.drain_monitor(id(1));
    falls_idle(&monitor).await;
    let client = connect_to_first(&mut served);
    does_not_fall_idle(&monitor, "in the queue").await;
    let (_server, _) = served.listener.accept().unwrap();
    does_not_fall_idle(&monitor, "about to ask").await;
    drop(client);
    falls_idle(&monitor).await;
}

/// How a client asks something that takes long.
#[derive(Clone, Copy, Debug)]
enum Exchange {
    /// On a new connection.
    Fresh,
    /// On one that was used before, in the very tick in which the answer before came.
    KeptAlive,
    /// On one that was used before, later.
    KeptAliveLater,
    /// Closing its half after the request, as `nc -N` does.
    HalfClosed,
}

const WORK: Duration = Duration::from_secs(2);

/// The client's and the server's side of it; what is returned receives when it is answered.
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
        // Until the client closes.
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
        // Kept open: an idle connection of a client that may ask again.
        thread::sleep(WORK * 3);
    });
    when
}

/// The request is under way before anybody looks, then after, for looks of both kinds.
async fn never_idle_during(exchange: Exchange, head_start: Duration) {
    let mut served = served();
    let client = connect_to_first(&mut served);
    let (server, _) = served.listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    let monitor = served.sockets.drain_monitor(id(1));
    let when = run(exchange, client, server);
    tokio::time::sleep(head_start).await;
    timeout(DEADLINE, monitor.idle(ours))
        .await
        .expect("idle in the end");
    assert!(
        when.try_recv().is_ok(),
        "{exchange:?}, looked at after {head_start:?}: idle before the answer"
    );
}

#[tokio::test]
async fn a_request_of_two_seconds_is_never_called_idle() {
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
async fn an_answered_connection_that_was_watched_is_idle_soon() {
    let mut served = served();
    let mut client = connect_to_first(&mut served);
    let (mut server, _) = served.listener.accept().unwrap();
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let monitor = served.sockets.drain_monitor(id(1));
    does_not_fall_idle(&monitor, "unanswered").await;
    let idle = async {
        timeout(DEADLINE, monitor.idle(ours)).await.unwrap();
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
    // Not the 2.5 s of one that nobody watched.
    assert!(
        after > Duration::from_millis(80) && after < Duration::from_millis(2400),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_thousand_connections_are_cheap_to_look_at() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft.max(8192)), hard).unwrap();
    let mut served = served();
    let mut pairs = Vec::new();
    for _ in 0..1000 {
        let client = connect_to_first(&mut served);
        pairs.push((client, served.listener.accept().unwrap().0));
    }
    let monitor = served.sockets.drain_monitor(id(1));
    // The first look of a wait reads all of `/proc/PID/fd`, here of 2000 sockets; a later one what is new.
    let first = cpu_time(|| assert_eq!(monitor.connections(&ours()).unwrap().len(), 1000));
    let mut census = ConnectionOwners::default();
    let newer = TcpListener::from(served.sockets.prepare(id(3)).unwrap().remove(0).fd);
    served.sockets.switch(id(3)).unwrap();
    let mut newcomers = Vec::new();
    let later = cpu_time(|| {
        newcomers.push((
            TcpStream::connect(served.to).unwrap(),
            newer.accept().unwrap(),
        ));
        assert!(!monitor.is_quiescent(&mut census, &ours()).unwrap());
    });
    let list = cpu_time(|| assert!(tcp_connections(served.to).unwrap().len() > 1000));
    report(&format!(
        "1000 connections: the first look takes {first:?} of a processor, a later one {later:?}, \
         of which the kernel's list {list:?}"
    ));
    assert!(later < Duration::from_millis(50), "{later:?}");
}

/// The time that this thread spent on a processor with it, however busy the machine is (`/proc/PID/schedstat`).
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
async fn a_unix_generation_is_quiescent_and_idle_when_its_connections_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open(&[&format!("unix:{}", path.display())]);
    let listener = UnixListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
    sockets.switch(id(1)).unwrap();
    let monitor = sockets.drain_monitor(id(1));
    settles(&monitor).await;
    falls_idle(&monitor).await;
    let mut client = UnixStream::connect(&path).unwrap();
    does_not_settle(&monitor, "in the queue").await;
    let (mut server, _) = listener.accept().unwrap();
    settles(&monitor).await;
    client.write_all(b"?").unwrap();
    does_not_settle(&monitor, "unread").await;
    server.read_exact(&mut [0]).unwrap();
    assert_eq!(monitor.connections(&ours()).unwrap().len(), 1);
    does_not_fall_idle(&monitor, "open").await;
    drop(client);
    falls_idle(&monitor).await;
}
