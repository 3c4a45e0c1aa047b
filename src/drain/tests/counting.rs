//! Which connections are counted, and which of them are in use.

use socket2::{Domain, Protocol, Socket, Type};

use super::*;

#[tokio::test]
async fn connections_of_other_processes_are_ignored() {
    let mut served = served();
    let monitor = monitor(&served.sockets);
    let _client = connect_to_first(&mut served);
    let (_server, _) = served.listener.accept().unwrap();
    assert_eq!(monitor.connection_count(&own_pid()).unwrap(), 1);
    assert_eq!(monitor.connection_count(&[]).unwrap(), 0);
    timeout(DEADLINE, monitor.quiescent(Vec::new))
        .await
        .unwrap();
}

/// Returns a monitor of generation 1, and a function that returns how many connections are in use.
fn counting(sockets: &Sockets) -> (DrainMonitor, impl Fn() -> u32) {
    let in_use = Arc::new(InUse::default());
    let listeners = sockets.monitored(id(1));
    let monitor = DrainMonitor::new(listeners, Duration::MAX, &in_use, &Arc::default());
    let count = move || in_use.count().expect("has no datagram sockets");
    (monitor, count)
}

#[tokio::test]
async fn a_connection_is_in_use_from_its_request_to_its_response() {
    let mut served = served();
    let mut client = connect_to_first(&mut served);
    let (mut server, _) = served.listener.accept().unwrap();
    let (monitor, count) = counting(&served.sockets);
    drop(monitor.observe(own_pid));
    assert_eq!(count(), 0);
    client.write_all(b"?").unwrap();
    drop(monitor.observe(own_pid));
    assert_eq!(count(), 1);
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"!").unwrap();
    drop(monitor.observe(own_pid));
    assert_eq!(count(), 0);
}

#[test]
fn zero_is_unknown_for_a_generation_with_datagram_sockets() {
    let in_use = InUse::default();
    assert_eq!(in_use.count(), Some(0));
    in_use.hide();
    assert_eq!(in_use.count(), None);
    in_use.lost.store(2, Ordering::Relaxed);
    assert_eq!(in_use.count(), Some(2));
}

#[tokio::test]
async fn a_connection_to_a_unix_socket_is_in_use_until_the_client_closes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open(&format!("unix:{}", path.display()));
    let listener = UnixListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
    sockets.switch(id(1)).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let _server = listener.accept().unwrap();
    let (monitor, count) = counting(&sockets);
    drop(monitor.observe(own_pid));
    assert_eq!(count(), 1);
    drop(client);
    drop(monitor.observe(own_pid));
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn a_connection_still_counts_as_in_use_after_its_process_has_ended() {
    let mut served = served();
    let mut client = connect_to_first(&mut served);
    let (server, _) = served.listener.accept().unwrap();
    let mut program = Command::new("sleep")
        .arg("1000")
        .stdin(OwnedFd::from(server))
        .spawn()
        .unwrap();
    let pid = program.id() as i32;
    client.write_all(b"?").unwrap();
    let (monitor, count) = counting(&served.sockets);
    let observing = monitor.observe(move || vec![pid]);
    assert_eq!(count(), 1);
    program.kill().unwrap();
    program.wait().unwrap();
    let _ = timeout(SEVERAL_POLLS, observing).await;
    assert_eq!(count(), 1);
}

#[test]
fn a_generation_with_a_process_that_may_not_be_inspected_is_never_idle() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = crate::os::socket_holders::tests::hidden(directory.path());
    let pid = i32::try_from(child.id()).unwrap();
    // Run in a thread as another user, because root may inspect every process (`setfsuid(2)`).
    let watching = thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut served = served();
            let monitor = monitor(&served.sockets);
            let client = connect_to_first(&mut served);
            let (_server, _) = served.listener.accept().unwrap();
            drop(client);
            let error = monitor.connection_count(&[pid]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            let idle = monitor.idle(None, || vec![pid]).await;
            assert!(idle.is_err(), "the generation is not reported as idle");
        });
    });
    let watched = watching.join();
    child.kill().unwrap();
    child.wait().unwrap();
    watched.unwrap();
}

/// Each poll queries the kernel only once for each port, however many listeners and addresses it has.
#[tokio::test]
async fn a_connection_is_counted_once_however_many_listeners_share_its_port() {
    let mut sockets = open("127.0.0.1:0");
    let first = tcp(&sockets);
    let adopter = sockets.adopter().unwrap();
    let others = (2..42).map(|last| SocketAddr::from(([127, 0, 0, last], first.port())));
    let listeners: Vec<_> = std::iter::repeat_n(first, 64)
        .chain(others)
        .map(|address| {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).unwrap();
            let duplicate = socket.try_clone().unwrap();
            adopter.join(id(1), duplicate, 5).unwrap();
            TcpListener::from(socket)
        })
        .collect();
    sockets.switch(id(1)).unwrap();
    let _client = TcpStream::connect(first).unwrap();
    let accept = |listener: &TcpListener| {
        listener.set_nonblocking(true).unwrap();
        listener.accept().ok()
    };
    let _accepted: Vec<_> = listeners.iter().filter_map(accept).collect();
    let monitor = monitor(&sockets);
    assert_eq!(monitor.listeners.len(), 64 + 40);
    assert_eq!(monitor.polls(QUIET).addresses().len(), 1);
    assert_eq!(monitor.connection_count(&own_pid()).unwrap(), 1);
}
