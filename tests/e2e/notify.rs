//! Notifications that programs send through `sd_notify(3)`.

mod clients;
mod sealed;
mod stopped;

use crate::harness::sockets::free_address;
use crate::harness::{PYTHON, Project, Run, Running, TIMEOUT, say, skip};
use clients::Clients;

/// Returns whether Python is installed and can pass descriptors; if not, reports the test as skipped.
fn python_or_skip() -> bool {
    let asked = std::process::Command::new(PYTHON)
        .args(["-c", "import socket, os; socket.send_fds, os.memfd_create"])
        .status();
    let found = asked.is_ok_and(|status| status.success());
    if !found {
        skip(&format!(
            "`{PYTHON}` 3.9 or newer is not installed (`apt install python3`)"
        ));
    }
    found
}

/// The code at the beginning of every script. The server that `server()` returns responds with its generation.
const PRELUDE: &str = r#"
import http.server, os, signal, socket, sys, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
def notify(text):
    manager.send(text.encode())
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOTRUN_GENERATION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
def server():
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
    server.socket = socket.socket(fileno=3)
    return server
"#;

fn script(body: &str) -> String {
    format!("{PRELUDE}\n{body}\n")
}

fn run(project: &Project, body: &str) -> Run {
    project.save("app.py", &script(body));
    Run::new(project).listen().program([PYTHON, "app.py"])
}

const WEBSOCKET: &str = include_str!("notify/websocket.py");

/// The source of the websocket server, with `WORD` set to this number.
fn edited(word: usize) -> String {
    WEBSOCKET.replace("WORD = \"one\"", &format!("WORD = \"{word}\""))
}

const RELOADS: usize = 10;

/// Reloads ten times while eight clients are sending messages. `extra` is 1 if there is an additional generation,
/// because the first one stores its descriptors after the second one has started.
fn assert_clients_stay_connected(project: &Project, mut run: Running, extra: u64) {
    assert_eq!(run.live(), 1);
    let clients = Clients::start(run.address(), 8);
    clients.wait_for_responses(10);
    for reload in 1..=RELOADS {
        project.save("websocket.py", &edited(reload));
        let mut generation = run.live();
        if reload == 1 && extra > 0 {
            generation = run.live();
        }
        assert_eq!(generation, reload as u64 + 1 + extra);
        // The responses must come from this generation, not from an older one.
        clients.wait_for_generation(generation);
    }
    let results = clients.stop();
    say(&format!(
        "websockets: {} messages over 8 connections, {RELOADS} reloads, none lost",
        results.messages
    ));
    assert_eq!(
        run.count("stored_descriptors"),
        1,
        "the stored descriptors are reported once"
    );
    assert_eq!(results.connections, 8);
    assert_eq!(results.newest, RELOADS as u64 + 1 + extra);
    assert_eq!(
        results.last_count, results.messages,
        "the state is passed to the next generation"
    );
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn websocket_clients_stay_connected_through_ten_reloads() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    project.save("websocket.py", WEBSOCKET);
    let run = Run::new(&project).listen_on("http=127.0.0.1:0");
    let run = run.program([PYTHON, "websocket.py", "early"]).spawn();
    assert_clients_stay_connected(&project, run, 0);
}

/// The descriptors that a program stores while it is stopping arrive after the next generation has started, so hotrun
/// restarts that generation. From then on, hotrun runs one generation at a time. The program opens its port itself.
#[test]
#[ignore = "needs python3"]
fn clients_whose_connections_are_stored_on_the_stop_signal_stay_connected() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    project.save("websocket.py", WEBSOCKET);
    let address = free_address();
    let run = Run::new(&project).opens(address);
    let port = address.port().to_string();
    let run = run.program([PYTHON, "websocket.py", "late", &port]).spawn();
    assert_clients_stay_connected(&project, run, 1);
}

/// A server that opens its port unless it gets a listener, as programs for systemd do, and stores its listener.
const LISTENER: &str = r#"
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
if "http" in names:
    listener = socket.socket(fileno=3 + names.index("http"))
else:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
server = http.server.HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket = listener
socket.send_fds(manager, [b"FDSTORE=1\nFDNAME=http"], [listener.fileno()])
notify("READY=1")
server.serve_forever()"#;

/// Checks that hotrun does not store the listener. hotrun shuts a listener down when its generation is gone, so a
/// generation that inherited the listener would get no connections.
fn assert_listener_is_not_stored(project: &Project, mut run: Running) {
    for generation in 1..4 {
        assert_eq!(run.live(), generation);
        assert_eq!(run.get("/"), generation.to_string());
        project.save("app.py", &script(&format!("{LISTENER} # {generation}")));
    }
    run.live();
    let events = run.so_far().iter();
    let reports = events.filter(|event| event.mentions("tried to store a listener"));
    assert_eq!(
        reports.count(),
        1,
        "the attempt to store a listener is reported once"
    );
    run.assert_count("stored_descriptors", 0);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_passed_listener_that_the_program_tries_to_store_is_still_steered() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    project.save("app.py", &script(LISTENER));
    let run = Run::new(&project).listen_on("http=127.0.0.1:0");
    let run = run.program([PYTHON, "app.py"]).spawn();
    assert_listener_is_not_stored(&project, run);
}

#[test]
#[ignore = "needs python3"]
fn an_adopted_listener_that_the_program_tries_to_store_is_still_steered() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    project.save("app.py", &script(LISTENER));
    let address = free_address();
    let run = Run::new(&project).opens(address);
    let port = address.port().to_string();
    let run = run.program([PYTHON, "app.py", &port]).spawn();
    assert_listener_is_not_stored(&project, run);
}

