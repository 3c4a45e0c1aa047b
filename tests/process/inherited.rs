//! Tests what a program inherits: variables, descriptors and signal dispositions.

use std::net::{TcpListener, TcpStream};

use nix::fcntl::{FcntlArg, fcntl};

use crate::support::*;

async fn printed(spec: hotrun::process::Spec) -> Vec<String> {
    let mut running = Running::start(spec);
    running.started().await;
    running.rest().await
}

#[tokio::test]
async fn a_program_gets_exactly_the_environment_in_its_spec() {
    let mark = Mark::new();
    let mut spec = spec(&mark, &["/usr/bin/env"]);
    let stale = ["LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"];
    spec.env.extend(stale.map(|name| (name.into(), "1".into())));
    spec.env.push(("ODD".into(), "a=b\nc".into()));
    spec.notify = Some("@here".into());
    let path = std::env::var("PATH").unwrap();
    let mut lines = printed(spec).await;
    let mut wanted = vec![
        format!("PATH={path}"),
        format!("{MARK}={}", mark.value()),
        "ODD=a=b".to_owned(),
        "c".to_owned(),
        "NOTIFY_SOCKET=@here".to_owned(),
    ];
    lines.sort();
    wanted.sort();
    assert_eq!(lines, wanted);
}

const SHOW: &str =
    "echo $$ ${LISTEN_PID-none} $LISTEN_FDS $LISTEN_FDNAMES; cat <&3 <&3; cat <&4; cat <&5";

#[tokio::test]
async fn hc31_sockets_are_passed_in_order_with_listen_pid() {
    let mark = Mark::new();
    let mut spec = spec(&mark, &["sh", "-c", SHOW]);
    spec.sockets = ["one", "two", "three"]
        .map(|n| (n.to_owned(), holding(n)))
        .into();
    let mut running = Running::start(spec);
    let pid = running.started().await;
    assert_eq!(running.line().await, format!("{pid} {pid} 3 one:two:three"));
    assert_eq!(running.line().await, "onetwothree");
}

#[tokio::test]
async fn listen_pid_can_be_left_out() {
    let mark = Mark::new();
    let mut spec = spec(&mark, &["sh", "-c", "echo ${LISTEN_PID-none} $LISTEN_FDS"]);
    spec.sockets = vec![("one".into(), holding(""))];
    spec.listen_pid = false;
    assert_eq!(printed(spec).await, ["none 1"]);
}

#[tokio::test]
async fn a_program_accepts_connections_from_a_passed_listener() {
    if !python_or_skip() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mark = Mark::new();
    let script =
        "import socket; s = socket.socket(fileno=3); c, _ = s.accept(); c.sendall(b'hello')";
    let mut spec = spec(&mark, &["python3", "-c", script]);
    spec.sockets = vec![("http".into(), listener.into())];
    let mut running = Running::start(spec);
    let client = TcpStream::connect(address).unwrap();
    running.started().await;
    let read = tokio::task::spawn_blocking(move || std::io::read_to_string(client).unwrap());
    assert_eq!(
        within_deadline("reading the response", read).await.unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn hc30_a_program_inherits_no_other_descriptors() {
    // Simulate descriptors that a terminal or a shell leaks: they are open and not marked `CLOEXEC`.
    let leak = tempfile::NamedTempFile::new().unwrap();
    let leaked = [7, 19].map(|least| fcntl(leak.as_file(), FcntlArg::F_DUPFD(least)).unwrap());
    let mark = Mark::new();
    let mut spec = spec(&mark, &["sleep", "1000"]);
    spec.sockets = ["a", "b"].map(|n| (n.to_owned(), holding(n))).into();
    let mut running = Running::start(spec);
    let pid = running.started().await;
    wait_for_only_descriptors(pid, &[0, 1, 2, 3, 4]).await;
    let files = open_files(pid);
    assert_eq!(files[0].1, "/dev/null");
    assert!(
        files[1..]
            .iter()
            .all(|(_, target)| target.starts_with("pipe:")),
        "{files:?}"
    );
    // The guardian has closed the leaked descriptors, and the program's sockets and output.
    let guardian = open_files(guardian_of(pid));
    let name = leak.path().to_str().unwrap();
    let kept = |(_, target): &&(i32, String)| target == name || target.starts_with("pipe:");
    assert_eq!(guardian.iter().find(kept), None, "{guardian:?}");
    for fd in leaked {
        nix::unistd::close(fd).unwrap();
    }
}

#[tokio::test]
async fn signal_dispositions_are_reset_to_the_default() {
    let mark = Mark::new();
    let mut lines = printed(spec(&mark, &["cat", "/proc/self/status"])).await;
    let masks = ["SigBlk:", "SigIgn:", "SigCgt:", "SigPnd:"];
    lines.retain(|line| masks.iter().any(|mask| line.starts_with(mask)));
    assert_eq!(lines.len(), masks.len(), "{lines:?}");
    for line in lines {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // Signals 32 and 33 belong to the C library, which does not allow changing them.
        assert_eq!(mask & !(3 << 31), 0, "{line}");
    }
}

#[tokio::test]
async fn a_program_leads_its_own_process_group() {
    let mark = Mark::new();
    let mut running = Running::start(spec(&mark, &["sleep", "1000"]));
    let pid = running.started().await;
    let group = |pid| {
        nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)))
            .unwrap()
            .as_raw()
    };
    let guardian = guardian_of(pid);
    assert_eq!((group(pid), group(guardian)), (pid, guardian));
}
