//! Tests the interception of system calls.

mod measure;
mod programs;
mod replies;
mod side_effects;
mod writes;

use std::io::PipeWriter;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use hotrun::os::seccomp::{self, Call, InterceptedCalls, Next, Reply, Syscall};
use hotrun::process::Spec;

use crate::support::*;

/// Starts a program and intercepts its calls.
pub(crate) async fn start(mut spec: Spec) -> (Running, InterceptedCalls) {
    let (here, there) = seccomp::channel().unwrap();
    spec.intercept = Some(there);
    let mut running = Running::start(spec);
    let calls = tokio::task::spawn_blocking(|| InterceptedCalls::accept(here));
    let calls = within_deadline("receiving the listener", calls).await;
    let calls = calls.unwrap().unwrap().unwrap();
    running.started().await;
    (running, calls)
}

fn python_spec(mark: &Mark, script: &str) -> Spec {
    spec(mark, &["python3", "-uc", script])
}

/// A thread that replies to calls until every caller is gone, or until the `Replier` is dropped.
pub(crate) struct Replier {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Vec<Call>>>,
}

impl Replier {
    pub(crate) fn start(
        calls: InterceptedCalls,
        mut answer: impl FnMut(&InterceptedCalls, &Call) -> Reply + Send + 'static,
    ) -> Self {
        let (stopped, stop) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Next::Call(call) = calls.next(&[&stopped], None).unwrap() {
                let answer = answer(&calls, &call);
                calls.reply(call.id, answer).unwrap();
                seen.push(call);
            }
            seen
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Waits until every process that could make a call is gone, and returns the calls.
    async fn ended(mut self) -> Vec<Call> {
        let thread = self.thread.take().unwrap();
        let seen = tokio::task::spawn_blocking(|| thread.join().unwrap());
        within_deadline("waiting for the callers to exit", seen)
            .await
            .unwrap()
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the next call without replying.
async fn next(calls: InterceptedCalls) -> (InterceptedCalls, Next) {
    let next = tokio::task::spawn_blocking(move || {
        let (stopped, stop) = std::io::pipe().unwrap();
        let next = calls.next(&[&stopped], None).unwrap();
        drop(stop);
        (calls, next)
    });
    within_deadline("waiting for a call", next).await.unwrap()
}

async fn next_call(calls: InterceptedCalls) -> (InterceptedCalls, Call) {
    match next(calls).await {
        (calls, Next::Call(call)) => (calls, call),
        (_, other) => panic!("no call arrived: {other:?}"),
    }
}

/// Duplicates the socket of a call.
fn socket_of(call: &Call) -> std::io::Result<OwnedFd> {
    match call.syscall {
        Syscall::Bind { fd, .. } | Syscall::Listen { fd, .. } | Syscall::Connect { fd, .. } => {
            seccomp::descriptor_of(call.thread, fd)
        }
        Syscall::Write(_) => panic!("unexpected: {call:?}"),
    }
}

/// The address argument of a `bind`.
fn address_of(call: &Call) -> Vec<u8> {
    let Syscall::Bind {
        address, length, ..
    } = call.syscall
    else {
        panic!("not a `bind` call: {call:?}");
    };
    seccomp::read_memory(call.thread, address, length as usize).unwrap()
}

/// Encodes an address as a `struct sockaddr_in`.
fn bytes_of(address: SocketAddrV4) -> Vec<u8> {
    let mut bytes = Vec::from((libc::AF_INET as u16).to_ne_bytes());
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(address.ip().octets());
    bytes.extend([0; 8]);
    bytes
}

fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}
