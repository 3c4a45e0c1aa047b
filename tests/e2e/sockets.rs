//! The `--listen` sockets: what the program gets, and what its clients see.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::harness::{Project, Run, TIMEOUT, apps, http, say, until};

/// Raises the limit on open files to the hard limit, for this process and its children.
fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("can read the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("can raise the limit");
}

#[test]
fn hc28_a_reload_loses_none_of_a_thousand_requests_in_flight() {
    raise_file_limit();
    let project = Project::new();
    let pair = apps::axum();
    project.swap(&pair.v1);
    let mut run = Run::new(&project).listen().program(["./server"]).spawn();
    run.live();
    let address = run.address();
    let in_flight: Vec<TcpStream> = (0..1000)
        .map(|_| http::open(address, "/slow?ms=1500"))
        .collect();
    let fresh = thread::spawn(move || (0..1000).map(|_| connect_and_get(address)).collect());
    project.swap(&pair.v2);
    run.live();
    let failures = in_flight
        .into_iter()
        .filter_map(|stream| http::finish(stream).err());
    let failures: Vec<_> = failures.map(|failure| failure.to_string()).collect();
    assert!(
        failures.is_empty(),
        "{} of 1000 requests in flight failed: {:?}",
        failures.len(),
        failures.first()
    );
    let fresh: Result<Vec<_>, _> = fresh.join().expect("the client has not panicked");
    let connecting = fresh.unwrap_or_else(|failure| panic!("a new connection failed: {failure}"));
    let worst = connecting.iter().max().expect("there were new connections");
    say(&format!(
        "one reload with 1,000 requests in flight and 1,000 new ones: slowest connection attempt {worst:.1?}"
    ));
    assert!(
        *worst < Duration::from_secs(1),
        "the slowest connection attempt took {worst:?}"
    );
    run.quit();
}

/// Connects and sends a request. Returns how long connecting took, which depends only on the kernel: if the accept
/// queue is full, the kernel drops the first packet, and the client tries again after one second.
fn connect_and_get(to: SocketAddr) -> Result<Duration, http::Failure> {
    let began = Instant::now();
    let stream = TcpStream::connect(to).map_err(http::Failure::Connect)?;
    let connected = began.elapsed();
    http::ask(stream, "/").map(|_| connected)
}

#[test]
fn hc29_a_port_in_use_is_reported_with_the_process_that_holds_it() {
    let project = Project::new();
    project.server("one");
    let ours = TcpListener::bind("127.0.0.1:0").expect("can bind a free port");
    let address = ours
        .local_addr()
        .expect("the listener is bound")
        .to_string();
    let (code, output) = project.run().listen_on(&address).output();
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&address), "{output}");
    assert!(
        output.contains(&std::process::id().to_string()),
        "the holder's pid is missing in: {output}"
    );
    project.assert_untouched(&["start"]);
}

#[test]
fn hc29_a_port_held_by_another_hotrun_is_reported_with_that_hotruns_pid() {
    let (one, other) = (Project::new(), Project::new());
    one.server("one");
    other.server("other");
    let mut run = one.run().listen().spawn();
    run.live();
    let (code, output) = other.run().listen_on(&run.address().to_string()).output();
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains(&run.pid().to_string()),
        "the other hotrun's pid is missing in: {output}"
    );
    assert!(run.get("/").ends_with("version one\n"));
    run.quit();
}

#[test]
fn hc30_leaked_descriptors_do_not_reach_the_program() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let leaking = "exec 3</dev/null 4</dev/null 7</dev/null; exec \"$0\" \"$@\"";
    let run = Run::through(&project, leaking)
        .listen()
        .program(["./server"]);
    let mut run = run.spawn();
    run.live();
    let pid = run.pid_of(1);
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("can read the directory");
    let names = entries.map(|entry| entry.expect("can read the entry").file_name());
    let mut open: Vec<_> = names.map(std::ffi::OsString::into_string).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2", "3"].map(|fd| Ok(fd.to_owned())));
    assert!(
        run.get("/").starts_with("generation 1"),
        "descriptor 3 is the socket"
    );
    run.quit();
}

#[test]
fn hc31_a_program_behind_a_forking_wrapper_accepts_the_socket() {
    let project = Project::new();
    let server = apps::std().server.display().to_string();
    project.script("unused");
    let line = format!("'{server}' one; exit 1");
    let mut run = Run::new(&project)
        .listen()
        .program(["sh", "-c", &line])
        .spawn();
    run.live();
    assert_eq!(run.get("/"), "generation 1 version one\n");
    run.quit();
}

#[test]
fn hc33_a_unix_socket_survives_reloads_and_is_removed_when_hotrun_exits() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix v1");
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    let stop = Arc::new(AtomicBool::new(false));
    let client = {
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        thread::spawn(move || request_until(&path, &stop))
    };
    for n in 2..=6 {
        project.faulty(&format!("unix v{n}"));
        assert_eq!(run.live(), n);
        run.wait_until_gone(n - 1);
    }
    stop.store(true, Ordering::Relaxed);
    let asked = client.join().expect("the client has not panicked");
    assert!(asked.as_ref().is_ok_and(|asked| *asked > 0), "{asked:?}");
    run.quit();
    assert!(!path.exists(), "the socket file is gone");
}

#[test]
fn hc33_a_unix_socket_removed_by_the_old_generation_is_restored() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix cleanup=0 v1");
    // Each generation removes the socket file when it exits, as many servers do.
    let run = project.run().args(["--listen", &unix]).env("UNLINK", &path);
    let mut run = run.spawn();
    run.live();
    for n in 2..=4 {
        project.faulty(&format!("unix cleanup=0 v{n}"));
        assert_eq!(run.live(), n);
        run.wait_until_gone(n - 1);
        let connect = || UnixStream::connect(&path).ok();
        let stream = until("the socket is restored", Duration::from_secs(2), connect);
        let answer = http::ask(stream, "/").expect("a response");
        assert_eq!(answer, format!("generation {n} version v{n}\n"));
    }
    run.quit();
    assert!(!path.exists(), "the socket file is gone");
}

/// Sends requests on new connections until `stop` is set. Returns the number of requests, or the first failure.
fn request_until(path: &Path, stop: &AtomicBool) -> Result<usize, String> {
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let stream = UnixStream::connect(path).map_err(http::Failure::Connect);
        let answer = stream.and_then(|stream| http::ask(stream, "/"));
        answer.map_err(|failure| format!("request {asked}: {failure}"))?;
        asked += 1;
    }
    Ok(asked)
}

#[test]
fn hc22_a_killed_hotrun_leaves_no_socket_file_behind_and_a_stale_one_is_replaced() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix v1");
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    run.kill_and_check();
    until("the guardian has removed the socket files", TIMEOUT, || {
        let beside = fs::read_dir(path.parent()?).ok()?.flatten();
        let names: Vec<_> = beside.map(|entry| entry.file_name()).collect();
        let left = |name: &std::ffi::OsString| {
            name == "socket" || name.to_string_lossy().starts_with(".hotrun-")
        };
        (!names.iter().any(left)).then_some(())
    });
    drop(UnixListener::bind(&path).expect("can bind the path"));
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    let stream = UnixStream::connect(&path).expect("can connect");
    let answer = http::ask(stream, "/").expect("a response");
    assert_eq!(answer, "generation 1 version v1\n");
    run.signal(Signal::SIGTERM);
    run.wait_for_exit();
    assert_eq!(
        fs::metadata(&path).map_err(|error| error.kind()).err(),
        Some(io::ErrorKind::NotFound)
    );
}
