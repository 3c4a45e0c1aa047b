//! Tests programs that are hard to intercept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hotrun::os::seccomp::{self, Reply, Syscall};
use tempfile::TempDir;

use super::*;
use crate::support::*;

fn compile(compiler: &mut Command) {
    let output = compiler.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler:?}: {errors}");
}

fn run_spec(mark: &Mark, program: &Path) -> Spec {
    spec(mark, &[program.to_str().unwrap()])
}

/// A Go program that binds 200 times from a thread that is not the leader, while another goroutine keeps sending Go's
/// preemption signal to every thread.
const GO: &str = r#"package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

func init() { runtime.LockOSThread() }

func signals(stop chan bool) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			syscall.Tgkill(os.Getpid(), tid, syscall.SIGURG)
		}
	}
}

func listens(done chan error) {
	runtime.LockOSThread()
	for i := 0; i < 200; i++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			done <- err
			return
		}
		listener.Close()
	}
	done <- nil
}

func main() {
	stop, done := make(chan bool), make(chan error)
	go signals(stop)
	go listens(done)
	err := <-done
	close(stop)
	fmt.Println(os.Getpid(), err)
}
"#;

fn go_program(directory: &TempDir) -> PathBuf {
    let source = directory.path().join("main.go");
    let program = directory.path().join("binds");
    fs::write(&source, GO).unwrap();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    compile(
        Command::new("go")
            .args(["build", "-o"])
            .args([&program, &source])
            .env("CGO_ENABLED", "0")
            .env("GO111MODULE", "off")
            .env("GOCACHE", target.with_file_name("apps").join("go")),
    );
    program
}

#[tokio::test]
async fn calls_from_any_go_thread_are_intercepted_despite_many_signals() {
    if !installed_or_skip("go", "version") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = go_program(&directory);
    let mark = Mark::new();
    let (mut running, calls) = start(run_spec(&mark, &program)).await;
    let replier = Replier::start(calls, |calls, call| {
        // Only a fatal signal can interrupt the caller, no matter how long the reply takes.
        std::thread::sleep(Duration::from_micros(500));
        let socket = socket_of(call);
        assert!(calls.is_pending(call));
        assert!(hotrun::os::cookie(&socket.unwrap()).is_ok());
        Reply::Continue
    });
    let line = running.line().await;
    let (pid, error) = line.split_once(' ').unwrap();
    assert_eq!(error, "<nil>");
    let seen = replier.ended().await;
    let leader: i32 = pid.parse().unwrap();
    assert!(seen.iter().all(|call| call.thread != leader), "{leader}");
    let counted =
        |wanted: fn(&Syscall) -> bool| seen.iter().filter(|call| wanted(&call.syscall)).count();
    assert_eq!(counted(|what| matches!(what, Syscall::Listen { .. })), 200);
    // Go's network library also binds two sockets at the start, to find out what the network supports.
    assert!(counted(|what| matches!(what, Syscall::Bind { .. })) >= 200);
}

/// A C program that makes calls through the i386 table (`int 0x80`), which a 64-bit program can also use, then with x32
/// numbers, and then natively.
const TABLES: &str = r#"
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static struct sockaddr_in at = {.sin_family = AF_INET};
static int i386(int number, long a, long b, long c) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
int main(void) {
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = i386(359, AF_INET, SOCK_STREAM, 0);
    int bound = i386(361, fd, (long)&at, sizeof at);
    printf("%d %d\n", bound, i386(363, fd, 5, 0));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    long x32 = syscall(0x40000000 + 49, fd, &at, sizeof at);
    printf("%s\n", x32 == 0 ? "bound" : "no x32");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("%d\n", bind(fd, (struct sockaddr *)&at, sizeof at));
    return 0;
}
"#;

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_through_other_system_call_tables_are_not_intercepted() {
    if !installed_or_skip("cc", "--version") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, program) = (
        directory.path().join("tables.c"),
        directory.path().join("tables"),
    );
    fs::write(&source, TABLES).unwrap();
    // Without PIE, the program's data has 32-bit addresses.
    compile(
        Command::new("cc")
            .args(["-no-pie", "-fno-pie", "-o"])
            .args([&program, &source]),
    );
    let mark = Mark::new();
    let (mut running, calls) = start(run_spec(&mark, &program)).await;
    let replier = Replier::start(calls, |_, _| Reply::Continue);
    let lines = running.rest().await;
    if lines.is_empty() {
        eprintln!("SKIPPED: this kernel does not support 32-bit calls");
        return;
    }
    assert_eq!([&lines[0], &lines[2]], ["0 0", "0"], "{lines:?}");
    let seen = replier.ended().await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(matches!(seen[0].syscall, Syscall::Bind { .. }));
}

