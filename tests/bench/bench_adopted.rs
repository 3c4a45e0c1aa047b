//! Measures the cost of adoption for the program: none once it is listening, and little while it opens its sockets.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::harness::{
    BUILD_TIMEOUT, Project, Run, Running, app_builds, apps, http, say, skip, until,
};

/// The number of process pairs. Several are needed because the memory layout of a process affects its speed.
const ROUNDS: usize = 10;
/// The number of one-second measurements per pair. Their median is used.
const SLICES: usize = 3;
/// The tolerance for the cost of a seccomp filter in the kernel, which differs between machines.
const MACHINE_TOLERANCE: f64 = 0.01;

/// Builds the first example in axum's documentation in release mode. The server reads its port from `PORT`.
fn server() -> PathBuf {
    let dir = app_builds().join("bench-axum");
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let text = std::fs::read_to_string(apps::sources("hello-axum").join(file));
        let text = text.expect("can read the app's source files");
        let text = text.replace("\"hello-axum\"", "\"bench-axum\"").replace(
            "\"0.0.0.0:3000\"",
            "(\"127.0.0.1\", std::env::var(\"PORT\").unwrap().parse::<u16>().unwrap())",
        );
        let end = if file == "Cargo.toml" {
            "\n[workspace]\n"
        } else {
            ""
        };
        apps::write_if_other(&dir.join(file), &(text + end));
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--release"])
        .current_dir(&dir);
    let built = cargo.env("CARGO_TARGET_DIR", apps::target_dir()).status();
    assert!(built.expect("can start cargo").success());
    apps::target_dir().join("release/bench-axum")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("can bind a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

/// Two processes that run the same program at the same time: one without hotrun, and one under hotrun.
struct ProcessPair {
    bare: Child,
    bare_at: SocketAddr,
    hotrun: Running,
    program: Pid,
    _project: Project,
}

impl ProcessPair {
    fn start(server: &Path) -> Self {
        let (bare_at, at, project) = (free_address(), free_address(), Project::new());
        let port = |address: SocketAddr| address.port().to_string();
        // The bare program runs in this session, as does the program under hotrun when there is no terminal. Linux
        // divides processor time among sessions first (`sched(7)`, "The autogroup feature").
        let bare = Command::new(server)
            .env("PORT", port(bare_at))
            .stdin(Stdio::null())
            .spawn();
        let run = Run::new(&project).opens(at).env("PORT", port(at));
        let mut hotrun = run.program([server]).spawn();
        let generation = hotrun.live();
        let program = hotrun.pid_of(generation);
        for address in [bare_at, at] {
            until("the server responds", BUILD_TIMEOUT, || {
                http::get(address, "/").ok()
            });
        }
        Self {
            bare: bare.expect("can start the server"),
            bare_at,
            hotrun,
            program: Pid::from_raw(i32::try_from(program).expect("a pid fits in an `i32`")),
            _project: project,
        }
    }

    /// Returns two ratios: the requests per second of processor time under hotrun, divided by those without hotrun. The
    /// first ratio includes the processor time of client, server and hotrun; the second one excludes the client.
    ///
    /// Both servers get requests at the same time on one processor, so other work on the machine affects both. The
    /// scheduler decides how many requests each server answers, but not how much processor time a request takes.
    fn share(&mut self, client: &[&str]) -> (f64, f64) {
        let (bare, under) = ([pid(&self.bare)], [self.program, self.hotrun.pid()]);
        let before = (cpu_nanos(&bare), cpu_nanos(&under));
        let clients = [self.bare_at, self.hotrun.address()].map(|to| start_client(client, to));
        let [bare_client, client] = clients.map(finish);
        let (bare, under) = (cpu_nanos(&bare) - before.0, cpu_nanos(&under) - before.1);
        let more = client.requests / bare_client.requests;
        let all = more * (bare + bare_client.cpu_nanos) / (under + client.cpu_nanos);
        (all, more * bare / under)
    }

    fn end(mut self) {
        self.bare.kill().expect("can kill the server");
        self.bare.wait().expect("can wait for the server");
        self.hotrun.quit();
    }
}

/// The processor time of these processes with all their threads, in nanoseconds.
fn cpu_nanos(pids: &[Pid]) -> f64 {
    let ran = pids.iter().map(|pid| {
        let clock = clock_getcpuclockid(*pid).and_then(ClockId::now);
        clock.expect("the process is running").num_nanoseconds() as f64
    });
    ran.sum()
}

/// The processor time of all children that this process has waited for, in nanoseconds.
fn children_cpu_nanos() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("can read the resource usage");
    let [user, system] =
        [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    (user + system) as f64 * 1e3
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid fits in an `i32`"))
}

/// The last processor that this process may run on.
fn last_processor() -> CpuSet {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("can read the affinity");
    let mut all = (0..CpuSet::count()).rev();
    let found = all.find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut last = CpuSet::new();
    last.set(found.expect("the affinity mask contains a processor"))
        .expect("the processor number is valid");
    last
}

/// Pins each thread of this process to one processor. This is done after the start, because the number of threads that
/// a program starts depends on the number of processors.
fn pin(processor: &CpuSet, pid: Pid) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is running");
    for thread in threads {
        let name = thread.expect("can list the threads").file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok());
        let thread = Pid::from_raw(thread.expect("a thread's directory is named by its id"));
        sched_setaffinity(thread, processor).expect("can pin to the processor");
    }
}

