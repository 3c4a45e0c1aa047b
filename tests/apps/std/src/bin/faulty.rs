//! `faulty FAULT[=NUMBER]... [VERSION]`: the same server, with faults to choose from.
//!
//! - `panic`: panics before it takes its socket
//! - `exit=CODE`: ends at once
//! - `hang`: never takes its socket
//! - `late=MS`: takes its socket only after a while
//! - `flood=LINES`: prints that many lines first
//! - `ignore`: ignores every signal that can be ignored
//! - `cleanup=MS`: says `stop signal` for each `SIGTERM`, and ends so long after the first; then it
//!   removes the file that `UNLINK` names
//! - `unix`: takes a unix socket
//!
//! `GET /crash` ends it as a crash would.

use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

const SIGTERM: i32 = 15;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    safe fn signal(number: i32, handler: usize) -> usize;
}

fn main() -> io::Result<()> {
    let mut version = "1".to_owned();
    let mut unix = false;
    for argument in env::args().skip(1) {
        let (name, number) = argument.split_once('=').unwrap_or((&argument, "0"));
        let number = number.parse().unwrap_or(0);
        match name {
            "panic" => panic!("a fault that was asked for"),
            "exit" => process::exit(i32::try_from(number).unwrap_or(1)),
            "hang" => hang(),
            "late" => thread::sleep(Duration::from_millis(number)),
            "flood" => flood(number)?,
            "ignore" => ignore_signals(),
            "cleanup" => clean_up_on_stop(Duration::from_millis(number)),
            "unix" => unix = true,
            _ => argument.clone_into(&mut version),
        }
    }
    if unix {
        let socket = server_std::passed()?.expect("a unix socket is passed");
        return server_std::serve_unix(&UnixListener::from(socket), &version);
    }
    let listener = server_std::listener()?;
    println!("serving {version}");
    server_std::serve(&listener, &version, crash_if_asked)
}

fn crash_if_asked(target: &str) {
    if target == "/crash" {
        process::abort();
    }
}

fn hang() {
    println!("hanging");
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn flood(lines: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    (1..=lines).try_for_each(|n| writeln!(out, "line {n} of {lines}"))
}

/// All but `SIGKILL` and `SIGSTOP`, which can't be, and those of a fault of our own.
fn ignore_signals() {
    const KEEP: [i32; 6] = [4, 7, 8, 9, 11, 19];
    for number in (1..=64).filter(|number| !KEEP.contains(number)) {
        signal(number, SIG_IGN);
    }
}

/// How many stop signals have arrived.
static STOPS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_stop(_: i32) {
    STOPS.fetch_add(1, Ordering::Relaxed);
}

fn clean_up_on_stop(takes: Duration) {
    signal(SIGTERM, count_stop as *const () as usize);
    thread::spawn(move || {
        let mut told = 0;
        let mut first = None;
        while first.is_none_or(|at: Instant| at.elapsed() < takes) {
            thread::sleep(Duration::from_millis(5));
            let arrived = STOPS.load(Ordering::Relaxed);
            for n in told..arrived {
                println!("stop signal {}", n + 1);
                first.get_or_insert_with(Instant::now);
            }
            told = arrived;
        }
        if let Some(path) = env::var_os("UNLINK") {
            let _ = fs::remove_file(path);
        }
        println!("cleaned up");
        process::exit(0);
    });
}
