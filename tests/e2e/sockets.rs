//! What the program gets, and what its clients see.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::harness::{PATIENCE, Project, Run, apps, http, say, until};

/// Lets this process, and so those that it starts, open as many files as it may.
fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit one may");
}

#[test]
fn hc28_a_thousand_in_flight_and_new_ones_all_the_time() {
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
    let fresh = thread::spawn(move || (0..1000).map(|_| dial_and_ask(address)).collect());
    project.swap(&pair.v2);
    run.live();
    let cut = in_flight
        .into_iter()
        .filter_map(|stream| http::finish(stream).err());
    let cut: Vec<_> = cut.map(|failure| failure.to_string()).collect();
    assert!(cut.is_empty(), "{} of 1000: {:?}", cut.len(), cut.first());
    let fresh: Result<Vec<_>, _> = fresh.join().expect("no panic");
    let dials = fresh.unwrap_or_else(|failure| panic!("a new connection: {failure}"));
    let worst = dials.iter().max().expect("there are some");
    say(&format!(
        "1,000 in flight, 1,000 new, one reload: worst connect {worst:.1?}"
    ));
    assert!(*worst < Duration::from_secs(1), "a stall of {worst:?}");
    run.quit();
}

/// How long the connection took to be made, a matter of the kernel and of the length of its queue
/// alone: a queue that is full drops the first packet, and the client tries again after one second.
fn dial_and_ask(to: SocketAddr) -> Result<Duration, http::Failure> {
    let began = Instant::now();
    let stream = TcpStream::connect(to).map_err(http::Failure::Connect)?;
    let dialled = began.elapsed();
    http::ask(stream, "/").map(|_| dialled)
}

#[test]
fn hc29_a_taken_port_is_said_with_who_has_it() {
    let project = Project::new();
    project.server("one");
    let ours = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = ours.local_addr().expect("it is bound").to_string();
    let (code, told) = project.run().listen_on(&address).output();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&address), "{told}");
    assert!(
        told.contains(&std::process::id().to_string()),
        "our pid in: {told}"
    );
    project.untouched(&["start"]);
}

#[test]
fn hc29_another_hotrun_is_no_exception() {
    let (one, other) = (Project::new(), Project::new());
    one.server("one");
    other.server("other");
    let mut run = one.run().listen().spawn();
    run.live();
    let (code, told) = other.run().listen_on(&run.address().to_string()).output();
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains(&run.pid().to_string()),
        "the pid of the other hotrun in: {told}"
    );
    assert!(run.get("/").ends_with("version one\n"));
    run.quit();
}

#[test]
fn hc30_leaked_descriptors_reach_nobody() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let leaking = "exec 3</dev/null 4</dev/null 7</dev/null; exec \"$0\" \"$@\"";
    let run = Run::through(&project, leaking)
        .listen()
        .program(["./server"]);
    let mut run = run.spawn();
    run.live();
    let pid = run.pid_of(1);
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours");
    let names = entries.map(|entry| entry.expect("it is ours").file_name());
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
fn hc31_behind_a_wrapper_that_forks_listen_pid_is_left_out() {
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
fn hc33_a_unix_socket_is_there_all_the_time_and_gone_at_the_end() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix v1");
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    let stop = Arc::new(AtomicBool::new(false));
    let client = {
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        thread::spawn(move || ask_on_and_on(&path, &stop))
    };
    for n in 2..=6 {
        project.faulty(&format!("unix v{n}"));
        assert_eq!(run.live(), n);
        run.gone_is(n - 1);
    }
    stop.store(true, Ordering::Relaxed);
    let asked = client.join().expect("no panic");
    assert!(asked.as_ref().is_ok_and(|asked| *asked > 0), "{asked:?}");
    run.quit();
    assert!(!path.exists(), "the socket file is gone");
}

#[test]
fn hc33_a_unix_socket_that_the_old_one_removes_is_put_back() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix cleanup=0 v1");
    // Each old generation removes the file on its way out, as many servers do.
    let run = project.run().args(["--listen", &unix]).env("UNLINK", &path);
    let mut run = run.spawn();
    run.live();
    for n in 2..=4 {
        project.faulty(&format!("unix cleanup=0 v{n}"));
        assert_eq!(run.live(), n);
        run.gone_is(n - 1);
        let connect = || UnixStream::connect(&path).ok();
        let stream = until("it is back", Duration::from_secs(2), connect);
        let answer = http::ask(stream, "/").expect("it answers");
        assert_eq!(answer, format!("generation {n} version v{n}\n"));
    }
    run.quit();
    assert!(!path.exists(), "the socket file is gone");
}

/// Asks on new connections until it is told to stop; how often, or what went wrong.
fn ask_on_and_on(path: &Path, stop: &AtomicBool) -> Result<usize, String> {
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
fn hc22_a_kill_leaves_no_socket_file_and_a_stale_one_does_not_stop_the_next_run() {
    let project = Project::new();
    let path = project.beside("socket");
    let unix = format!("unix:{}", path.display());
    project.faulty("unix v1");
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    run.killed();
    until(
        "the guardian has put the socket's files away",
        PATIENCE,
        || {
            let beside = fs::read_dir(path.parent()?).ok()?.flatten();
            let names: Vec<_> = beside.map(|entry| entry.file_name()).collect();
            let left = |name: &std::ffi::OsString| {
                name == "socket" || name.to_string_lossy().starts_with(".hotrun-")
            };
            (!names.iter().any(left)).then_some(())
        },
    );
    drop(UnixListener::bind(&path).expect("the folder is ours"));
    let mut run = project.run().args(["--listen", &unix]).spawn();
    run.live();
    let stream = UnixStream::connect(&path).expect("somebody listens");
    let answer = http::ask(stream, "/").expect("it answers");
    assert_eq!(answer, "generation 1 version v1\n");
    run.signal(Signal::SIGTERM);
    run.ended();
    assert_eq!(
        fs::metadata(&path).map_err(|error| error.kind()).err(),
        Some(io::ErrorKind::NotFound)
    );
}
