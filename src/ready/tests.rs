//! Tests every readiness rule. The sockets are real: those of this process and of a Python server.

mod missing;
mod probes;
mod real;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Connect, GenerationSockets, NotifyState, ReadyInputs, ReadyReason, ReadySpec, wait};
use crate::socket::{Connection, GenSockets};

const DEADLINE: Duration = Duration::from_secs(20);

/// The other ends of the channels in [`ReadyInputs`].
struct FakeProgram {
    notify: watch::Sender<NotifyState>,
    lines: mpsc::UnboundedSender<Vec<u8>>,
    unready_reasons: Arc<Mutex<Vec<String>>>,
}

fn inode(socket: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(socket.as_fd())
        .expect("can stat an open socket")
        .st_ino
}

fn listening(sockets: Vec<u64>) -> Box<dyn FnMut() -> GenSockets + Send> {
    let state = GenSockets {
        inodes: sockets,
        ..GenSockets::default()
    };
    Box::new(move || state.clone())
}

fn connect(address: SocketAddr) -> Connect {
    Box::new(move |_| {
        Box::pin(
            async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Connection>) },
        )
    })
}

/// The inputs for a generation that consists of the process `pid` and holds `socket`.
fn inputs(pid: u32, socket: Option<&TcpListener>) -> (ReadyInputs, FakeProgram) {
    let (notify, notify_state) = watch::channel(NotifyState::Silent);
    let (lines, reads) = mpsc::unbounded_channel();
    let unready_reasons = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&unready_reasons);
    let address = socket.map_or(([127, 0, 0, 1], 1).into(), |socket| {
        socket.local_addr().expect("a bound socket has an address")
    });
    let inputs = ReadyInputs {
        sockets: GenerationSockets {
            pids: Box::new(move || vec![pid.cast_signed()]),
            state: listening(socket.iter().map(|socket| inode(*socket)).collect()),
        },
        adopts: false,
        notify_state,
        lines: reads,
        connect: connect(address),
        exec: Arc::new(|_| Box::pin(async { Ok(false) })),
        on_unready: Box::new(move |reason| {
            record
                .lock()
                .expect("not poisoned")
                .push(reason.to_string());
        }),
    };
    (
        inputs,
        FakeProgram {
            notify,
            lines,
            unready_reasons,
        },
    )
}

fn own_inputs(socket: Option<&TcpListener>) -> (ReadyInputs, FakeProgram) {
    inputs(std::process::id(), socket)
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("can bind an ephemeral port on loopback")
}

fn spec(text: &str) -> ReadySpec {
    text.parse().expect(text)
}

fn start(text: &str, inputs: ReadyInputs) -> JoinHandle<ReadyReason> {
    let spec = spec(text);
    tokio::spawn(async move { wait(&spec, inputs).await })
}

async fn result(waiting: JoinHandle<ReadyReason>) -> ReadyReason {
    timeout(DEADLINE, waiting)
        .await
        .expect("the program is ready in time")
        .expect("the wait does not panic")
}

impl FakeProgram {
    /// Waits until this unready reason is reported.
    async fn reports(&self, reason: &str) {
        let is_reported = || {
            self.unready_reasons
                .lock()
                .expect("not poisoned")
                .iter()
                .any(|one| one == reason)
        };
        let end = Instant::now() + DEADLINE;
        while !is_reported() {
            assert!(
                Instant::now() < end,
                "`{reason}` was not reported: {:?}",
                self.unready_reasons
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Registers the socket with the runtime's epoll instance, so that this process is waiting on it.
fn register(socket: &TcpListener) -> tokio::net::TcpListener {
    let socket = socket.try_clone().expect("can duplicate the socket");
    socket
        .set_nonblocking(true)
        .expect("can make the socket nonblocking");
    tokio::net::TcpListener::from_std(socket).expect("can register the socket")
}

#[tokio::test]
async fn auto_accepts_the_programs_notification() {
    let socket = listener();
    let (inputs, program) = own_inputs(Some(&socket));
    let waiting = start("auto", inputs);
    program
        .reports("it is not waiting for connections on socket 1")
        .await;
    program.notify.send_replace(NotifyState::Ready);
    assert_eq!(result(waiting).await, ReadyReason::Notified);
}

#[tokio::test]
async fn auto_detects_that_the_program_is_waiting_for_connections() {
    let socket = listener();
    let (inputs, program) = own_inputs(Some(&socket));
    let waiting = start("auto", inputs);
    program
        .reports("it is not waiting for connections on socket 1")
        .await;
    let began = Instant::now();
    let _waits = register(&socket);
    assert_eq!(result(waiting).await, ReadyReason::Accepting);
    let _ = writeln!(std::io::stderr(), "detected after {:?}", began.elapsed());
}

#[tokio::test]
async fn auto_waits_for_ready_1_from_a_program_that_sends_notifications() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, program) = own_inputs(Some(&socket));
    program.notify.send_replace(NotifyState::NotReady);
    let waiting = start("auto", inputs);
    program
        .reports("it sent notifications, but not `READY=1`")
        .await;
    assert!(!waiting.is_finished());
    program.notify.send_replace(NotifyState::Ready);
    assert_eq!(result(waiting).await, ReadyReason::Notified);
}

#[tokio::test]
async fn auto_without_sockets_requires_500_ms() {
    let (inputs, _program) = own_inputs(None);
    let began = Instant::now();
    assert_eq!(result(start("auto", inputs)).await, ReadyReason::Running);
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn listen_requires_every_socket() {
    let (first, second) = (listener(), listener());
    let (mut inputs, program) = own_inputs(Some(&first));
    inputs.sockets.state = listening(vec![inode(&first), inode(&second)]);
    let waiting = start("listen", inputs);
    let _first = register(&first);
    program
        .reports("it is not waiting for connections on socket 2")
        .await;
    assert!(!waiting.is_finished());
    let _second = register(&second);
    assert_eq!(result(waiting).await, ReadyReason::Accepting);
}

#[tokio::test]
async fn notify_requires_ready_1() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, program) = own_inputs(Some(&socket));
    let waiting = start("notify", inputs);
    program.notify.send_replace(NotifyState::NotReady);
    program
        .reports("it sent notifications, but not `READY=1`")
        .await;
    assert!(!waiting.is_finished());
    program.notify.send_replace(NotifyState::Ready);
    assert_eq!(result(waiting).await, ReadyReason::Notified);
}

#[tokio::test]
async fn log_requires_a_matching_line() {
    let (inputs, program) = own_inputs(None);
    let waiting = start("log:^listening on \\d+$", inputs);
    let lines: [&[u8]; 3] = [b"starting", b"\xff\xfe", b"\x1b[1mlistening\x1b[0m on 3000"];
    for line in lines {
        program
            .lines
            .send(line.to_vec())
            .expect("the receiver exists");
    }
    assert_eq!(result(waiting).await, ReadyReason::Printed);
    let (inputs, mut program) = own_inputs(None);
    let waiting = start("log:listening", inputs);
    program.lines = mpsc::unbounded_channel().0;
    let reason = "it closed its output before it printed a matching line";
    program.reports(reason).await;
    waiting.abort();
}

#[tokio::test]
async fn delay_waits_for_its_duration() {
    let (inputs, _program) = own_inputs(None);
    let began = Instant::now();
    assert_eq!(
        result(start("delay:30ms", inputs)).await,
        ReadyReason::Delayed
    );
    assert!(began.elapsed() >= Duration::from_millis(30));
}
