//! Tests with real datagrams from this process and from others.

use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const ACCEPTED: &str = "the message must be accepted";

fn own() -> Vec<i32> {
    vec![std::process::id().cast_signed()]
}

/// Sends a message from this process.
fn send(to: &NotifySocket, text: &[u8], descriptors: &[RawFd]) {
    let value = to.env_value().to_str().expect("the address is UTF-8");
    let address = match value.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(value),
    };
    let socket = UnixDatagram::unbound().expect("can create a socket");
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights
    };
    let address = address.expect("the address is valid");
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(text)],
        control,
        MsgFlags::empty(),
        Some(&address),
    )
    .expect("can send the message");
}

async fn next(socket: &NotifySocket, tree: Vec<i32>) -> Result<Notification, String> {
    let next = poll_fn(|cx| socket.poll_recv(cx, || tree.clone()));
    let result = timeout(DEADLINE, next)
        .await
        .expect("a datagram arrives in time");
    result.expect("can read the notify socket")
}

fn open() -> NotifySocket {
    NotifySocket::open().expect("can open a notify socket")
}

#[tokio::test]
async fn a_message_from_the_tree_is_accepted() {
    let socket = open();
    send(&socket, b"READY=1\nSTATUS=up", &[]);
    let message = next(&socket, own()).await.expect(ACCEPTED);
    assert!(message.assignments.ready);
    assert_eq!(message.assignments.status.as_deref(), Some("up"));
}

/// This process is alive, but not in the given tree.
#[tokio::test]
async fn a_living_stranger_is_rejected() {
    let socket = open();
    send(&socket, b"READY=1", &[]);
    send(&socket, b"STOPPING=1", &[]);
    let refused = next(&socket, vec![1]).await;
    let refused = refused.expect_err("a stranger's message must be rejected");
    let sender = format!("process {} of user", own()[0]);
    assert!(refused.contains(&sender), "{refused}");
    assert!(
        next(&socket, own())
            .await
            .expect(ACCEPTED)
            .assignments
            .stopping
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_message_without_a_sender_is_rejected() {
    let datagram = Datagram {
        length: 7,
        truncated: false,
        sender: None,
        descriptors: Vec::new(),
    };
    let refused =
        read(b"READY=1", datagram, own).expect_err("a message without a sender must be rejected");
    assert_eq!(refused, "a message without a sender");
}

#[test]
fn only_senders_in_the_tree_and_exited_senders_of_our_own_user_are_accepted() {
    let sender = |pid, uid| Sender { pid, uid };
    let gone = |_| true;
    let lives = |_| false;
    assert!(
        accepts(sender(5, 99), &[4, 5], 0, lives),
        "another user's process in the tree must be accepted"
    );
    assert!(
        accepts(sender(6, 0), &[4, 5], 0, gone),
        "our own user's process that has exited must be accepted"
    );
    assert!(
        !accepts(sender(6, 0), &[4, 5], 0, lives),
        "our own user's living process outside the tree must be rejected"
    );
    assert!(
        !accepts(sender(6, 99), &[4, 5], 0, gone),
        "another user's process that has exited must be rejected"
    );
    assert!(
        !accepts(sender(0, 0), &[0], 0, gone),
        "a process in another pid namespace must be rejected"
    );
}

#[tokio::test]
async fn a_message_that_is_too_long_is_rejected() {
    let socket = open();
    send(
        &socket,
        &[b"READY=1\n".as_slice(), &[b'x'; 4100]].concat(),
        &[],
    );
    let rejected = next(&socket, own()).await;
    assert_eq!(
        rejected.expect_err("a message that is too long must be rejected"),
        "a message that is too long"
    );
    send(
        &socket,
        &[b"READY=1\nX=".as_slice(), &[b'x'; 4086]].concat(),
        &[],
    );
    assert!(
        next(&socket, own())
            .await
            .expect("a message of the maximum length must be accepted")
            .assignments
            .ready
    );
}

/// Waits until every writer of the pipe is closed.
async fn closes(mut reader: std::io::PipeReader) {
    let read = tokio::task::spawn_blocking(move || reader.read(&mut [0; 1]));
    let read = timeout(DEADLINE, read)
        .await
        .expect("the pipe is closed in time")
        .expect("the reading thread must not panic");
    assert_eq!(read.expect("can read from the pipe"), 0);
}

/// Sends a message with two descriptors, and waits until they are closed.
async fn closed_after(text: &[u8]) -> Result<Notification, String> {
    let socket = open();
    let (reader, writer) = std::io::pipe().expect("can create a pipe");
    send(&socket, text, &[writer.as_raw_fd(), writer.as_raw_fd()]);
    drop(writer);
    let result = next(&socket, own()).await;
    closes(reader).await;
    result
}

#[tokio::test]
async fn a_barriers_descriptor_is_closed_on_receipt() {
    let message = closed_after(b"BARRIER=1").await.expect(ACCEPTED);
    assert_eq!((message.assignments.barrier, message.surplus), (true, 0));
}

#[tokio::test]
async fn surplus_descriptors_are_closed_and_the_message_is_accepted() {
    let message = closed_after(b"READY=1").await.expect(ACCEPTED);
    assert_eq!(
        (
            message.assignments.ready,
            message.surplus,
            message.descriptors.len()
        ),
        (true, 2, 0)
    );
}

#[tokio::test]
async fn descriptors_of_a_rejected_message_are_closed() {
    let rejected = closed_after(&[b'x'; 5000]).await;
    assert_eq!(
        rejected.expect_err("a message that is too long must be rejected"),
        "a message that is too long"
    );
}

#[tokio::test]
async fn descriptors_to_store_are_returned() {
    let socket = open();
    let (reader, writer) = std::io::pipe().expect("can create a pipe");
    send(&socket, b"FDSTORE=1\nFDNAME=pipe", &[writer.as_raw_fd()]);
    drop(writer);
    let message = next(&socket, own()).await.expect(ACCEPTED);
    let stored = message
        .descriptors
        .into_iter()
        .next()
        .expect("the message must contain a descriptor");
    std::fs::File::from(stored)
        .write_all(b"x")
        .expect("can write to the stored descriptor");
    closes_after_one_byte(reader).await;
}

/// Reads one byte, and waits until every writer of the pipe is closed.
async fn closes_after_one_byte(mut reader: std::io::PipeReader) {
    let mut all = Vec::new();
    let read = tokio::task::spawn_blocking(move || reader.read_to_end(&mut all).map(|_| all));
    let all = timeout(DEADLINE, read)
        .await
        .expect("the pipe is closed in time")
        .expect("the reading thread must not panic")
        .expect("can read from the pipe");
    assert_eq!(all, b"x");
}

/// Runs a program with the address of the socket in its environment, and reaps it. Returns whether the program is
/// installed.
fn run(socket: &NotifySocket, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let ended = match command
        .args(arguments)
        .env("NOTIFY_SOCKET", socket.env_value())
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            assert!(
                std::env::var("CI").is_err() || program != "python3",
                "`{program}`: {error}"
            );
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: cannot run `{program}`: {error}"
            );
            return false;
        }
    };
    assert!(
        ended.status.success(),
        "`{program}`: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    true
}