/// The program takes one second longer to start than the timeout allows.
#[test]
#[ignore = "needs python3"]
fn a_starting_program_can_extend_its_timeout() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
for left in range(8):
    notify(f"EXTEND_TIMEOUT_USEC=2000000\nSTATUS=loading, {left}")
    time.sleep(0.5)
notify("READY=1\nSTATUS=serves")
server().serve_forever()"#;
    let run = run(&project, body).args(["--ready", "notify", "--ready-timeout", "3s"]);
    let mut run = run.spawn();
    run.expect_that("the first status", TIMEOUT, |event| {
        event.is("status") && event.text("text") == "loading, 0"
    });
    run.expect_that("the last status", TIMEOUT, |event| {
        event.text("text") == "serves"
    });
    assert_eq!(run.live(), 1);
    assert!(run.count("timeout_extended") >= 3, "{:?}", run.so_far());
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_stopping_program_can_extend_its_timeout() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
def slowly(*_):
    for _ in range(4):
        notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000")
        time.sleep(0.5)
    print("cleaned up", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, slowly)
notify("READY=1")
server().serve_forever()"#;
    let mut run = run(&project, body).args(["--stop-timeout", "1s"]).spawn();
    assert_eq!(run.live(), 1);
    project.save("app.py", &script(&format!("{body} # edited")));
    assert_eq!(run.live(), 2);
    assert_eq!(run.wait_until_gone(1).text("outcome"), "drained");
    run.wait_for_line(1, "cleaned up");
    run.quit();
}

/// The abort counts as a crash.
#[test]
#[ignore = "needs python3"]
fn a_program_that_stops_pinging_its_watchdog_is_aborted() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
import threading
assert os.environ["WATCHDOG_USEC"] == "800000"
assert os.environ["WATCHDOG_PID"] == str(os.getpid())
notify("READY=1")
threading.Thread(target=server().serve_forever, daemon=True).start()
for _ in range(8):
    time.sleep(0.2)
    notify("WATCHDOG=1")
print("hangs", flush=True)
time.sleep(1000)"#;
    let mut run = run(&project, body).args(["--watchdog", "800ms"]).spawn();
    assert_eq!(run.live(), 1);
    let aborted = run.expect("aborting");
    assert_eq!(aborted.generation(), 1);
    run.wait_for_line(1, "hangs");
    let failed = run.expect("failed");
    assert_eq!(
        (failed.text("reason"), failed.number("signal")),
        ("crashed", 6)
    );
    run.quit();
}

/// `WATCHDOG=trigger` works without `--watchdog`.
#[test]
#[ignore = "needs python3"]
fn a_program_that_triggers_its_watchdog_is_aborted() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
assert "WATCHDOG_USEC" not in os.environ
signal.signal(signal.SIGABRT, lambda *_: os._exit(7))
notify("READY=1")
time.sleep(0.2)
notify("WATCHDOG=trigger")
time.sleep(1000)"#;
    let mut run = run(&project, body).args(["--ready", "notify"]).spawn();
    let failed = run.expect("failed");
    assert_eq!(failed.number("exit_code"), 7);
    run.assert_count("aborting", 1);
    run.quit();
}

/// The process that hotrun started is killed; its child, which named itself with `MAINPID`, continues as the program.
#[test]
#[ignore = "needs python3"]
fn mainpid_names_the_main_process() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
parent = os.getpid()
if os.fork():
    time.sleep(1000)
notify(f"MAINPID={os.getpid()}\nREADY=1")
while os.getppid() == parent:
    os.kill(parent, signal.SIGKILL)
    time.sleep(0.01)
print("still running", flush=True)
server().handle_request()
os._exit(3)"#;
    let mut run = run(&project, body).args(["--ready", "notify"]).spawn();
    let main = run.expect("main_process").number("pid");
    assert_eq!(run.live(), 1);
    assert_ne!(run.pid_of(1), main);
    run.wait_for_line(1, "still running");
    assert_eq!(run.count("failed"), 0, "{:?}", run.so_far());
    assert_eq!(run.get("/"), "1");
    // If the main process exits with an error, the generation counts as crashed.
    let failed = run.expect("failed");
    assert_eq!(
        (failed.text("reason"), failed.number("exit_code")),
        ("crashed", 3)
    );
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_barrier_is_released_once_every_earlier_notification_is_handled() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let body = r#"
for number in range(300):
    notify(f"STATUS=step {number}")
reader, writer = os.pipe()
socket.send_fds(manager, [b"BARRIER=1"], [writer])
os.close(writer)
assert os.read(reader, 1) == b""
notify("READY=1\nERRNO=2")
socket.send_fds(manager, [b"X_NOTHING=1"], [reader, reader])
notify("FDSTORE=1")
print("through", flush=True)
server().serve_forever()"#;
    let mut run = run(&project, body).args(["--ready", "notify"]).spawn();
    run.expect_that("the reported `ERRNO`", TIMEOUT, |event| {
        event.mentions("No such file or directory") && event.mentions("errno 2")
    });
    run.expect_that(
        "a warning about the unexpected descriptors",
        TIMEOUT,
        |event| event.mentions("without `FDSTORE=1`; 2 descriptors were closed"),
    );
    run.expect_that("a warning about a missing descriptor", TIMEOUT, |event| {
        event.mentions("no descriptor arrived")
    });
    run.wait_for_line(1, "through");
    run.quit();
}