/// A Python program with a thread that has its own descriptor table: descriptor 50 is a different file in the leader.
const OWN_FILES: &str = "import ctypes, os, socket, threading
s = socket.socket()
def bind():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    own = socket.socket()
    os.dup2(own.fileno(), 50)
    socket.socket(fileno=50).bind(('127.0.0.1', 0))
    print('bound')
os.dup2(0, 50)
t = threading.Thread(target=bind)
t.start()
t.join()
";

#[tokio::test]
async fn the_descriptor_of_the_calling_thread_is_duplicated() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let (mut running, calls) = start(python_spec(&mark, OWN_FILES)).await;
    let replier = Replier::start(calls, |_, call| {
        let Syscall::Bind { fd, .. } = call.syscall else {
            panic!("{call:?}");
        };
        assert_eq!(fd, 50);
        let socket = seccomp::descriptor_of(call.thread, fd).unwrap();
        // Before Linux 6.9 (see `descriptor_of`), the duplicate refers to the leader's file, which is the null device.
        let own = hotrun::os::cookie(&socket).is_ok();
        assert_eq!(own, kernel() >= (6, 9));
        Reply::Continue
    });
    assert_eq!(running.line().await, "bound");
    assert_eq!(replier.ended().await.len(), 1);
}

fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || parts.next().unwrap().parse().unwrap();
    (number(), number())
}

const MANY: &str = "import socket, time
began = time.monotonic()
for _ in range(1000):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
print(time.monotonic() - began)
";

async fn seconds_without_interception(script: &str) -> f64 {
    let mark = Mark::new();
    let mut running = Running::start(python_spec(&mark, script));
    running.started().await;
    running.line().await.parse().unwrap()
}

/// Returns the best time of several attempts, and the limit for it, in seconds. The limit is one second or, on a busy
/// machine, three times the duration without interception.
async fn best_of(script: &str, expected: usize) -> (f64, f64) {
    let (mut best, mut limit) = (f64::INFINITY, 1.0_f64);
    for _ in 0..5 {
        let mark = Mark::new();
        let (mut running, calls) = start(python_spec(&mark, script)).await;
        let replier = Replier::start(calls, |_, call| {
            drop(socket_of(call).unwrap());
            Reply::Continue
        });
        best = best.min(running.line().await.parse().unwrap());
        assert_eq!(replier.ended().await.len(), expected);
        if best < limit {
            break;
        }
        limit = limit.max(3.0 * seconds_without_interception(script).await);
    }
    (best, limit)
}

#[tokio::test]
async fn a_thousand_binds_take_less_than_a_second() {
    if python_or_skip() {
        let (seconds, limit) = best_of(MANY, 1000).await;
        println!("1000 binds: {seconds:.3} s");
        assert!(seconds < limit, "took {seconds} s, limit {limit} s");
    }
}

const CHILDREN: &str = "import os, socket, time
began = time.monotonic()
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        socket.socket().bind(('127.0.0.1', 0))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
print(time.monotonic() - began)
";

#[tokio::test]
async fn a_hundred_children_that_bind_and_exit_take_less_than_a_second() {
    if python_or_skip() {
        let (seconds, limit) = best_of(CHILDREN, 100).await;
        println!("100 children: {seconds:.3} s");
        assert!(seconds < limit, "took {seconds} s, limit {limit} s");
    }
}

/// A Python program that kills each of its children while the child waits for a reply, and calls `bind` in between.
const KILLED: &str = "import os, signal, socket
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        socket.socket().bind(('127.0.0.1', 0))
        os._exit(0)
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] in (0, signal.SIGKILL)
    socket.socket().bind(('127.0.0.1', 0))
print('done')
";

#[tokio::test]
async fn a_child_that_is_killed_during_a_call_does_not_block_others() {
    if !python_or_skip() {
        return;
    }
    let mark = Mark::new();
    let began = Instant::now();
    let (mut running, calls) = start(python_spec(&mark, KILLED)).await;
    let replier = Replier::start(calls, |calls, call| {
        let reached = socket_of(call);
        assert!(reached.is_ok() || !calls.is_pending(call), "{reached:?}");
        Reply::Continue
    });
    assert_eq!(running.line().await, "done");
    assert!(replier.ended().await.len() >= 50);
    assert!(began.elapsed() < DEADLINE);
}