#[tokio::test]
async fn a_sender_that_has_exited_is_accepted() {
    let socket = open();
    let script = "import os, socket\na = os.environ['NOTIFY_SOCKET']\n\
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', a.replace('@', chr(0), 1))";
    if run(&socket, "python3", &["-c", script]) {
        let message = next(&socket, Vec::new()).await.expect(ACCEPTED);
        assert!(message.assignments.ready);
    }
}

/// `systemd-notify` waits for its barrier, so the socket must be read while it runs.
#[tokio::test]
async fn systemd_notify_passes_its_barrier() {
    let socket = std::sync::Arc::new(open());
    let sender = std::sync::Arc::clone(&socket);
    let sending = tokio::task::spawn_blocking(move || {
        run(&sender, "systemd-notify", &["--ready", "--status=up"])
    });
    let mut received = Vec::new();
    let serving = async {
        loop {
            // As root, `systemd-notify` sends with the pid of its parent, which is this process; otherwise, with its
            // own pid.
            let tree = || own().into_iter().chain(children()).collect();
            received.push(
                poll_fn(|cx| socket.poll_recv(cx, tree))
                    .await
                    .expect("can read the notify socket")
                    .expect(ACCEPTED)
                    .assignments,
            );
        }
    };
    let sent = tokio::select! {
        sent = sending => sent.expect("the sending thread must not panic"),
        () = serving => unreachable!("the loop never ends"),
        () = tokio::time::sleep(DEADLINE) => panic!("`systemd-notify` is still waiting for its barrier"),
    };
    if sent {
        assert!(
            received[0].ready && received[0].status.as_deref() == Some("up"),
            "{received:?}"
        );
        assert!(received.iter().any(|one| one.barrier), "{received:?}");
    }
}

fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}