/// Runs `measure` in a thread that is pinned to this processor, as are the processes that it starts.
fn pinned<T: Send>(processor: &CpuSet, measure: impl FnOnce() -> T + Send) -> T {
    let measure = || {
        sched_setaffinity(Pid::from_raw(0), processor).expect("can pin to the processor");
        measure()
    };
    thread::scope(|scope| scope.spawn(measure).join()).expect("the measurement does not panic")
}

#[derive(Default)]
struct Shares(Vec<f64>);

impl Shares {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        self.sorted()[self.0.len() / 2]
    }

    /// The 95 % confidence interval of the median for any distribution (sign test).
    fn interval(&self) -> (f64, f64) {
        let (sorted, count) = (self.sorted(), self.0.len() as f64);
        let cut = (count / 2.0 - 0.98 * count.sqrt()).floor().max(0.0) as usize;
        (sorted[cut], sorted[sorted.len() - 1 - cut])
    }

    fn summary(&self) -> String {
        let (least, most) = self.interval();
        format!("{:.4} (95 %: {least:.4} to {most:.4})", self.median())
    }
}

/// Prints the result. Fails only if the whole confidence interval is below the limit.
fn judge(what: &str, (all, servers): &(Shares, Shares), aim: f64) {
    let reached = all.median() >= aim;
    let verdict = if reached { "reached" } else { "missed" };
    say(&format!(
        "throughput under hotrun relative to bare, {what}: {}, {ROUNDS} pairs, target at least {aim}: {verdict}; without \
         the client's time: {}",
        all.summary(),
        servers.summary()
    ));
    let least = aim - MACHINE_TOLERANCE;
    assert!(
        all.interval().1 >= least,
        "{what}: below {least} with 95 % confidence"
    );
}

/// The number of requests that a client counted, and its processor time.
struct ClientRun {
    requests: f64,
    cpu_nanos: f64,
}

fn start_client(client: &[&str], to: SocketAddr) -> Child {
    let mut command = Command::new(client[0]);
    let command = command.args(&client[1..]).arg(format!("http://{to}/"));
    let child = command.stdout(Stdio::piped()).spawn();
    child.expect("can start the client")
}

/// Waits for `wrk` or `hey`, and reads its output. The caller must not wait for another child at the same time.
fn finish(client: Child) -> ClientRun {
    let before = children_cpu_nanos();
    let output = client.wait_with_output().expect("can wait for the client");
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |label: &str| {
        let mut lines = text.lines().map(str::trim);
        let rest = lines.find_map(|line| line.strip_prefix(label))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let before_label = |label: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.split_once(label)?.0.trim().parse().ok())
    };
    let requests: Option<f64> = before_label(" requests in").or_else(|| after("[200]"));
    ClientRun {
        requests: requests.unwrap_or_else(|| panic!("{text}")),
        cpu_nanos: children_cpu_nanos() - before,
    }
}

