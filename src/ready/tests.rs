//! Each way to tell, with real sockets and threads of this process, and a server in Python.

mod real;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Dial, Heard, How, Inputs, Listens, ReadySpec, Stream, Why, wait};

const DEADLINE: Duration = Duration::from_secs(20);

/// The other ends of some [`Inputs`].
struct World {
    heard: watch::Sender<Heard>,
    lines: mpsc::UnboundedSender<Vec<u8>>,
    troubles: Arc<Mutex<Vec<String>>>,
}

fn inode(socket: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(socket.as_fd())
        .expect("a descriptor of ours")
        .st_ino
}

fn listening(sockets: Vec<u64>) -> Box<dyn FnMut() -> Listens + Send> {
    let listens = Listens {
        sockets,
        ..Listens::default()
    };
    Box::new(move || listens.clone())
}

fn dial(address: SocketAddr) -> Dial {
    Box::new(move |_| {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Stream>) })
    })
}

/// Inputs for a generation that is the process `pid` and holds `socket`.
fn inputs(pid: u32, socket: Option<&TcpListener>) -> (Inputs, World) {
    let (heard, hears) = watch::channel(Heard::Nothing);
    let (lines, reads) = mpsc::unbounded_channel();
    let troubles = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&troubles);
    let address = socket.map_or(([127, 0, 0, 1], 1).into(), |socket| {
        socket.local_addr().expect("its address")
    });
    let inputs = Inputs {
        pids: Box::new(move || vec![pid.cast_signed()]),
        listens: listening(socket.iter().map(|socket| inode(*socket)).collect()),
        adopts: false,
        heard: hears,
        lines: reads,
        dial: dial(address),
        exec: Box::new(|_| Box::pin(async { Ok(false) })),
        trouble: Box::new(move |trouble| told.lock().expect("no panic").push(trouble.to_string())),
    };
    (
        inputs,
        World {
            heard,
            lines,
            troubles,
        },
    )
}

fn mine(socket: Option<&TcpListener>) -> (Inputs, World) {
    inputs(std::process::id(), socket)
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("an ephemeral port on loopback")
}

fn spec(text: &str) -> ReadySpec {
    text.parse().expect(text)
}

fn start(text: &str, inputs: Inputs) -> JoinHandle<Result<How, Why>> {
    let spec = spec(text);
    tokio::spawn(async move { wait(&spec, inputs).await })
}

async fn ends(waiting: JoinHandle<Result<How, Why>>) -> Result<How, Why> {
    timeout(DEADLINE, waiting)
        .await
        .expect("ready in time")
        .expect("no panic")
}

