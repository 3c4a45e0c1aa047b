//! What adoption costs the program: nothing once it listens, and little while it begins to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::harness::{BUILD_PATIENCE, Project, Run, Running, apps, http, kept, say, skip, until};

/// So many pairs of processes: where the system puts what they have in memory makes a difference of its own. Of each the
/// median of so many measures counts, a second each.
const ROUNDS: usize = 10;
const SLICES: usize = 3;
/// How much what the kernel asks for a filter differs from one machine to another.
const MACHINE: f64 = 0.01;

/// The first example of axum's documentation, built as for production, on the port that `PORT` says.
fn server() -> PathBuf {
    let dir = kept().join("bench-axum");
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let text = std::fs::read_to_string(apps::sources("hello-axum").join(file));
        let text = text.expect("the app has these files");
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
    assert!(built.expect("cargo can be started").success());
    apps::target_dir().join("release/bench-axum")
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    listener.local_addr().expect("it is bound")
}

/// The same program twice, at the same time: bare, and under hotrun.
struct Pair {
    bare: Child,
    bare_at: SocketAddr,
    hotrun: Running,
    program: Pid,
    _project: Project,
}

impl Pair {
    fn start(server: &Path) -> Self {
        let (bare_at, at, project) = (free(), free(), Project::new());
        let port = |address: SocketAddr| address.port().to_string();
        // In this session, as the program under hotrun is without a terminal: Linux shares the processors out by
        // session first (`sched(7)`, "The autogroup feature").
        let bare = Command::new(server)
            .env("PORT", port(bare_at))
            .stdin(Stdio::null())
            .spawn();
        let run = Run::new(&project).opens(at).env("PORT", port(at));
        let mut hotrun = run.program([server]).spawn();
        let generation = hotrun.live();
        let program = hotrun.pid_of(generation);
        for address in [bare_at, at] {
            until("it answers", BUILD_PATIENCE, || {
                http::get(address, "/").ok()
            });
        }
        Self {
            bare: bare.expect("the server can be started"),
            bare_at,
            hotrun,
            program: Pid::from_raw(i32::try_from(program).expect("it is a pid")),
            _project: project,
        }
    }

    /// How many requests are answered in a second of a processor's time under hotrun, as a share of how many are bare.
    ///
    /// That time is the client's, the server's, and hotrun's own. Both are asked at once, on one processor: whatever else
    /// the machine does meanwhile is in both halves. How many each answers is up to the scheduler alone then, which lets
    /// one after the other have its turn; what that takes is not.
    ///
    /// The second: the same without the client's time.
    fn share(&mut self, client: &[&str]) -> (f64, f64) {
        let (bare, under) = ([pid(&self.bare)], [self.program, self.hotrun.pid()]);
        let before = (computed(&bare), computed(&under));
        let asks = [self.bare_at, self.hotrun.address()].map(|to| ask(client, to));
        let [bare_client, client] = asks.map(answered);
        let (bare, under) = (computed(&bare) - before.0, computed(&under) - before.1);
        let more = client.requests / bare_client.requests;
        let all = more * (bare + bare_client.computed) / (under + client.computed);
        (all, more * bare / under)
    }

    fn end(mut self) {
        self.bare.kill().expect("it is ours");
        self.bare.wait().expect("it is ours");
        self.hotrun.quit();
    }
}

/// For how many nanoseconds these processes have run, with all their threads.
fn computed(pids: &[Pid]) -> f64 {
    let ran = pids.iter().map(|pid| {
        let clock = clock_getcpuclockid(*pid).and_then(ClockId::now);
        clock.expect("it runs").num_nanoseconds() as f64
    });
    ran.sum()
}

/// The same for those that were waited for.
fn computed_by_children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system counts");
    let [user, system] =
        [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    (user + system) as f64 * 1e3
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("it is a pid"))
}

/// The last processor of those that this may run on.
fn last_processor() -> CpuSet {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the system knows");
    let mut all = (0..CpuSet::count()).rev();
    let found = all.find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut last = CpuSet::new();
    last.set(found.expect("this runs on one"))
        .expect("it is one of them");
    last
}

/// Each thread of this process. They were started with all processors: how many they are depends on that.
fn keep_to(processor: &CpuSet, pid: Pid) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    for thread in threads {
        let name = thread.expect("it can be listed").file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok());
        let thread = Pid::from_raw(thread.expect("a number"));
        sched_setaffinity(thread, processor).expect("it is allowed already");
    }
}