fn installed_or_skip(program: &str) -> bool {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let found = quiet.status().is_ok();
    if !found {
        skip(&format!("`{program}` is not installed"));
    }
    found
}

const WRK: &[&str] = &["wrk", "-t1", "-c16", "-d1s"];
const HEY: &[&str] = &["hey", "-disable-keepalive", "-z", "1s", "-c", "16"];

#[test]
#[ignore = "a benchmark: run it alone, with optimizations"]
fn an_adopted_program_keeps_its_throughput() {
    if !installed_or_skip("wrk") || !installed_or_skip("hey") {
        return;
    }
    let server = server();
    let (mut wrk, mut hey) = <[(Shares, Shares); 2]>::default().into();
    let one = last_processor();
    for _ in 0..ROUNDS {
        let mut pair = ProcessPair::start(&server);
        pin(&one, pid(&pair.bare));
        pin(&one, pair.program);
        for (shares, client) in [(&mut wrk, WRK), (&mut hey, HEY)] {
            let slices = || {
                pair.share(client);
                let (all, servers) = (0..SLICES).map(|_| pair.share(client)).unzip();
                (Shares(all).median(), Shares(servers).median())
            };
            let (all, server) = pinned(&one, slices);
            shares.0.0.push(all);
            shares.1.0.push(server);
        }
        pair.end();
    }
    judge("`wrk`, keep-alive", &wrk, 0.99);
    judge("`hey`, a new connection for each request", &hey, 0.98);
}

/// Binds and listens on many ports, and prints the median and the 99th percentile of each call in microseconds. For
/// comparison, `ask` measures a round trip to another process, which takes the same number of context switches.
const OPENS: &str = "
import os, socket, sys, time
port = int(os.environ['PORT'])
def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6
here, there = socket.socketpair()
if os.fork() == 0:
    here.close()
    while there.recv(1): there.send(b'.')
    os._exit(0)
there.close()
def ask():
    here.send(b'.')
    here.recv(1)
kept, binds, listens, asks = [], [], [], []
def median(all): return sorted(all)[len(all) // 2]
while len(kept) < 3000:
    s = socket.socket()
    port = port + 1 if port < 60000 else 10000
    asks.append(timed(ask))
    try: took = timed(lambda: s.bind(('127.0.0.1', port)))
    except OSError: continue
    binds.append(took)
    asks.append(timed(ask))
    listens.append(timed(lambda: s.listen(100)))
    kept.append(s)
for name, all in ('ask', asks), ('bind', binds), ('listen', listens):
    last = all[-200:]
    all = sorted(all[:200])
    print(name, round(median(all)), round(all[len(all) * 99 // 100]), round(median(last)), flush=True)
time.sleep(1000)
";

#[test]
#[ignore = "a benchmark: run it alone, with optimizations"]
fn bind_and_listen_of_an_adopted_program_are_fast() {
    let python = "/usr/bin/python3";
    if !installed_or_skip(python) {
        return;
    }
    let project = Project::new();
    project.save("app.py", OPENS);
    let run = Run::new(&project).env("PORT", free_address().port().to_string());
    let mut run = run.program([python, "app.py"]).spawn();
    // A machine that is busy slows the round trip down, too.
    let (mut limit, mut slowdown) = (300, 1);
    for call in ["ask", "bind", "listen"] {
        let event = run.expect_that(call, BUILD_TIMEOUT, |event| {
            event.is("output") && event.text("text").starts_with(call)
        });
        let numbers = event.text("text").split(' ').skip(1);
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        let [median, most, last] = numbers[..] else {
            panic!("{event}");
        };
        let what = match call {
            "ask" => "a round trip to another process, without hotrun".to_owned(),
            _ => format!("a `{call}` under hotrun (target: under 300 µs)"),
        };
        say(&format!(
            "{what}: median {median} µs, 99 % within {most} µs; of the last 200 of 3,000: {last} µs"
        ));
        if call == "ask" {
            (limit, slowdown) = (limit.max(20 * median), slowdown.max(last.div_ceil(median)));
            continue;
        }
        assert!(median < limit, "{call}: {median} µs, limit {limit} µs");
        assert!(
            last < 5 * slowdown * median,
            "{call}: the cost grows with the number of sockets"
        );
    }
    run.quit();
}