impl World {
    /// Until it was told that this is missing.
    async fn told(&self, what: &str) {
        let told = || {
            self.troubles
                .lock()
                .expect("no panic")
                .iter()
                .any(|one| one == what)
        };
        let end = Instant::now() + DEADLINE;
        while !told() {
            assert!(
                Instant::now() < end,
                "not told `{what}`: {:?}",
                self.troubles
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Registers with the epoll set of this runtime: from then on this process waits on the socket.
fn register(socket: &TcpListener) -> tokio::net::TcpListener {
    let socket = socket.try_clone().expect("a duplicate");
    socket.set_nonblocking(true).expect("a socket");
    tokio::net::TcpListener::from_std(socket).expect("registered")
}

#[tokio::test]
async fn auto_takes_the_programs_word() {
    let socket = listener();
    let (inputs, world) = mine(Some(&socket));
    let waiting = start("auto", inputs);
    world.told("nobody waits on socket 1").await;
    world.heard.send_modify(|heard| *heard = heard.after(true));
    assert_eq!(ends(waiting).await, Ok(How::Notified));
}

#[tokio::test]
async fn auto_sees_somebody_wait() {
    let socket = listener();
    let (inputs, world) = mine(Some(&socket));
    let waiting = start("auto", inputs);
    world.told("nobody waits on socket 1").await;
    let began = Instant::now();
    let _waits = register(&socket);
    assert_eq!(ends(waiting).await, Ok(How::Waits));
    let _ = writeln!(std::io::stderr(), "seen after {:?}", began.elapsed());
}

/// A program that reports is believed: that it waits already does not make it ready.
#[tokio::test]
async fn auto_waits_for_ready_of_a_program_that_reports() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, world) = mine(Some(&socket));
    world.heard.send_modify(|heard| *heard = heard.after(false));
    let waiting = start("auto", inputs);
    world.told("it reports, but has not sent `READY=1`").await;
    assert!(!waiting.is_finished());
    world
        .heard
        .send_modify(|heard| *heard = heard.after(true).after(false));
    assert_eq!(ends(waiting).await, Ok(How::Notified));
}

#[tokio::test]
async fn auto_without_sockets_is_to_have_lived() {
    let (inputs, _world) = mine(None);
    let began = Instant::now();
    assert_eq!(ends(start("auto", inputs)).await, Ok(How::Lives));
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn every_socket_has_to_be_waited_on() {
    let (first, second) = (listener(), listener());
    let (mut inputs, world) = mine(Some(&first));
    inputs.listens = listening(vec![inode(&first), inode(&second)]);
    let waiting = start("listen", inputs);
    let _first = register(&first);
    world.told("nobody waits on socket 2").await;
    assert!(!waiting.is_finished());
    let _second = register(&second);
    assert_eq!(ends(waiting).await, Ok(How::Waits));
}

#[tokio::test]
async fn what_needs_a_socket_says_so() {
    for text in ["listen", "tcp", "http:/"] {
        let (inputs, _world) = mine(None);
        assert_eq!(
            wait(&spec(text), inputs).await,
            Err(Why::NoSockets),
            "{text}"
        );
    }
}

#[tokio::test]
async fn notify_is_ready_and_nothing_else() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, world) = mine(Some(&socket));
    let waiting = start("notify", inputs);
    world.heard.send_modify(|heard| *heard = heard.after(false));
    world.told("it reports, but has not sent `READY=1`").await;
    assert!(!waiting.is_finished());
    world.heard.send_modify(|heard| *heard = heard.after(true));
    assert_eq!(ends(waiting).await, Ok(How::Notified));
    let (inputs, world) = mine(None);
    drop(world);
    assert_eq!(
        wait(&spec("notify"), inputs).await,
        Err(Why::NoNotifySocket)
    );
}

/// Answers connection after connection with these texts, each after its request was read; the last one for ever.
fn answer(socket: TcpListener, texts: &'static [&'static str]) {
    std::thread::spawn(move || {
        let last = texts.last().expect("an answer");
        for text in texts.iter().chain(std::iter::repeat(last)) {
            let Ok((mut stream, _)) = socket.accept() else {
                return;
            };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
}

#[tokio::test]
async fn http_takes_2xx_and_3xx_and_tells_the_rest() {
    let socket = listener();
    let (inputs, world) = mine(Some(&socket));
    let answers = [
        "HTTP/1.1 503 Busy\r\n\r\n",
        "SSH-2.0-x\r\n",
        "",
        "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 302 Found\r\n\r\n",
    ];
    answer(socket, Box::leak(Box::new(answers)));
    assert_eq!(
        ends(start("http:/health", inputs)).await,
        Ok(How::Answered(302))
    );
    let expected = [
        "the probe was answered with status 503",
        "the probe was answered, but not in HTTP/1",
        "the probe's connection ended without an answer",
    ];
    assert_eq!(*world.troubles.lock().expect("no panic"), expected);
}

/// A probe that came too early is in the queue, and answered by the first accept.
#[tokio::test]
async fn http_waits_in_the_queue_of_a_slow_starter() {
    let socket = listener();
    let (inputs, world) = mine(Some(&socket));
    let waiting = start("http:/", inputs);
    world.told("the probe got no answer within 1s").await;
    answer(socket, &["HTTP/1.1 204 No Content\r\n\r\n"]);
    assert_eq!(ends(waiting).await, Ok(How::Answered(204)));
}

#[tokio::test]
async fn http_tells_that_nobody_is_there() {
    let gone = listener();
    let (mut inputs, world) = mine(Some(&gone));
    inputs.dial = Box::new(|port| {
        assert_eq!(port, Some(81));
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    });
    let waiting = start("http://localhost:81/", inputs);
    world.told("no connection: connection refused").await;
    waiting.abort();
}

/// The kernel takes connections for any listening socket, which says nothing.
#[tokio::test]
async fn tcp_is_a_connection_that_the_program_took() {
    let socket = listener();
    let (inputs, world) = mine(Some(&socket));
    let waiting = start("tcp", inputs);
    world.told("the probe got no answer within 1s").await;
    assert!(!waiting.is_finished());
    answer(socket, &["+OK\r\n"]);
    assert_eq!(ends(waiting).await, Ok(How::Connected));
}

/// A server that keeps every connection and says nothing is seen to wait for them.
#[tokio::test]
async fn tcp_sees_a_silent_server_wait() {
    let socket = listener();
    let (inputs, _world) = mine(Some(&socket));
    let _waits = register(&socket);
    assert_eq!(ends(start("tcp", inputs)).await, Ok(How::Connected));
}

#[tokio::test]
async fn log_is_a_line_that_matches() {
    let (inputs, world) = mine(None);
    let waiting = start("log:^listening on \\d+$", inputs);
    let lines: [&[u8]; 3] = [b"starting", b"\xff\xfe", b"\x1b[1mlistening\x1b[0m on 3000"];
    lines
        .into_iter()
        .for_each(|line| world.lines.send(line.to_vec()).expect("it reads"));
    assert_eq!(ends(waiting).await, Ok(How::Printed));
    let (inputs, world) = mine(None);
    world.lines.send(b"starting".to_vec()).expect("it reads");
    drop(world);
    assert_eq!(
        wait(&spec("log:listening"), inputs).await,
        Err(Why::OutputEnded)
    );
}

#[tokio::test]
async fn exec_is_repeated_until_it_succeeds() {
    let (mut inputs, world) = mine(None);
    let mut outcomes = [
        Ok(false),
        Err(std::io::ErrorKind::NotFound.into()),
        Ok(true),
    ]
    .into_iter();
    inputs.exec = Box::new(move |command| {
        assert_eq!(command, "test -e x");
        let outcome = outcomes.next().expect("no more runs than needed");
        Box::pin(async { outcome })
    });
    assert_eq!(
        ends(start("exec:test -e x", inputs)).await,
        Ok(How::Succeeded)
    );
    let expected = [
        "the command of `--ready exec:` failed",
        "the command of `--ready exec:` can't be run: entity not found",
    ];
    assert_eq!(*world.troubles.lock().expect("no panic"), expected);
}

#[tokio::test]
async fn a_dropped_wait_drops_its_command() {
    let (mut inputs, _world) = mine(None);
    let (runs, running) = tokio::sync::oneshot::channel::<()>();
    let (started, start_seen) = tokio::sync::oneshot::channel();
    let mut kept = Some((runs, started));
    inputs.exec = Box::new(move |_| {
        let (runs, started) = kept.take().expect("one run");
        Box::pin(async move {
            started.send(()).expect("the test waits for it");
            let _runs = runs;
            std::future::pending().await
        })
    });
    let waiting = start("exec:sleep 60", inputs);
    timeout(DEADLINE, start_seen)
        .await
        .expect("in time")
        .expect("it was started");
    waiting.abort();
    timeout(DEADLINE, running)
        .await
        .expect("in time")
        .expect_err("dropped with the wait");
}

#[tokio::test]
async fn delay_is_the_time() {
    let (inputs, _world) = mine(None);
    let began = Instant::now();
    assert_eq!(ends(start("delay:30ms", inputs)).await, Ok(How::Delayed));
    assert!(began.elapsed() >= Duration::from_millis(30));
}
