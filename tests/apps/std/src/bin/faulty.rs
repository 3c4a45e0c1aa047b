//! `faulty FAULT[=NUMBER]... [VERSION]`: the same server, with faults to choose from:
//!
//! - `panic`: panics before it takes its socket
//! - `exit=CODE`: exits at once
//! - `hang`: never takes its socket
//! - `late=MS`: takes its socket only after this time
//! - `flood=LINES`: prints this many lines first
//! - `ignore`: ignores every signal that can be ignored
//! - `cleanup=MS`: prints `stop signal` for each `SIGTERM`; this long after the first one, it
//!   removes the file that `UNLINK` names, and exits
//! - `unix`: takes a unix socket
//! - `raise=SIGNAL`: sends itself this signal
//! - `say=TEXT`: sends this text to `NOTIFY_SOCKET`; `\n` stands for a newline
//! - `few=COUNT`: serves this many connections, closes its socket, and keeps running
//! - `brief=MS`: exits with status 4 this long after its first request
//!
//! `GET /crash` aborts it, `/exit` makes it exit with status 0, `/up` sends `SIGTERM` to its parent's parent.

use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

const SIGTERM: i32 = 15;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    safe fn signal(number: i32, handler: usize) -> usize;
    safe fn raise(number: i32) -> i32;
    safe fn kill(pid: i32, number: i32) -> i32;
}

fn main() -> io::Result<()> {
    let mut version = "1".to_owned();
    let mut unix = false;
    let mut few = None;
    for argument in env::args().skip(1) {
        let (name, number) = argument.split_once('=').unwrap_or((&argument, "0"));
        let number = number.parse().unwrap_or(0);
        match name {
            "panic" => panic!("an injected fault"),
            "exit" => process::exit(i32::try_from(number).unwrap_or(1)),
            "hang" => hang(),
            "late" => thread::sleep(Duration::from_millis(number)),
            "flood" => flood(number)?,
            "ignore" => ignore_signals(),
            "cleanup" => clean_up_on_stop(Duration::from_millis(number)),
            "unix" => unix = true,
            "raise" => drop(raise(i32::try_from(number).unwrap_or(0))),
            "say" => say(&argument[4..])?,
            "few" => few = Some(number),
            "brief" => BRIEF.store(number, Ordering::Relaxed),
            _ => argument.clone_into(&mut version),
        }
    }
    if unix {
        let socket = server_std::passed()?.expect("a unix socket is passed");
        return server_std::serve_unix(&UnixListener::from(socket), &version);
    }
    let listener = server_std::listener()?;
    println!("serving {version}");
    let Some(few) = few else {
        return server_std::serve(&listener, &version, inject_fault);
    };
    server_std::serve_some(&listener, few, &version)?;
    drop(listener);
    println!("closed");
    hang();
    Ok(())
}

/// How many milliseconds after its first request the program exits. 0 means that it does not exit.
static BRIEF: AtomicU64 = AtomicU64::new(0);

fn inject_fault(target: &str) {
    let brief = BRIEF.swap(0, Ordering::Relaxed);
    if brief > 0 {
        end_soon(Duration::from_millis(brief));
    }
    match target {
        "/crash" => process::abort(),
        "/exit" => process::exit(0),
        "/up" => terminate_grandparent(),
        _ => {}
    }
}

/// The parent is a guardian, and its parent is hotrun.
fn terminate_grandparent() {
    let stat = fs::read_to_string(format!("/proc/{}/stat", parent_id())).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let parent = fields.split_whitespace().nth(1);
    if let Some(Ok(pid)) = parent.map(str::parse) {
        kill(pid, SIGTERM);
    }
}

/// Sends a notification, as `sd_notify(3)` does.
fn say(text: &str) -> io::Result<()> {
    let address = env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let name = address.trim_start_matches('@');
    let to = match address.starts_with('@') {
        true => SocketAddr::from_abstract_name(name)?,
        false => SocketAddr::from_pathname(name)?,
    };
    let text = text.replace("\\n", "\n");
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &to)?;
    Ok(())
}

fn end_soon(after: Duration) {
    thread::spawn(move || {
        thread::sleep(after);
        process::exit(4);
    });
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

/// Ignores all signals except `SIGKILL` and `SIGSTOP`, which can't be ignored, and those that report a program error.
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
        let mut printed = 0;
        let mut first = None;
        while first.is_none_or(|at: Instant| at.elapsed() < takes) {
            thread::sleep(Duration::from_millis(5));
            let arrived = STOPS.load(Ordering::Relaxed);
            for n in printed..arrived {
                println!("stop signal {}", n + 1);
                first.get_or_insert_with(Instant::now);
            }
            printed = arrived;
        }
        if let Some(path) = env::var_os("UNLINK") {
            let _ = fs::remove_file(path);
        }
        println!("cleaned up");
        process::exit(0);
    });
}