/// Does this in a thread that has this processor alone, as all that it starts.
fn on<T: Send>(processor: &CpuSet, measure: impl FnOnce() -> T + Send) -> T {
    let measure = || {
        sched_setaffinity(Pid::from_raw(0), processor).expect("it is allowed already");
        measure()
    };
    thread::scope(|scope| scope.spawn(measure).join()).expect("it is measured")
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

    /// Where the true median is with 95 % at least, whatever the shares are spread like (the sign test): so many from either end.
    fn interval(&self) -> (f64, f64) {
        let (sorted, count) = (self.sorted(), self.0.len() as f64);
        let cut = (count / 2.0 - 0.98 * count.sqrt()).floor().max(0.0) as usize;
        (sorted[cut], sorted[sorted.len() - 1 - cut])
    }

    fn told(&self) -> String {
        let (least, most) = self.interval();
        format!("{:.4} (95 %: {least:.4} to {most:.4})", self.median())
    }
}

/// Says what came of it. Fails only where the measure is sure.
fn judge(what: &str, (all, servers): &(Shares, Shares), aim: f64) {
    let reached = all.median() >= aim;
    let verdict = if reached { "reached" } else { "missed" };
    say(&format!(
        "throughput under hotrun, of bare, {what}: {}, {ROUNDS} pairs, the aim is at least {aim}: {verdict}; the server's \
         time alone: {}",
        all.told(),
        servers.told()
    ));
    let least = aim - MACHINE;
    assert!(all.interval().1 >= least, "{what}: surely below {least}");
}

/// What a client says of a load, and what it took.
struct Load {
    requests: f64,
    computed: f64,
}

fn ask(client: &[&str], to: SocketAddr) -> Child {
    let mut asking = Command::new(client[0]);
    let asking = asking.args(&client[1..]).arg(format!("http://{to}/"));
    let asking = asking.stdout(Stdio::piped()).spawn();
    asking.expect("it is installed")
}

/// What `wrk` and `hey` both say. To be called when no other child is waited for.
fn answered(client: Child) -> Load {
    let before = computed_by_children();
    let output = client.wait_with_output().expect("it is ours");
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
    Load {
        requests: requests.unwrap_or_else(|| panic!("{text}")),
        computed: computed_by_children() - before,
    }
}

fn installed(program: &str) -> bool {
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
#[ignore = "measures: run it alone and optimized"]
fn throughput_of_an_adopted_program() {
    if !installed("wrk") || !installed("hey") {
        return;
    }
    let server = server();
    let (mut wrk, mut hey) = <[(Shares, Shares); 2]>::default().into();
    let one = last_processor();
    for _ in 0..ROUNDS {
        let mut pair = Pair::start(&server);
        keep_to(&one, pid(&pair.bare));
        keep_to(&one, pair.program);
        for (shares, client) in [(&mut wrk, WRK), (&mut hey, HEY)] {
            let slices = || {
                pair.share(client);
                let (all, servers) = (0..SLICES).map(|_| pair.share(client)).unzip();
                (Shares(all).median(), Shares(servers).median())
            };
            let (all, server) = on(&one, slices);
            shares.0.0.push(all);
            shares.1.0.push(server);
        }
        pair.end();
    }
    judge("`wrk`, keep-alive", &wrk, 0.99);
    judge("`hey`, a new connection for each request", &hey, 0.98);
}

/// Binds and listens on many ports, and tells how many microseconds each took: the median and what 99 of 100 did not
/// exceed. Beside each call, `ask`: how long an answer takes that another process gives at once, for which this machine
/// switches from one to the other and back as often.
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
while len(kept) < 200:
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
    all.sort()
    print(name, round(all[len(all) // 2]), round(all[len(all) * 99 // 100]), flush=True)
time.sleep(1000)
";

#[test]
#[ignore = "measures: run it alone and optimized"]
fn bind_and_listen_of_an_adopted_program() {
    let python = "/usr/bin/python3";
    if !installed(python) {
        return;
    }
    let project = Project::new();
    project.save("app.py", OPENS);
    let run = Run::new(&project).env("PORT", free().port().to_string());
    let mut run = run.program([python, "app.py"]).spawn();
    for call in ["ask", "bind", "listen"] {
        let told = run.expect_that(call, BUILD_PATIENCE, |event| {
            event.is("output") && event.text("text").starts_with(call)
        });
        let numbers = told.text("text").split(' ').skip(1);
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        let [median, most] = numbers[..] else {
            panic!("{told}");
        };
        let what = match call {
            "ask" => "an answer by another process, without hotrun".to_owned(),
            _ => format!("a `{call}` under hotrun (the aim: under 300 µs)"),
        };
        say(&format!(
            "{what}: median {median} µs, 99 of 100 within {most} µs"
        ));
        assert!(call == "ask" || median < 300, "{call}: {median} µs");
    }
    run.quit();
}
